"""Structural similarity of pictures as a loss."""

from __future__ import annotations

from torch import Tensor

from codec.core.errors import UserError
from codec.core.precision import float32_island
from codec.losses.padding import without_padding
from codec.metrics.structure import SCALE_WEIGHTS, WINDOW, multi_scale_similarity

RANGE = 2.0  # from -1 to 1
FLOOR = 1e-3  # of structure at one scale: enough to see gradients from the others


def ms_ssim(reconstruction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """1 - MS-SSIM (Wang et al. 2003, eq. 7) of `[b, c, height, width]` in [-1, 1], mean over the batch, float32.

    Five scales need 176 pixels per side; smaller crops use as many of the finest as fit, which share the weight of all
    (four from 88, three from 44, two from 22, one from 11): their figures compare among crops of one size only.
    Padding must be equal in both signals to count for nothing; `mask` `[b, height, width]` makes it so.

    Raises:
        UserError: the crop does not hold the window of 11 pixels.
    """
    side = min(target.shape[-2:])
    if side < WINDOW:
        raise UserError(f"loss 'ms_ssim' looks at windows of {WINDOW} pixels, the crop has {side}: enlarge data.crop")
    num_scales = min(len(SCALE_WEIGHTS), (side // WINDOW).bit_length())
    with float32_island(target.device.type):
        ours, theirs = without_padding(reconstruction, target, mask)
        return 1 - multi_scale_similarity(theirs, ours, data_range=RANGE, num_scales=num_scales, floor=FLOOR).mean()
