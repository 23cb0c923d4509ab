"""Models that turn signals into codes and back."""

from codec.models.base import CodecConfig, CodecModel, CodeGrid, Reconstruction
from codec.models.build import ModelConfig, build_model
from codec.models.media import AudioMedia, ImageMedia, Media
from codec.models.vqvae import VQVAE, VQVAEConfig
from codec.models.vqvae2 import VQVAE2, Level, VQVAE2Config

__all__ = [
    "VQVAE",
    "VQVAE2",
    "AudioMedia",
    "CodeGrid",
    "CodecConfig",
    "CodecModel",
    "ImageMedia",
    "Level",
    "Media",
    "ModelConfig",
    "Reconstruction",
    "VQVAE2Config",
    "VQVAEConfig",
    "build_model",
]
