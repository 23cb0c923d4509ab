"""What a step of training units minimises, and what recipes for it can be told."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import torch
from pydantic import model_validator
from torch import Tensor, nn

from codec.checkpoint.units import load_unit_weights, load_units, save_units
from codec.core.config import Config
from codec.core.errors import UserError
from codec.data.config import DataConfig
from codec.data.loader import Telling, train_entries
from codec.data.speakers import speaker_names
from codec.data.written_units import WrittenUnits, read_written_units
from codec.models.audible_units import AudibleConfig
from codec.models.build_units import AnyUnitConfig, build_units
from codec.models.media import AudioMedia
from codec.models.units import UnitModel
from codec.train.config import LoopConfig
from codec.train.recipe import Weights, check_crops

WRITTEN = (".jsonl", ".parquet")
"""How the name of a teacher ends that is a file of units; the first can be read."""


class UnitsConfig(Config):
    """Data, model, losses and loop of a recipe that trains units.

    Attributes:
        teacher: what `model` learns from, if it is of a kind that does: a model of units, by a bundled name or a
            folder, or a .jsonl file of the units that recordings are written down in.
        start_from: an exported model of the same config, but for settings, whose weights training starts from, but for
            those that tell a teacher's units, and whose latents are clustered where nothing has been trained; None:
            random weights.
    """

    data: DataConfig
    model: AnyUnitConfig
    losses: Weights
    loop: LoopConfig
    teacher: str | None = None
    start_from: str | None = None

    @model_validator(mode="after")
    def _crops_are_whole_units(self) -> UnitsConfig:
        check_crops(self.data, self.model.downsample_factor)
        return self

    @property
    def media(self) -> AudioMedia:
        """What the data are read as: one channel, at the model's rate."""
        return AudioMedia(sample_rate=self.model.sample_rate)

    def with_speakers(self) -> Self:
        """The same, in which a model that is told who speaks knows the names in the training data, or those it had.

        Raises:
            UserError: as `train_entries`.
        """
        if not isinstance(self.model, AudibleConfig) or self.model.speakers:
            return self
        names = speaker_names(train_entries(self.data, self.media))
        return self.model_copy(update={"model": self.model.model_copy(update={"speakers": names})})


def build_unit_task(config: UnitsConfig) -> UnitTask:
    """The model of `config` with its losses and its teacher; torch's global random state decides the weights.

    Raises:
        UserError: as `UnitTask`, or a model to learn or to start from that is not there or does not fit.
    """
    model = build_units(config.model)
    if config.start_from:
        load_unit_weights(model, config.start_from)
    return UnitTask(model, config.losses, teacher=_teacher(config))


def _teacher(config: UnitsConfig) -> UnitModel | WrittenUnits | None:
    if config.teacher is None:
        return None
    if config.teacher.endswith(WRITTEN):
        if not config.teacher.endswith(WRITTEN[0]):
            raise UserError(f"a teacher's units are read from {WRITTEN[0]}, not {config.teacher}: write them to such")
        return read_written_units(Path(config.teacher), sample_rate=config.model.sample_rate)
    return load_units(config.teacher, device=config.loop.device)


class UnitTask(nn.Module):
    """The weighted sum of the losses that a model of units gives.

    Args:
        model: what is trained and exported.
        weights: of every loss, by name.
        teacher: whose units the model learns from, or the units, which batches tell it; None for a model that learns
            from speech alone.

    Raises:
        UserError: a loss without a weight, a weight without a loss, or a teacher that does not fit.
    """

    sample_rate = None

    def __init__(
        self,
        model: UnitModel,
        weights: dict[str, float],
        *,
        teacher: UnitModel | WrittenUnits | None = None,
    ):
        super().__init__()
        if set(weights) != set(model.loss_names):
            wanted = ", ".join(model.loss_names) or "none: it is found by clustering"
            raise UserError(f"losses have weights for {', '.join(weights) or 'none'}; this model has: {wanted}")
        self.model, self.weights = model, weights
        _check_fits(teacher, model)
        self.written = teacher if isinstance(teacher, WrittenUnits) else None
        self.teacher = teacher.requires_grad_(False) if isinstance(teacher, UnitModel) else None

    @property
    def telling(self) -> Telling:
        """What batches have to tell it."""
        return Telling(speakers=self.model.speakers, units=self.written)

    def forward(
        self,
        signal: Tensor,
        mask: Tensor | None = None,
        *,
        speakers: Tensor | None = None,
        targets: Tensor | None = None,
    ) -> dict[str, dict[str, Tensor]]:
        """Losses of a batch, unweighted, and statistics: `{"losses": ..., "stats": ...}`, 0-d tensors by name.

        Args:
            speakers: `[b]`, numbers of who speaks, for a model that is told.
            targets: `[b, num_units]`, what the speech is written down in; None: a teacher, if any, is asked.
        """
        if self.teacher is not None:
            with torch.no_grad():
                targets = self.teacher.eval().units(signal, mask=mask)
        told = {} if speakers is None else {"speakers": speakers}
        learnt = self.model(signal, mask=mask, targets=targets, **told)
        return {"losses": learnt.losses, "stats": learnt.stats}

    def total(self, losses: dict[str, Tensor]) -> Tensor:
        """The weighted sum."""
        return torch.stack([self.weights[name] * loss for name, loss in losses.items()]).sum()

    def samples(self, signal: Tensor) -> dict[str, Tensor]:
        """None: units are not heard while they are learnt."""
        return {}

    def export(self, folder: Path, *, name: str) -> None:
        """Write the model as it is now, ready for `load_units`."""
        save_units(self.model, folder, name=name)


def _check_fits(teacher: UnitModel | WrittenUnits | None, model: UnitModel) -> None:
    """Raises UserError unless `teacher` is what `model` wants."""
    if teacher is None:
        if model.num_targets is not None:
            raise UserError(f"the model learns from {model.num_targets} units of a teacher: name one (teacher=...)")
        return
    if model.num_targets is None:
        raise UserError(f"the model learns from speech alone: leave the teacher {teacher.name} out")
    rate = model.config.sample_rate
    if isinstance(teacher, WrittenUnits):
        given = (teacher.num_units, rate, rate / teacher.samples_per_unit)
    else:
        given = (teacher.codebook_size, teacher.config.sample_rate, teacher.frame_rate)
    wanted = (model.num_targets, rate, model.frame_rate)
    if given != wanted:
        raise UserError(
            f"teacher {teacher.name} has {given[0]} units at {given[1]} Hz, {given[2]:g} a second; the model wants "
            f"{wanted[0]} at {wanted[1]} Hz, {wanted[2]:g} a second: change model.num_targets, or take another"
        )
