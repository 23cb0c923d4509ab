"""What a recipe says about its data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from codec.core.config import Config, one_or_more

Paths = Annotated[tuple[Path, ...], one_or_more(str, Path)]
Names = Annotated[tuple[str, ...], one_or_more(str, Path)]


class DataConfig(Config):
    """Which recordings or pictures are trained on, and how crops are cut from them.

    One string stands for a list of one: `data.train=corpus/manifest.jsonl`.
    """

    train: Paths = ()
    """Manifests to train on; their entries are joined in this order."""
    train_splits: Names = ("train",)
    validation: Paths = ()
    """Manifests to validate on. Empty: what `validation_fraction` holds out, or, that being 0, the
    validation splits of the train manifests."""
    validation_splits: Names = ("validation", "dev")
    validation_fraction: float = Field(0.0, ge=0.0, lt=1.0)
    """Share of the training files held out for validation, picked by a hash of the file name."""
    sets: Names = ()
    """Keep only these corpora (the `set` of an entry); empty keeps all."""

    batch_size: int = Field(8, ge=1)
    """Crops per rank and step."""
    crop: int = Field(ge=1)
    """Samples of audio, or pixels along each side of a picture."""
    validation_crop: int | None = Field(None, ge=1)
    validation_items: int | None = Field(None, ge=1)
    """At most this many validation items over all ranks, spread evenly over the list; None takes all."""

    weighting: str = Field("length", pattern="^(length|file)$")
    """An epoch holds each file as often as crops fit into it ("length"), or once ("file")."""
    scale: tuple[float, float] = (1.0, 1.0)
    """Pictures shrink by a factor drawn from this range (log-uniform) before the crop; 1 keeps the pixels."""
    flip: bool = False
    """Mirror half of the pictures left to right."""
    gain_db: tuple[float, float] | None = None
    """Recordings are made louder by this many decibels (uniform), never beyond full scale."""
    tilt_db: tuple[float, float] | None = None
    """Their spectra are tilted by this many decibels per octave (uniform) around 1 kHz."""
    mix_probability: float = Field(0.0, ge=0.0, le=1.0)
    """Share of the training recordings to which another one is added."""
    mix_level_db: tuple[float, float] = (-20.0, 0.0)
    """How loud the other one is beside it, in decibels (uniform)."""

    workers: int = Field(2, ge=0)
    """Threads that decode ahead; 0 decodes in the caller's thread."""
    lookahead: int = Field(4, ge=1)
    """Batches kept ready."""
    cache_mb: int = Field(1024, ge=0)
    """Memory for decoded files (16-bit samples, 8-bit pixels), per process."""

    @model_validator(mode="after")
    def _ranges_are_ordered(self) -> DataConfig:
        low, high = self.scale
        if not 0.0 < low <= high <= 1.0:
            raise ValueError(f"scale {self.scale} is not a range within (0, 1]")
        for name in ("gain_db", "tilt_db", "mix_level_db"):
            ends = getattr(self, name)
            if ends is not None and ends[0] > ends[1]:
                raise ValueError(f"{name} {ends} has its ends swapped")
        return self
