"""Tiny random models, made once."""

from __future__ import annotations

import pytest

from codec.models.tiny import tiny_model
from codec.models.vqvae import VQVAE


@pytest.fixture(scope="session")
def audio_model() -> VQVAE:
    return tiny_model("audio")


@pytest.fixture(scope="session")
def image_model() -> VQVAE:
    return tiny_model("image")
