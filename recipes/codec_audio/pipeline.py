"""What the stages share: one config, and one run folder that each stage adds to.

`checkpoints/best` is the model, `decoder` the training of its decoder alone, `codes` what it makes of the corpus,
`prior` the training of the prior, `coding` the prior that files are coded with.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import PositiveInt
from torch import Tensor

from codec.core.config import Config
from codec.data.audio import read_audio
from codec.data.manifest import Entry
from codec.models.base import CodecModel
from codec.models.media import AudioMedia
from codec.models.single_level import SingleLevelCodec
from codec.priors.frames import FrameConfig
from codec.quantize.residual import ResidualQuantizer
from codec.train.config import LoopConfig
from codec.train.prior_run import PriorTraining
from codec.train.sound import SoundConfig
from codec.train.stages import Stages


class Extraction(Config):
    """How the codes of the corpus, recording after recording, are cut into rows that the prior learns from.

    Attributes:
        frames: codes in a row; what is left of a split and fills none is left out.
        seed: of the numbers of codebooks that rows are coded with.
    """

    frames: PositiveInt = 500
    seed: int = 0


class DecoderTraining(Config):
    """How the decoder learns on alone; with the data and losses of the recipe."""

    loop: LoopConfig


class FrameTraining(PriorTraining):
    """The prior, which becomes integers to code with, and how it is trained."""

    prior: FrameConfig  # pyright: ignore[reportIncompatibleVariableOverride] - narrower, and never assigned to


class Recipe(SoundConfig):
    """Everything this recipe can be told."""

    decoder: DecoderTraining | None = None
    codes: Extraction = Extraction()
    prior: FrameTraining | None = None


STAGES = Stages(Recipe, presets=Path(__file__).parent, default_run="runs/codec_audio")


def signal_of(model: CodecModel, entry: Entry) -> Tensor:
    """A recording as `model` hears it, `[1, channels, samples]`."""
    assert isinstance(model.media, AudioMedia)
    signal, _ = read_audio(entry.path, sample_rate=model.media.sample_rate, channels=model.media.channels)
    return signal[None]


def rated_quantizer(model: CodecModel) -> ResidualQuantizer | None:
    """The quantizer whose codes are to be counted, if the search of `model` weighs rates."""
    quantizer = model.quantizer if isinstance(model, SingleLevelCodec) else None
    return quantizer if isinstance(quantizer, ResidualQuantizer) and quantizer.rate_weight else None
