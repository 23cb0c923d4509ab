"""Scores of pictures. Signals are `[c, height, width]` or `[b, c, height, width]` in [-1, 1]."""

from __future__ import annotations

import math
from collections.abc import Collection

import torch
from torch import Tensor

from codec.metrics.score import Score, mean_score

_RANGE = 2.0  # from -1 to 1
_SSIM_SIDE = 11  # the Gaussian window
_MS_SSIM_SIDE = 176  # a sixteenth of it must still exceed the window, which torchmetrics insists on


def psnr(reference: Tensor, estimate: Tensor) -> Score:
    """Peak signal-to-noise ratio in dB over all channels, mean over pictures; `inf` when equal."""
    ours, theirs = _batches(reference, estimate)
    errors = ((ours - theirs) ** 2).flatten(1).mean(1).tolist()
    return mean_score(Score(10 * math.log10(_RANGE**2 / error) if error > 0 else math.inf) for error in errors)


def ssim(reference: Tensor, estimate: Tensor) -> Score:
    """Structural similarity (Wang et al. 2004), at most 1, mean over pictures; needs 11 px per side."""
    ours, theirs = _batches(reference, estimate)
    if (small := _too_small(ours, _SSIM_SIDE)) is not None:
        return small
    from torchmetrics.functional.image import structural_similarity_index_measure

    return Score(float(structural_similarity_index_measure(theirs, ours, data_range=_RANGE)))  # type: ignore[arg-type]


def ms_ssim(reference: Tensor, estimate: Tensor) -> Score:
    """Multi-scale structural similarity, five scales (Wang et al. 2003), mean over pictures; needs 176 px."""
    ours, theirs = _batches(reference, estimate)
    if (small := _too_small(ours, _MS_SSIM_SIDE)) is not None:
        return small
    from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

    return Score(float(multiscale_structural_similarity_index_measure(theirs, ours, data_range=_RANGE)))


def score_image(
    reference: Tensor, estimate: Tensor, *, metrics: Collection[str] = ("psnr", "ssim", "ms_ssim")
) -> dict[str, Score]:
    """Every named score of `estimate` against `reference`."""
    panel = {"psnr": psnr, "ssim": ssim, "ms_ssim": ms_ssim}
    return {name: panel[name](reference, estimate) for name in metrics}


def _too_small(signal: Tensor, side: int) -> Score | None:
    height, width = signal.shape[-2:]
    if min(height, width) >= side:
        return None
    return Score(None, f"the picture is {width}x{height}; this needs at least {side} pixels per side")


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
