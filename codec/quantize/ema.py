"""A codebook that follows its vectors by exponential moving averages (van den Oord et al. 2017, appendix A.1)."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import field_validator
from torch import Tensor

from codec.quantize.estimators import Estimator
from codec.quantize.learned import LearnedCodebook, LearnedCodebookConfig
from codec.quantize.stats import BatchSums

MIN_COUNT = 1e-30  # so that an entry without a vector is not divided by zero


class EMAConfig(LearnedCodebookConfig):
    """Codebook learned by moving averages; no gradient and no `codebook` loss."""

    kind: Literal["ema"] = "ema"

    @field_validator("estimator")
    @classmethod
    def _entries_take_no_gradient(cls, estimator: Estimator) -> Estimator:
        if estimator == "diveq":
            raise ValueError("diveq lets entries learn by gradient, those of 'ema' do not: take kind 'gradient'")
        return estimator


class EMAQuantizer(LearnedCodebook):
    """Vector quantizer whose entry e_i is the moving average of the vectors that chose it.

    With gamma = `decay` and the n_i vectors x of a batch (all ranks, real positions) that are nearest to e_i,

        N_i <- gamma N_i + (1 - gamma) n_i,    m_i <- gamma m_i + (1 - gamma) sum(x),    e_i <- m_i / N_i.

    Since m_i = N_i e_i before, the new entry is e_i + (1 - gamma) sum(x - e_i) / N_i: that is how it is computed. No
    sum m_i has to be kept, reset with a restarted entry, or divided by a count that fades with it, and a common
    offset of all vectors costs no precision.

    `forward` quantizes with the entries as they were before the update. Counts are not smoothed (that would pull rare
    entries to the origin); an entry whose N_i has faded to nothing stays where it is. A batch without a real position
    changes nothing. With `lookup: cosine` entries are scaled back to length 1 (spherical k-means).

    State: `codebook` `[K, D]` and `ema_counts` N `[K]`, float32 in any module dtype.
    """

    float32_buffers = ("codebook", "ema_counts")
    pulls_needed = True

    def __init__(self, config: EMAConfig, dim: int) -> None:
        super().__init__(config, dim)
        self.register_buffer("codebook", torch.randn(config.codebook_size, self.width, dtype=torch.float32))

    def _move(self, sums: BatchSums, gate: Tensor) -> None:
        assert sums.pulls is not None
        step = (1 - self.decay) * sums.pulls / self.ema_counts.clamp_min(MIN_COUNT)[:, None]
        moved = self._condition(self._condition(self.codebook) + step)
        self.codebook.copy_(torch.where(gate, moved, self.codebook))
