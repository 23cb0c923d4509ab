"""From a config to a model: the one place that tells kinds of model apart."""

from __future__ import annotations

from codec.models.vqvae import VQVAE, VQVAEConfig

ModelConfig = VQVAEConfig
"""The union of all model configs, told apart by `kind`."""


def build_model(config: ModelConfig) -> VQVAE:
    """A freshly initialised model (torch's global random state decides the weights)."""
    return VQVAE(config)
