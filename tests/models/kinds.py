"""A small config or more of every registered kind of model, for tests that all of them must pass."""

from __future__ import annotations

import torch

from codec.models import AudioMedia, CodecConfig, CodecModel, ImageMedia, VQVAE2Config, VQVAEConfig, build_model
from codec.models.audio_codec import AudioCodecConfig
from codec.models.tiny import tiny_config, tiny_pyramid_config
from codec.models.transform import OperatingPoint, TransformConfig
from codec.nn.backbone import Backbone, Stage
from codec.nn.build import WaveformBackend
from codec.nn.likelihoods import LogitLaplaceConfig
from codec.nn.pyramid import Floor, Pyramid
from codec.nn.spectral import SpectralBackend
from codec.quantize.build import parse_quantizer


def _pyramid(num_levels: int = 2, **changes) -> VQVAE2Config:
    return tiny_pyramid_config(num_levels).model_copy(update={"chunk": 4, **changes})


TRANSFORM = TransformConfig(
    media=ImageMedia(),
    chunk=4,
    num_codebooks=12,
    codebook_size=127,
    pyramid=Pyramid(floors=(Floor(stride=2, width=8, units=1), Floor(stride=4, width=8, units=1))),
    rates=(
        OperatingPoint(num_active=4, distortion_weight=0.001),
        OperatingPoint(num_active=12, distortion_weight=0.02),
    ),
)

SPECTRAL = SpectralBackend(hop_length=8, window=16, width=8, encoder=(1, 2), decoder=(1, 2), kernel=3)
WITH_TRANSFORM = {"transform": True, "envelope_latents": 2, "compression": 0.5}


def _audio_codec(backend, *, channels: int = 1, paths: int = 1) -> AudioCodecConfig:
    return AudioCodecConfig(
        media=AudioMedia(sample_rate=16000, channels=channels),
        chunk=6,
        backend=backend,
        latent_dim=6,
        quantizer=parse_quantizer(
            {
                "kind": "residual",
                "num_codebooks": 3,
                "dropout": 0.5,
                "paths": paths,
                "codebook": {"kind": "ema", "codebook_size": 16},
            }
        ),
    )


CASES: dict[type[CodecConfig], dict[str, CodecConfig]] = {
    VQVAEConfig: {
        "sound": tiny_config("audio"),
        "picture": tiny_config("image"),
        "likelihood": tiny_config("image").model_copy(update={"likelihood": LogitLaplaceConfig()}),
    },
    VQVAE2Config: {
        "two-levels": _pyramid(),
        "three-levels": _pyramid(3),
        "sound-pyramid": _pyramid(media=AudioMedia(sample_rate=16000)),
        "grey-pyramid": _pyramid(media=ImageMedia(channels=1)),
        "attention": _pyramid(attention_window=3),
        "residual-pyramid": _pyramid(
            quantizer=parse_quantizer({"kind": "residual", "codebook": {"kind": "ema", "codebook_size": 8}})
        ),
        "scalar-pyramid": _pyramid(quantizer=parse_quantizer({"kind": "fsq", "levels": [5, 5, 3]})),
    },
    TransformConfig: {"transform": TRANSFORM},
    AudioCodecConfig: {
        "spectral": _audio_codec(SPECTRAL),
        "transform": _audio_codec(SPECTRAL.model_copy(update=WITH_TRANSFORM), paths=3),
        "causal-stereo": _audio_codec(SPECTRAL.model_copy(update={"causal": True, **WITH_TRANSFORM}), channels=2),
        "waveform": _audio_codec(
            WaveformBackend(
                encoder=Backbone(stages=(Stage(stride=2, width=4), Stage(stride=4, width=8, dilations=(1, 3)))),
                decoder=Backbone(stages=(Stage(stride=8, width=8, dilations=(1,)),), activation="elu"),
            )
        ),
    },
}
CONFIGS = {name: config for cases in CASES.values() for name, config in cases.items()}


def seasoned(config: CodecConfig, *, seed: int = 0) -> CodecModel:
    """A model in eval mode whose codebooks have seen a batch."""
    torch.manual_seed(seed)
    model = build_model(config)
    model.train()(random_signal(model, 16 * model.downsample_factor, batch=3))
    model.eval().freeze_histograms()
    return model


def random_signal(model: CodecModel, *size: int, batch: int = 1) -> torch.Tensor:
    """`[batch, channels, *space]`; one extent stands for every axis."""
    extents = size if len(size) == model.ndim else size[:1] * model.ndim
    return torch.rand(batch, model.media.channels, *extents) * 2 - 1
