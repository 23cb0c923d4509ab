"""Units that can be heard again: what their models are to training, files and the command."""

from __future__ import annotations

from abc import abstractmethod
from typing import Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from codec.core.errors import UserError
from codec.data.speakers import UNKNOWN
from codec.models.units import UnitConfig, UnitModel
from codec.nn.jitter import TimeJitter

SHOWN_SPEAKERS = 5  # in an error


class AudibleConfig(UnitConfig):
    """What the config of every kind of unit that can be heard says.

    Attributes:
        speakers: names of those it can speak as, beside the unknown one; a recipe fills in who is in the training data.
        nameless: share of the training speech that is decoded without being told who speaks, which is how the unknown
            speaker gets a voice.
        jitter: share of the units that give way to a neighbour in training.
    """

    settings = UnitConfig.settings | frozenset({"nameless", "jitter"})
    speakers: tuple[str, ...] = ()
    nameless: float = Field(default=0.1, ge=0.0, le=1.0)
    jitter: float = Field(default=0.12, ge=0.0, lt=1.0)

    @model_validator(mode="after")
    def _decoder_knows_the_latents(self) -> Self:
        if self.compensate_latents:
            raise ValueError("the decoder of units that can be heard learns from latents as they are: leave it out")
        return self


class AudibleUnits(UnitModel):
    """Units with a way back to sound, in the voice of a speaker who was in the training, or of nobody in particular.

    In training `forward` also takes `speakers`, numbers `[b]` of who speaks, counted along the attribute `speakers`.
    """

    def __init__(self, config: AudibleConfig):
        super().__init__(config)
        self.speakers = (UNKNOWN, *config.speakers)
        self.nameless = config.nameless
        self.jitter = TimeJitter(config.jitter)

    @abstractmethod
    def sound(self, units: Tensor, speakers: Tensor) -> Tensor:
        """Sound `[b, 1, time]` of `units` `[b, num_units]` spoken by `speakers` `[b]`, by number."""

    @torch.inference_mode()
    def resynthesize(self, units: Tensor, *, speaker: str = UNKNOWN) -> Tensor:
        """Sound `[b, 1, num_units * downsample_factor]` of `units` `[b, num_units]` in the voice of `speaker`.

        With another speaker than the one whose speech the units were made of, this is voice conversion.

        Raises:
            UserError: there is no such speaker, or no such units.
        """
        if units.dim() != 2 or not units.shape[1]:
            raise UserError(f"units have shape {tuple(units.shape)}; {self.name} wants [b, num_units], not empty")
        return self.sound(units, torch.full(units.shape[:1], self.number_of(speaker), device=units.device))

    def number_of(self, speaker: str) -> int:
        """The place of `speaker` in `speakers`.

        Raises:
            UserError: it is not there.
        """
        if speaker in self.speakers:
            return self.speakers.index(speaker)
        known = ", ".join(self.speakers[:SHOWN_SPEAKERS])
        more = len(self.speakers) - SHOWN_SPEAKERS
        rest = f" and {more} more" if more > 0 else ""
        raise UserError(f"{self.name} has never heard a speaker {speaker!r}; it knows {known}{rest}")

    def _told(self, speakers: Tensor | None, signal: Tensor) -> Tensor:
        """Who is taken to speak in each row of `signal`: who does, but in training now and then the unknown one."""
        unknown = torch.zeros(len(signal), dtype=torch.int64, device=signal.device)
        if speakers is None:
            return unknown
        if not self.training:
            return speakers
        return torch.where(torch.rand(len(signal), device=signal.device) < self.nameless, unknown, speakers)
