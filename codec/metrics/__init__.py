"""How good a reconstruction is: pure functions from (reference, estimate) to a `Score`."""

from codec.metrics.alignment import Alignment, align
from codec.metrics.frechet import FeatureGaussian, frechet_distance
from codec.metrics.image import ms_ssim, psnr, score_image, ssim
from codec.metrics.perceptual import pesq, stoi, visqol
from codec.metrics.score import SCORE_TITLES, SCORE_UNITS, Score, mean_score
from codec.metrics.waveform import mel_distance, score_audio, si_sdr, stft_distance

__all__ = [
    "SCORE_TITLES",
    "SCORE_UNITS",
    "Alignment",
    "FeatureGaussian",
    "Score",
    "align",
    "frechet_distance",
    "mean_score",
    "mel_distance",
    "ms_ssim",
    "pesq",
    "psnr",
    "score_audio",
    "score_image",
    "si_sdr",
    "ssim",
    "stft_distance",
    "stoi",
    "visqol",
]
