"""What kind of signal a model was built for."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, PositiveInt

from codec.core.config import Config


class AudioMedia(Config):
    """Sound: `[b, channels, time]`, float in [-1, 1], `sample_rate` in Hz."""

    ndim: ClassVar[int] = 1
    kind: Literal["audio"] = "audio"
    sample_rate: PositiveInt
    channels: PositiveInt = 1


class ImageMedia(Config):
    """Pictures: `[b, channels, height, width]`, float in [-1, 1]."""

    ndim: ClassVar[int] = 2
    kind: Literal["image"] = "image"
    channels: PositiveInt = 3


Media = Annotated[AudioMedia | ImageMedia, Field(discriminator="kind")]
