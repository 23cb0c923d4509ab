"""The nearest entry of one explicit codebook, whichever way the codebook learns."""

from __future__ import annotations

from abc import abstractmethod
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from codec.quantize.base import can_branch
from codec.quantize.estimators import ESTIMATORS, Estimator
from codec.quantize.lookup import nearest
from codec.quantize.penalties import codebook_error, commitment, entropies, orthogonality
from codec.quantize.rows import Assignment, RowConfig, RowQuantizer


class CodebookConfig(RowConfig):
    """One codebook of vectors.

    Attributes:
        codebook_size: entries, K.
        codebook_dim: width D of the entries; if it is not the latents' they are projected to look up and back again
            afterwards (factorised codes, Yu et al. 2022). None: as wide as the latents, no projection.
        lookup: `euclidean`, or `cosine`: latents and entries are scaled to length 1 first (the same paper).
        estimator: how gradients pass the lookup, see `estimators`.
        entropy_temperature: with it there are losses `entropy` and `diversity` of the soft assignment at that
            temperature (of squared distances); None: there are none.
    """

    codebook_size: int = Field(default=512, ge=2)
    codebook_dim: int | None = Field(default=None, ge=1)
    lookup: Literal["euclidean", "cosine"] = "euclidean"
    estimator: Estimator = "straight_through"
    entropy_temperature: float | None = Field(default=None, gt=0.0)


class CodebookQuantizer(RowQuantizer):
    """Nearest entry of a codebook; subclasses say where the entries come from and how they learn.

    State besides the entries: `ema_counts` `[K]`, `initialised` (whether a first batch has set them).

    The `commitment` loss is on the encoder's side, in the codebook's space; weigh it with beta, 0.25 in the paper.
    """

    def __init__(self, config: CodebookConfig, dim: int) -> None:
        super().__init__(config, dim, width=config.codebook_dim or dim, radices=(config.codebook_size,))
        self.lookup = config.lookup
        self.estimate = ESTIMATORS[config.estimator]
        self.entropy_temperature = config.entropy_temperature
        self.initialised: Tensor
        self.register_buffer("initialised", torch.tensor(False))
        self._known_initialised = False  # so that the flag is read once, not at every step
        self.register_load_state_dict_post_hook(_forget_initialised)

    @property
    def loss_names(self) -> tuple[str, ...]:
        return ("commitment", "entropy", "diversity") if self.entropy_temperature else ("commitment",)

    @abstractmethod
    def _table(self) -> Tensor:
        """Float32 entries `[K, D]` as they are stored or made, differentiable if they learn by gradient."""

    @abstractmethod
    def _fill(self, rows: Tensor, valid: Tensor | None) -> None:
        """Set the entries by the first batch, `rows` `[N, D]` of which `valid` `[N]` are real, unless `initialised`."""

    def entries(self) -> Tensor:
        """Float32 entries `[K, D]` that codes stand for."""
        return self._condition(self._table())

    @torch.no_grad()
    def _initialise(self, rows: Tensor, valid: Tensor | None) -> None:
        if self._known_initialised:
            return
        self._fill(rows, valid)
        if can_branch(rows):
            self._known_initialised = bool(self.initialised)

    def _condition(self, rows: Tensor) -> Tensor:
        return F.normalize(rows, dim=-1) if self.lookup == "cosine" else rows

    def _find(self, rows: Tensor) -> Tensor:
        return nearest(rows, self.entries())

    def _vectors(self, codes: Tensor) -> Tensor:
        return F.embedding(codes, self.entries())

    def _find_vectors(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        entries = self.entries()
        codes = nearest(rows, entries)
        return codes, F.embedding(codes, entries)

    def _emit(self, assignment: Assignment) -> tuple[Tensor, dict[str, Tensor]]:
        outputs = self.estimate(assignment.inputs, assignment.vectors)
        losses = {"commitment": commitment(assignment)}
        if self.entropy_temperature:
            entries = self.entries()
            centre = entries.detach().mean(0)  # far from the origin the terms of the squared distance cancel
            rows, table = assignment.anchors - centre, entries - centre
            bias = -table.square().sum(1)
            losses |= entropies(rows, 2 * table, bias, assignment, temperature=self.entropy_temperature)
        return outputs, losses


class TrainableEntries(CodebookQuantizer):
    """A codebook whose entries learn by gradient.

    `codebook` loss: mean over real positions and channels of (sg(z_e) - e)^2 (van den Oord et al. 2017, equation 3,
    second term); weigh it 1. If `orthogonal`, also `orthogonality` of the entries.
    """

    orthogonal: bool

    @property
    def loss_names(self) -> tuple[str, ...]:
        return (*super().loss_names, "codebook", *(("orthogonality",) if self.orthogonal else ()))

    def _emit(self, assignment: Assignment) -> tuple[Tensor, dict[str, Tensor]]:
        outputs, losses = super()._emit(assignment)
        losses |= {"codebook": codebook_error(assignment)}
        return outputs, losses | ({"orthogonality": orthogonality(self.entries())} if self.orthogonal else {})


def _forget_initialised(module: nn.Module, _: object) -> None:
    assert isinstance(module, CodebookQuantizer)
    module._known_initialised = False
