"""Unweighted reconstruction losses by name; weights live in a recipe's config."""

from codec.losses.build import build_losses
from codec.losses.pointwise import l1, mse
from codec.losses.spectral import MelLoss, SpectralConvergence

__all__ = ["MelLoss", "SpectralConvergence", "build_losses", "l1", "mse"]
