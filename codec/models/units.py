"""What every model of speech units is to training, evaluation and files: speech in, one unit per frame out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import partial
from typing import overload

import torch
import torch.nn.functional as F
from pydantic import PositiveInt
from torch import Tensor, nn

from codec.core.config import Config
from codec.core.errors import UserError
from codec.core.overlap import Span
from codec.core.wording import counted
from codec.models.stretches import in_stretches
from codec.nn.chain import input_span
from codec.nn.features import FeatureConfig, Features, normalised
from codec.quantize.base import Quantizer
from codec.quantize.build import OneCodebookConfig, build_quantizer


class UnitConfig(Config):
    """What the config of every kind of unit model says.

    Attributes:
        sample_rate: Hz.
        features: what it hears.
        smooth_latents: give each latent half the weight and its neighbours a quarter each, which settles units.
        normalise_latents: bring every channel of a recording's latents to mean 0 and deviation 1, which takes off much
            of the speaker (van Niekerk et al. 2021).
        compensate_latents: map latents by what clustering finds (`compensation`), such as a map that takes off more of
            the speaker. All three are for units that are found by clustering: training, which sees a part of a
            recording, does none.
    """

    settings = frozenset({"smooth_latents", "normalise_latents", "compensate_latents"})
    sample_rate: PositiveInt = 16000
    features: FeatureConfig
    smooth_latents: bool = False
    normalise_latents: bool = False
    compensate_latents: bool = False

    @property
    def prepares_latents(self) -> bool:
        """Whether latents that are clustered are others than those that training sees."""
        return self.smooth_latents or self.normalise_latents or self.compensate_latents

    @property
    @abstractmethod
    def frames_per_unit(self) -> int:
        """Frames of features for one unit."""

    @property
    def downsample_factor(self) -> int:
        """Samples for one unit."""
        return self.features.hop_length * self.frames_per_unit


@dataclass(frozen=True)
class Learnt:
    """What a training step of a unit model came to.

    Attributes:
        losses: unweighted 0-d losses by name.
        stats: detached 0-d figures by name.
    """

    losses: dict[str, Tensor]
    stats: dict[str, Tensor]


class UnitModel(nn.Module, ABC):
    """Speech `[b, 1, time]` at `sample_rate` Hz to units `[b, num_units]`, one for every `downsample_factor` samples.

    Features are normalised over a whole recording, so a recording is given whole. A subclass builds `encoder`
    (features to latents) and, by `_build_quantizer`, `quantizer` (of one codebook), and says what it learns from.

    State beside theirs: `compensation` `[d, d]`, if the config wants latents compensated; it is found by clustering.
    """

    encoder: nn.Module
    quantizer: Quantizer
    num_targets: int | None = None
    """How many units a teacher has that it learns from; None: it learns from speech alone."""
    taught: tuple[str, ...] = ()
    """How names of state begin that is of one teacher, and nothing to start from with another."""
    speakers: tuple[str, ...] = ()
    """Whose numbers tell it in training who speaks; none: it is not told."""

    def __init__(self, config: UnitConfig):
        super().__init__()
        self.config = config
        self.name = "unsaved"
        self.fingerprint = "0" * 16
        self.features = Features(config.features, sample_rate=config.sample_rate)
        self.compensation: Tensor | None
        self.register_buffer("compensation", None)

    def _build_quantizer(self, config: OneCodebookConfig, dim: int) -> Quantizer:
        """The quantizer of latents of `dim` channels, which are compensated, if they are, right before it."""
        if self.config.compensate_latents:
            self.register_buffer("compensation", torch.eye(dim))
        return build_quantizer(config, dim)

    @property
    @abstractmethod
    def loss_names(self) -> tuple[str, ...]:
        """Names of the losses that `forward` returns; none: it does not learn by gradient."""

    @abstractmethod
    def forward(self, signal: Tensor, *, mask: Tensor | None = None, targets: Tensor | None = None) -> Learnt:
        """Losses of speech `[b, 1, time]`.

        Args:
            mask: `[b, time]`, True where the speech is real.
            targets: the teacher's units `[b, num_units]` of the same speech, for a model that learns from one; -1
                where the teacher says nothing.
        """

    @property
    def frame_rate(self) -> float:
        """Units per second, in Hz."""
        return self.config.sample_rate / self.config.downsample_factor

    @property
    def codebook_size(self) -> int:
        """Different units."""
        return self.quantizer.codebook_size

    def latents(self, signal: Tensor, *, mask: Tensor | None = None) -> Tensor:
        """Latents `[b, d, num_units]` before the quantizer; a rest of `signal` that fills no unit has none.

        Raises:
            UserError: not `[b, 1, time]`, or too short for one unit.
        """
        latents = self._encoded(self._whole_units(signal), self._whole_units(mask))
        latents = self._prepared(latents, self.unit_mask(mask))
        return latents if self.compensation is None else self.compensation @ latents

    @property
    def listener(self) -> nn.Module:
        """The network from features to what units are found in, before that is prepared."""
        return self.encoder

    def _encoded(self, signal: Tensor, mask: Tensor | None) -> Tensor:
        """What the listener makes of speech of whole units."""
        network = self.listener
        features = self.features(signal, mask)
        return in_stretches(network, features, needs=partial(input_span, network), stride=self.config.frames_per_unit)

    def _prepared(self, latents: Tensor, real: Tensor | None) -> Tensor:
        """`latents` smoothed and normalised, as the config says; `real` `[b, n]` says which stand for speech."""
        if self.config.smooth_latents:
            latents = smoothed(latents, real)
        return normalised(latents, real) if self.config.normalise_latents else latents

    def units(self, signal: Tensor, *, mask: Tensor | None = None) -> Tensor:
        """Units `[b, num_units]`, int64; errors as `latents`."""
        return self.quantizer.encode(self.latents(signal, mask=mask))[:, 0]

    def embeddings(self, units: Tensor) -> Tensor:
        """Latents `[b, d, num_units]` that `units` `[b, num_units]` stand for."""
        return self.quantizer.decode(units[:, None])

    def unit_mask(self, mask: Tensor | None) -> Tensor | None:
        """Which units `[b, num_units]` stand for a real sample of `mask` `[b, time]`."""
        whole = self._whole_units(mask)
        return None if whole is None else whole.unflatten(1, (-1, self.config.downsample_factor)).any(2)

    @overload
    def _whole_units(self, signal: Tensor) -> Tensor: ...

    @overload
    def _whole_units(self, signal: Tensor | None) -> Tensor | None: ...

    def _whole_units(self, signal: Tensor | None) -> Tensor | None:
        if signal is None:
            return None
        factor = self.config.downsample_factor
        num_units = signal.shape[-1] // factor
        if signal.is_floating_point() and (signal.dim() != 3 or signal.shape[1] != 1):
            raise UserError(f"speech has shape {tuple(signal.shape)}; {self.name} wants [b, 1, time]")
        if not num_units:
            raise UserError(
                f"speech of {counted(signal.shape[-1], 'sample')} is shorter than one unit of {self.name}, "
                f"{factor} samples"
            )
        return signal[..., : num_units * factor]


def smoothed(latents: Tensor, real: Tensor | None = None) -> Tensor:
    """Means of neighbours with weights 1/4, 1/2, 1/4 along the last axis of `latents` `[b, d, n]`.

    At the ends, and beside what is not `real` `[b, n]`, what is there counts for what is not.
    """
    padded = F.pad(latents, (1, 1), mode="replicate")
    before, after = padded[..., :-2], padded[..., 2:]
    if real is not None:
        known = F.pad(real[:, None], (1, 1))
        before, after = (
            torch.where(known[..., :-2], before, latents),
            torch.where(known[..., 2:], after, latents),
        )
    return latents / 2 + (before + after) / 4


def smoothing_span(span: Span) -> Span:
    """Latents that `smoothed` ones depend on."""
    return Span(span.start - 1, span.stop + 1)


def warps(signal: Tensor, most: float) -> Tensor | None:
    """A vocal tract for each row of `signal`: factors `[b]` of frequency, 1 - `most` to 1 + `most`; None for 0."""
    return 1 + most * (2 * torch.rand(len(signal), device=signal.device) - 1) if most else None
