"""From a config to a model: the one place that tells kinds of model apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import Discriminator, Tag

from codec.core.config import Config, parse_config
from codec.models.audio_codec import AudioCodec, AudioCodecConfig
from codec.models.base import CodecConfig, CodecModel
from codec.models.transform import TransformCodec, TransformConfig
from codec.models.vqvae import VQVAE, VQVAEConfig
from codec.models.vqvae2 import VQVAE2, VQVAE2Config

MODELS: dict[type[CodecConfig], Callable[[Any], CodecModel]] = {
    VQVAEConfig: VQVAE,
    VQVAE2Config: VQVAE2,
    TransformConfig: TransformCodec,
    AudioCodecConfig: AudioCodec,
}


def _kind(tree: Any) -> Any:
    """A config without a kind is that of a VQ-VAE."""
    return tree.get("kind", "vqvae") if isinstance(tree, dict) else getattr(tree, "kind", None)


ModelConfig = Annotated[
    Annotated[VQVAEConfig, Tag("vqvae")]
    | Annotated[VQVAE2Config, Tag("vqvae2")]
    | Annotated[TransformConfig, Tag("transform")]
    | Annotated[AudioCodecConfig, Tag("audio")],
    Discriminator(_kind),
]
"""The union of all model configs, told apart by `kind`."""


def build_model(config: CodecConfig) -> CodecModel:
    """A freshly initialised model (torch's global random state decides the weights)."""
    return MODELS[type(config)](config)


def parse_model(tree: Any, *, origin: str = "config") -> CodecConfig:
    """Read a plain tree, as `model_dump` gives it; UserError names `origin` and every wrong key."""
    return parse_config(_Wrapped, {"model": tree}, origin=origin).model


class _Wrapped(Config):
    model: ModelConfig
