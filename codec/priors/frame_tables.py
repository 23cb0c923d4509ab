"""The numbers of a frame prior of integers, as its compiled loop reads them, and what bounds them.

Activations are integers of at most `MAX_ACTIVATION` in magnitude, in steps of 1 / `UNIT`, and no sum of products passes
2**31 (`frame_coding` checks that from the shapes): any order of summation gives the same, so every machine agrees.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

UNIT, MAX_ACTIVATION = 256, 4095
LOGIT_UNIT = 64  # logits are in steps of 1/64
MAX_WEIGHT, MAX_BYTE = 1023, 127
MAX_BIAS, MAX_SHIFT = (1 << 28) - 1, 24
MAX_CODES = 1 << 13
MAX_EMBEDDING_SHIFT = 5  # 7 bits are then 12
SCALE_BITS = 12  # of the scale of a codebook's vectors, behind the point
LARGEST_WEIGHT = 1 << 18  # that of the likeliest code


class LayerTables(NamedTuple):
    """Layers of one shape: weights int16 `[n, outputs, inputs]`, biases int32 and shifts int32 `[n, outputs]`."""

    weight: npt.NDArray[np.int16]
    bias: npt.NDArray[np.int32]
    shift: npt.NDArray[np.int32]


class FrameTables(NamedTuple):
    """All numbers of a prior.

    Attributes:
        embedding, scale: vectors int16 `[q, K, d]`, and by how much each codebook's count in a sum, int64 `[q]`, in
            units of 2**-`SCALE_BITS`.
        past: the layer over the frames before, d * kernel inputs, the oldest first; `further` those over its outputs.
        dilations: of `further`, int64 `[n]`.
        first, second: of each codebook, the second to what its head sees.
        head: of each codebook, to logits in steps of 1 / `LOGIT_UNIT`.
        exponentials: int32, descending; the last stands for all logits farther below the largest.
    """

    embedding: npt.NDArray[np.int16]
    scale: npt.NDArray[np.int64]
    past: LayerTables
    further: LayerTables
    dilations: npt.NDArray[np.int64]
    first: LayerTables
    second: LayerTables
    head: LayerTables
    exponentials: npt.NDArray[np.int32]
