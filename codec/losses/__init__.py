"""Unweighted losses by name; weights live in a recipe's config."""

from codec.losses.build import build_losses
from codec.losses.perceptual import PerceptualLoss
from codec.losses.pointwise import l1, mse
from codec.losses.spectral import MelLoss, SpectralConvergence
from codec.losses.structural import ms_ssim

__all__ = [
    "MelLoss",
    "PerceptualLoss",
    "SpectralConvergence",
    "build_losses",
    "l1",
    "ms_ssim",
    "mse",
]
