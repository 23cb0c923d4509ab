"""Frechet distance between the features of two sets of pictures, by whatever network one trusts to see what matters."""

from __future__ import annotations

import torch
from torch import Tensor


class FeatureGaussian:
    """Mean and covariance of features in float64, gathered batch by batch in memory that does not grow.

    A batch is centred by itself before it is joined to the others (Chan et al. 1979), so that a large common mean
    takes no digits from the covariance.
    """

    def __init__(self) -> None:
        self.count = 0
        self._mean = self._scatter = torch.zeros(())

    def add(self, features: Tensor) -> None:
        """Take in a batch of features `[b, d]`.

        Raises:
            ValueError: another shape, or another d than before.
        """
        if features.ndim != 2 or (self.count and features.shape[1:] != self._mean.shape):
            wanted = f"[b, {len(self._mean)}]" if self.count else "[b, d]"
            raise ValueError(f"features have shape {tuple(features.shape)}; wanted {wanted}")
        features = features.detach().double().cpu()
        count = self.count + len(features)
        mean = features.mean(0)
        step = mean - self._mean
        centred = features - mean
        within = centred.T @ centred
        between = torch.outer(step, step) * (self.count * len(features) / count)
        self._scatter = self._scatter + within + between
        self._mean = self._mean + step * (len(features) / count)
        self.count = count

    @property
    def mean(self) -> Tensor:
        """`[d]`."""
        return self._mean

    @property
    def covariance(self) -> Tensor:
        """`[d, d]`, of the population that the features are a sample of (divided by count - 1).

        Raises:
            ValueError: fewer than two features.
        """
        if self.count < 2:
            raise ValueError(f"a covariance needs 2 features or more; got {self.count}")
        return self._scatter / (self.count - 1)


def frechet_distance(ours: FeatureGaussian, theirs: FeatureGaussian) -> float:
    """Squared Frechet distance between two Gaussians (Heusel et al. 2017, eq. 6), at least 0.

    |m1 - m2|^2 + Tr(C1 + C2 - 2 (C1 C2)^(1/2)). That root has the trace of the root of C1^(1/2) C2 C1^(1/2), which is
    symmetric: its eigenvalues are real and found exactly, also where there are fewer features than dimensions.
    """
    values, vectors = torch.linalg.eigh(ours.covariance)
    half = vectors * values.clamp_min(0).sqrt() @ vectors.T
    overlap = torch.linalg.eigvalsh(half @ theirs.covariance @ half).clamp_min(0).sqrt().sum()
    spread = ours.covariance.trace() + theirs.covariance.trace() - 2 * overlap
    return max(0.0, float((ours.mean - theirs.mean).square().sum() + spread))
