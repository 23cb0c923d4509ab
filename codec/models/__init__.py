"""Models that turn signals into codes and back."""

from codec.models.build import ModelConfig, build_model
from codec.models.media import AudioMedia, ImageMedia, Media
from codec.models.vqvae import VQVAE, CodeGrid, Reconstruction, VQVAEConfig

__all__ = [
    "VQVAE",
    "AudioMedia",
    "CodeGrid",
    "ImageMedia",
    "Media",
    "ModelConfig",
    "Reconstruction",
    "VQVAEConfig",
    "build_model",
]
