"""From a model's medium to the code that cuts its examples."""

from __future__ import annotations

from typing import Any

from codec.core.errors import UserError
from codec.data.cache import DecodedCache
from codec.data.config import DataConfig
from codec.data.crops import AudioCrops, Crops, ImageCrops


def build_crops(config: DataConfig, media: Any) -> Crops:
    """The `Crops` of a medium (`kind` "audio" or "image").

    Raises:
        UserError: a medium no one knows.
    """
    cache = DecodedCache(config.cache_mb * 1_000_000)
    if media.kind == "audio":
        return AudioCrops(config, sample_rate=media.sample_rate, channels=media.channels, cache=cache)
    if media.kind == "image":
        return ImageCrops(config, channels=media.channels, cache=cache)
    raise UserError(f"media.kind is {media.kind!r}: expected audio or image")
