"""The objective of a prior: how many nats, and so bits, the codes cost under it."""

from __future__ import annotations

import math
from pathlib import Path

from torch import Tensor, nn

from codec.checkpoint.prior import save_prior
from codec.core.errors import UserError
from codec.data.code_batches import Packing
from codec.data.code_store import CodeStore
from codec.priors.base import Condition, Geometry, NeuralPrior


class PriorTask(nn.Module):
    """Mean negative log-likelihood of a code, given those before it and the levels above (Razavi et al. 2019, 3.2).

    Batches are rows of packed codes, -1 for none; every row counts as much, however many codes it has. Beside the loss
    `nll` (nats per code) it tells `bits_per_code`, and what this level costs per position of the signal:
    `bits_per_pixel`, of sound `bits_per_sample`. These are the information of the codes under the prior, which a file
    of them exceeds a little.

    Args:
        prior: what is trained and exported.
        store: where the rows come from.

    Raises:
        UserError: the store holds other codes than the prior models.
    """

    sample_rate = None

    def __init__(self, prior: NeuralPrior, store: CodeStore):
        super().__init__()
        geometry, level = prior.geometry, len(prior.geometry.coarser)
        if geometry != geometry_of(store, level):
            raise UserError(f"the prior is not of level {level} of the codes in {store.folder}: build it for them")
        self.prior, self.model_fingerprint = prior, store.index.fingerprint
        self.packing = Packing.of(store, level)
        self._cost_name = {1: "bits_per_sample", 2: "bits_per_pixel"}[geometry.ndim]
        self._positions_per_code = geometry.level.downsample_factor**geometry.ndim

    def forward(self, signal: Tensor, mask: Tensor | None = None) -> dict[str, dict[str, Tensor]]:
        """`{"losses": {"nll": ...}, "stats": ...}`, 0-d tensors, of packed rows `[b, n]`."""
        (*coarser, codes), labels = self.packing.unpack(signal)
        nats = self.prior.nll(codes, Condition(labels, tuple(coarser))).flatten(1).sum(1)
        nll = (nats / (codes >= 0).flatten(1).sum(1).clamp_min(1)).mean()
        positions = codes[0, 0].numel() * self._positions_per_code
        return {
            "losses": {"nll": nll},
            "stats": {
                "bits_per_code": nll.detach() / math.log(2),
                self._cost_name: nats.detach().mean() / math.log(2) / positions,
            },
        }

    def total(self, losses: dict[str, Tensor]) -> Tensor:
        """The only loss."""
        return losses["nll"]

    def samples(self, signal: Tensor) -> dict[str, Tensor]:
        """None: codes are nothing to look at."""
        return {}

    def export(self, folder: Path, *, name: str) -> None:
        """Write the prior as it is now, ready for `load_prior`."""
        save_prior(self.prior, folder, name=name, model_fingerprint=self.model_fingerprint)


def geometry_of(store: CodeStore, level: int) -> Geometry:
    """What a prior over level `level` of the codes in `store` models, and is given."""
    index = store.index
    return Geometry.of(index.levels, level, ndim=len(index.levels[level].size), num_classes=index.num_classes)
