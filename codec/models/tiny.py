"""Small random models, the same on every call: for tests, examples and dry runs."""

from __future__ import annotations

from typing import Literal, overload

import torch

from codec.models.base import CodecModel
from codec.models.build import build_model
from codec.models.media import AudioMedia, ImageMedia
from codec.models.vqvae import VQVAE, VQVAEConfig
from codec.models.vqvae2 import VQVAE2, Level, VQVAE2Config
from codec.nn.backbone import Backbone, Stage
from codec.quantize.build import parse_quantizer


def tiny_config(kind: Literal["audio", "image"]) -> VQVAEConfig:
    """Hop 16 for audio at 16 kHz, factor 4 for pictures; a residual quantizer of 2 codebooks of 32."""
    audio = kind == "audio"
    strides = (4, 4) if audio else (2, 2)
    return VQVAEConfig(
        media=AudioMedia(sample_rate=16000) if audio else ImageMedia(),
        encoder=Backbone(stages=tuple(Stage(stride=s, width=8, dilations=(1, 3)) for s in strides)),
        latent_dim=8,
        quantizer=parse_quantizer(
            {"kind": "residual", "num_codebooks": 2, "codebook": {"kind": "ema", "codebook_size": 32}}
        ),
        chunk=64 if audio else 16,
    )


def tiny_pyramid_config(num_levels: int = 2) -> VQVAE2Config:
    """A pyramid for pictures, the finest level of factor 2, codebooks of 32 and, for the finest, 16 codes."""
    backbone = Backbone(stages=(Stage(stride=2, width=8, dilations=(1,)),))
    finest = Level(encoder=backbone, quantizer=parse_quantizer({"kind": "ema", "codebook_size": 16}))
    return VQVAE2Config(
        media=ImageMedia(),
        levels=(*(Level(encoder=backbone),) * (num_levels - 1), finest),
        latent_dim=8,
        quantizer=parse_quantizer({"kind": "ema", "codebook_size": 32}),
        level_dropout=0.5,
        chunk=8,
    )


@overload
def tiny_model(kind: Literal["audio", "image"], *, seed: int = 0) -> VQVAE: ...


@overload
def tiny_model(kind: Literal["pyramid"], *, seed: int = 0) -> VQVAE2: ...


def tiny_model(kind: Literal["audio", "image", "pyramid"], *, seed: int = 0) -> CodecModel:
    """An untrained model in eval mode whose codebooks spread over its latents; the caller's random state is kept."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build_model(tiny_pyramid_config() if kind == "pyramid" else tiny_config(kind))
        signal = torch.rand(4, model.media.channels, *(256,) * model.ndim) * 2 - 1
        model.train()(signal)
    model.eval()
    model.freeze_histograms()
    model.name, model.fingerprint = f"tiny-{kind}", f"{seed:016x}"
    return model
