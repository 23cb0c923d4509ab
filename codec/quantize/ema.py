"""A codebook that follows its vectors by exponential moving averages (van den Oord et al. 2017, appendix A.1)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from codec.quantize.codebook import CodebookConfig, CodebookQuantizer
from codec.quantize.stats import BatchSums

MIN_COUNT = 1e-6  # below it a ratio of two fading averages is noise, and the entry keeps its place


class EMAConfig(CodebookConfig):
    """Codebook learned by moving averages; no gradient and no `codebook` loss."""

    kind: Literal["ema"] = "ema"


class EMAQuantizer(CodebookQuantizer):
    """Vector quantizer whose entry e_i is the moving average of the vectors that chose it.

    With gamma = `decay`, n_i the vectors of a batch (all ranks, real positions) nearest to e_i and s_i their sum,

        N_i <- gamma N_i + (1 - gamma) n_i,    m_i <- gamma m_i + (1 - gamma) s_i,    e_i <- m_i / N_i.

    `forward` quantizes with the entries as they were before the update. Counts are not smoothed (that would pull rare
    entries to the origin); an entry whose N_i has faded to nothing stays where it is. A batch without a real position
    changes nothing.

    State: `codebook` `[K, D]`, `ema_counts` N `[K]`, `ema_sums` m `[K, D]`, all float32 in any module dtype.
    """

    ema_sums: Tensor
    float32_buffers = ("codebook", "ema_counts", "ema_sums")
    sums_needed = True

    def __init__(self, config: EMAConfig, dim: int) -> None:
        super().__init__(config, dim)
        shape = (config.codebook_size, self.width)
        self.register_buffer("codebook", torch.randn(shape, dtype=torch.float32))
        self.register_buffer("ema_sums", torch.zeros(shape, dtype=torch.float32))

    def _move(self, sums: BatchSums, gate: Tensor) -> None:
        assert sums.sums is not None
        self.ema_sums.copy_(
            torch.where(gate, torch.lerp(sums.sums, self.ema_sums, self.config.decay), self.ema_sums)
        )
        alive = gate & (self.ema_counts > MIN_COUNT)
        means = self.ema_sums / self.ema_counts.clamp_min(MIN_COUNT)[:, None]
        self.codebook.copy_(torch.where(alive[:, None], means, self.codebook))

    def _assign(self, codes: Tensor, vectors: Tensor, counts: Tensor, gate: Tensor) -> None:
        keep = gate[:, None]
        self.codebook.index_copy_(0, codes, torch.where(keep, vectors, self.codebook[codes]))
        self.ema_sums.index_copy_(
            0, codes, torch.where(keep, vectors * counts[:, None], self.ema_sums[codes])
        )
        self.ema_counts.index_copy_(0, codes, torch.where(gate, counts, self.ema_counts[codes]))
