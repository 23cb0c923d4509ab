"""Codes as they are stored in files, and how evenly they use their codebooks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from codec.files.container import read_chunk, read_header
from codec.files.payload import ChunkCoder, Codes
from codec.files.prior import PriorChoice, prior_to_read_with
from codec.files.windows import CodeWindow
from codec.models.base import CodecModel, CodeGrid


def stored_codes(path: str | Path, model: CodecModel, *, prior: PriorChoice = "auto") -> tuple[Tensor, ...]:
    """The codes in a .vqc file, per level `[rows, q, *space]` int64; a row is one channel of the recording.

    Args:
        prior: as for `decode_file`.

    Raises:
        UserError: the file is not one, or damaged.
        ValueError: a chunk is damaged.
    """
    with open(path, "rb") as file:
        contents = read_header(file, str(path))
        header = contents.header
        used = prior_to_read_with(prior, header, str(path))
        coder = ChunkCoder.of(model, header.num_active, used)

        def load(index: int) -> Codes:
            data, method = read_chunk(file, contents, index), contents.chunks[index].method
            return coder.decode(data, method, header.shapes(index))

        levels, _ = CodeWindow(header, load).take(tuple(slice(0, extent) for extent in header.codes_size))
    return levels


class CodeCounter:
    """Counts codes over as many signals as it is shown.

    Args:
        levels: the model's levels.
    """

    def __init__(self, levels: Sequence[CodeGrid]):
        self._counts = [torch.zeros(grid.num_codebooks, grid.codebook_size, dtype=torch.int64) for grid in levels]

    def add(self, codes: Sequence[Tensor]) -> None:
        """Count `codes`, per level `[rows, q, *space]`; q may be fewer than the model has."""
        for counts, level in zip(self._counts, codes, strict=True):
            for book in range(level.shape[1]):
                counts[book] += torch.bincount(level[:, book].flatten(), minlength=counts.shape[1])

    def table(self) -> list[dict[str, Any]]:
        """One record per codebook seen.

        `usage` is the share of its codes that occurred; `perplexity` is exp(entropy of the counts), in codes;
        `entropy_bits` is that entropy per code in bits.
        """
        rows = []
        for depth, counts in enumerate(self._counts):
            for book, seen in enumerate(counts):
                if not (total := int(seen.sum())):
                    continue
                share = seen[seen > 0].double() / total
                entropy = float(-(share * share.log()).sum())
                rows.append(
                    {
                        "level": depth,
                        "codebook": book,
                        "codebook_size": len(seen),
                        "codes": total,
                        "usage": len(share) / len(seen),
                        "perplexity": float(np.exp(entropy)),
                        "entropy_bits": entropy / float(np.log(2)),
                    }
                )
        return rows
