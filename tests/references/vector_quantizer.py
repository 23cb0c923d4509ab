"""Vector quantization in plain float64 NumPy, one vector at a time: slow, and independent of the toolkit."""

from __future__ import annotations

import numpy as np


def nearest(rows: np.ndarray, codebook: np.ndarray) -> np.ndarray:
    """Index of the entry with the least squared distance to each row, by direct difference."""
    return np.array([np.argmin([np.sum((row - entry) ** 2) for entry in codebook]) for row in rows], dtype=np.int64)


class MovingAverageCodebook:
    """The moving-average codebook of van den Oord et al. 2017, appendix A.1, as it is written there."""

    def __init__(self, codebook: np.ndarray, counts: np.ndarray, decay: float) -> None:
        self.codebook, self.counts, self.decay = codebook.copy(), counts.copy(), decay
        self.sums = counts[:, None] * codebook

    def step(self, rows: np.ndarray) -> np.ndarray:
        """Codes of `rows` by the entries as they are; then every entry moves to its moving average."""
        codes = nearest(rows, self.codebook)
        for entry in range(len(self.codebook)):
            chosen = rows[codes == entry]
            self.counts[entry] = self.decay * self.counts[entry] + (1 - self.decay) * len(chosen)
            self.sums[entry] = self.decay * self.sums[entry] + (1 - self.decay) * chosen.sum(axis=0)
            if self.counts[entry] > 1e-6:
                self.codebook[entry] = self.sums[entry] / self.counts[entry]
        return codes


def residual_codes(rows: np.ndarray, codebooks: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Codes `[N, q]` and their sum `[N, D]`, each stage on what is left (Zeghidour et al. 2021, algorithm 1)."""
    left, codes = rows.copy(), []
    for codebook in codebooks:
        codes.append(nearest(left, codebook))
        left = left - codebook[codes[-1]]
    return np.stack(codes, axis=1), rows - left


def residuals(rows: np.ndarray, codebooks: list[np.ndarray]) -> list[np.ndarray]:
    """What each stage of such a stack sees, `[N, D]` each."""
    seen = [rows]
    for codebook in codebooks[:-1]:
        seen.append(seen[-1] - codebook[nearest(seen[-1], codebook)])
    return seen


def product_codes(rows: np.ndarray, codebooks: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Codes `[N, G]` and vectors `[N, D]`, each part of the channels by itself (Jégou et al. 2011)."""
    width = rows.shape[1] // len(codebooks)
    parts = [rows[:, width * number : width * (number + 1)] for number in range(len(codebooks))]
    codes = [nearest(part, codebook) for part, codebook in zip(parts, codebooks, strict=True)]
    vectors = [codebook[code] for code, codebook in zip(codes, codebooks, strict=True)]
    return np.stack(codes, axis=1), np.concatenate(vectors, axis=1)


def orthogonality(codebook: np.ndarray) -> float:
    """Mean square of what the cosines of all K x K pairs of entries lack to the identity matrix."""
    unit = codebook / np.linalg.norm(codebook, axis=1, keepdims=True)
    return float(np.mean((unit @ unit.T - np.eye(len(unit))) ** 2))
