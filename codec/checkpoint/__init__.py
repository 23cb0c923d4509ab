"""Models on disk: one safetensors file each, nothing pickled, and the zoo of bundled ones."""

from codec.checkpoint.model import load_model, save_model
from codec.checkpoint.zoo import ModelCard, list_models, list_units

__all__ = ["ModelCard", "list_models", "list_units", "load_model", "save_model"]
