"""In which order a context prior takes the codes of a level: groups of codebooks, in each a few phases of positions."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from pydantic import PositiveInt, field_validator
from torch import Tensor

from codec.core.config import Config


class ContextGroup(Config):
    """Codebooks that are predicted at once, at the positions of one phase after the other.

    Attributes:
        codebooks: how many, after those of the groups before.
        phases: sets of positions; each but the first fills in the gaps of those before.
        hidden: channels of its networks.
        kernel: extent of what a network sees, odd.
    """

    codebooks: PositiveInt
    phases: PositiveInt = 2
    hidden: PositiveInt = 64
    kernel: PositiveInt = 3

    @field_validator("kernel")
    @classmethod
    def _has_a_middle(cls, kernel: int) -> int:
        if kernel % 2 == 0:
            raise ValueError(f"kernel is {kernel}: take an odd one")
        return kernel


@dataclass(frozen=True)
class ContextStep:
    """One step: some codebooks at the positions of one phase.

    Attributes:
        network: which one predicts it, counted over all groups.
        first, stop: its codebooks; `stop` is at most the number of active ones.
        width: codebooks of the whole group.
        kernel: of the network.
        positions: flat indices `[m]` in raster order.
    """

    network: int
    first: int
    stop: int
    width: int
    kernel: int
    positions: Tensor

    def flat_codes(self, num_positions: int) -> Tensor:
        """Flat indices `[(stop - first) * m]` of its codes in `[q, *space]`, codebook by codebook."""
        return (torch.arange(self.first, self.stop)[:, None] * num_positions + self.positions).reshape(-1)


def context_steps(groups: Sequence[ContextGroup], size: tuple[int, ...], num_active: int) -> list[ContextStep]:
    """The steps that code the first `num_active` codebooks of a level of `size` positions."""
    steps, first = [], 0
    counter = itertools.count()
    for group in groups:
        stop = min(first + group.codebooks, num_active)
        for mask in phase_masks(size, group.phases):
            positions = mask.flatten().nonzero().squeeze(1)
            step = ContextStep(next(counter), first, stop, group.codebooks, group.kernel, positions)
            if first < stop and len(positions):
                steps.append(step)
        first += group.codebooks
    return steps


def phase_masks(size: tuple[int, ...], phases: int) -> list[Tensor]:
    """Boolean masks `[*size]` that part the positions.

    The first phase is a coarse lattice, and each further one adds the points that lie midway in the gaps, so that the
    lattice of all phases so far gets `phases - 1` times twice as dense. Over two axes that alternates between squares
    and squares on their tips: five phases are every fourth row and column, the centres of these squares, the rest of
    every second row and column, their centres, and the rest; two are the colours of a chessboard.
    """
    depth = torch.zeros(size, dtype=torch.int64)
    for refinement in range(1, phases):
        depth += _on_lattice(size, refinement)
    return [depth == phases - 1 - phase for phase in range(phases)]


def _on_lattice(size: tuple[int, ...], coarseness: int) -> Tensor:
    """Whether each position lies on the lattice that has one position of `2**coarseness`."""
    spacing, on_tips = divmod(coarseness, len(size))
    axes = torch.meshgrid([torch.arange(extent) for extent in size], indexing="ij")
    on = torch.stack([axis % (1 << spacing) == 0 for axis in axes]).all(0)
    return on & (sum(axis >> spacing for axis in axes) % 2 == 0) if on_tips else on
