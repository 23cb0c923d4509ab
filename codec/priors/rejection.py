"""Better samples by drawing more than are wanted, and keeping those that a classifier recognises."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from codec.core.errors import UserError


@dataclass(frozen=True)
class Kept:
    """Samples that were kept, best first.

    Attributes:
        codes: of every level, `[keep, q, *space]`.
        probabilities: that the classifier gives their class, `[keep]`.
    """

    codes: tuple[Tensor, ...]
    probabilities: Tensor


@torch.inference_mode()
def sample_recognised(
    draw: Callable[[Tensor], tuple[Tensor, ...]],
    classify: Callable[[tuple[Tensor, ...]], Tensor],
    *,
    label: int,
    keep: int,
    candidates: int,
    batch: int,
    device: str | torch.device = "cpu",
) -> Kept:
    """The `keep` of `candidates` samples to whose class the classifier gives most (Razavi et al. 2019, section 3.4).

    Fewer of more candidates are kept: better pictures, less variety. Memory holds `keep + batch` samples.

    Args:
        draw: codes of every level for labels `[b]`.
        classify: logits `[b, num_classes]` of codes; it decodes them first if it looks at pictures.
        device: of the labels.

    Raises:
        UserError: `keep` is not within 1 and `candidates`.
    """
    if not 1 <= keep <= candidates:
        raise UserError(f"keep is {keep} of {candidates} candidates: take 1 up to all of them")
    kept: Kept | None = None
    for first in range(0, candidates, batch):
        codes = draw(torch.full((min(batch, candidates - first),), label, device=device))
        new = Kept(codes, classify(codes).float().softmax(-1)[:, label])
        kept = _best(new if kept is None else _joined(kept, new), keep)
    assert kept is not None
    return kept


def _joined(one: Kept, other: Kept) -> Kept:
    codes = tuple(torch.cat(pair) for pair in zip(one.codes, other.codes, strict=True))
    return Kept(codes, torch.cat((one.probabilities, other.probabilities)))


def _best(samples: Kept, keep: int) -> Kept:
    probabilities, rows = samples.probabilities.topk(min(keep, len(samples.probabilities)))
    return Kept(tuple(codes[rows] for codes in samples.codes), probabilities)
