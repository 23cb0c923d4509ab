"""Priors over codes: what is likely, for sampling, for measuring bits and for smaller files."""

from codec.priors.base import Condition, Geometry, NeuralPrior, Prior
from codec.priors.build import NeuralConfig, PriorConfig, build_neural_prior, build_prior
from codec.priors.hierarchy import sample_levels
from codec.priors.rejection import Kept, sample_recognised
from codec.priors.sampling import sample

__all__ = [
    "Condition",
    "Geometry",
    "Kept",
    "NeuralConfig",
    "NeuralPrior",
    "Prior",
    "PriorConfig",
    "build_neural_prior",
    "build_prior",
    "sample",
    "sample_levels",
    "sample_recognised",
]
