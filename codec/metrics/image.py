"""Scores of pictures. Signals are `[c, height, width]` or `[b, c, height, width]` in [-1, 1]."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection

import torch
from torch import Tensor

from codec.metrics.score import Score, mean_score
from codec.metrics.structure import WINDOW, multi_scale_similarity, structural_similarity

_RANGE = 2.0  # from -1 to 1


def psnr(reference: Tensor, estimate: Tensor) -> Score:
    """Peak signal-to-noise ratio in dB over all channels, mean over pictures; `inf` when equal."""
    ours, theirs = _batches(reference, estimate)
    errors = ((ours - theirs) ** 2).flatten(1).mean(1).tolist()
    return mean_score(Score(10 * math.log10(_RANGE**2 / error) if error > 0 else math.inf) for error in errors)


def ssim(reference: Tensor, estimate: Tensor) -> Score:
    """Structural similarity (Wang et al. 2004), at most 1, mean over pictures; needs 11 px per side."""
    return _similarity(structural_similarity, WINDOW, reference, estimate)


def ms_ssim(reference: Tensor, estimate: Tensor) -> Score:
    """Multi-scale structural similarity, five scales (Wang et al. 2003), mean over pictures; needs 176 px per side."""
    return _similarity(multi_scale_similarity, 16 * WINDOW, reference, estimate)


def score_image(
    reference: Tensor, estimate: Tensor, *, metrics: Collection[str] = ("psnr", "ssim", "ms_ssim")
) -> dict[str, Score]:
    """Every named score of `estimate` against `reference`."""
    panel = {"psnr": psnr, "ssim": ssim, "ms_ssim": ms_ssim}
    return {name: panel[name](reference, estimate) for name in metrics}


def _similarity(measure: Callable[..., Tensor], side: int, reference: Tensor, estimate: Tensor) -> Score:
    """The mean that `measure` gives of pictures with at least `side` pixels per side."""
    ours, theirs = _batches(reference, estimate)
    height, width = ours.shape[-2:]
    if min(height, width) < side:
        return Score(None, f"the picture is {width}x{height}; this needs at least {side} pixels per side")
    return Score(float(measure(ours, theirs, data_range=_RANGE).mean()))


def _batches(reference: Tensor, estimate: Tensor) -> tuple[Tensor, Tensor]:
    if reference.shape != estimate.shape:
        raise ValueError(f"reference is {tuple(reference.shape)} and estimate {tuple(estimate.shape)}; they must agree")
    if reference.ndim not in (3, 4):
        raise ValueError(
            f"picture has shape {tuple(reference.shape)}; wanted [c, height, width] or [b, c, height, width]"
        )
    shape = (1, *reference.shape)[-4:]
    with torch.no_grad():
        return reference.detach().float().reshape(shape), estimate.detach().float().reshape(shape)
