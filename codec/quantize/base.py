"""The interface that every quantizer keeps, and the few questions all of them ask."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor

from codec.core.errors import UserError
from codec.core.types import Quantized
from codec.core.wording import counted


class NonFiniteError(ValueError):
    """A latent is NaN, infinite or too large to square; the quantizer's state is as before the call, on every rank."""


class Quantizer(nn.Module, ABC):
    """Turns latents `[b, d, *space]` into codes `[b, q, *space]` and back.

    Masked positions, and stages that a sample left out, get code -1 and latents of zero; they are invisible in
    losses, statistics and codebook updates. `decode` reads -1 as zero. State changes only in a training forward.
    """

    dim: int

    @property
    @abstractmethod
    def loss_names(self) -> tuple[str, ...]:
        """Names of the losses that `forward` returns."""

    @property
    @abstractmethod
    def num_codebooks(self) -> int:
        """Codes per position, q."""

    @property
    @abstractmethod
    def codebook_size(self) -> int:
        """Values that a code can take, K."""

    @abstractmethod
    def forward(self, latents: Tensor, *, mask: Tensor | None = None, num_active: int | None = None) -> Quantized:
        """Quantize `latents` `[b, d, *space]` and, when training, move the codebook.

        Args:
            mask: `[b, *space]` bool, True where a position is real; None if all are. All False is legal.
            num_active: use only the first `num_active` codebooks; all if None.

        When training, every rank must call it, with the same `num_active`; in eval no rank waits for another, figures
        are its own.

        Raises:
            NonFiniteError: a real position holds NaN or infinity, on this rank or (when training) on any other.
        """

    @abstractmethod
    def encode(self, latents: Tensor, *, num_active: int | None = None) -> Tensor:
        """Codes `[b, q, *space]` (int64) of `latents` `[b, d, *space]`; q is `num_active` if given."""

    @abstractmethod
    def dequantize(self, codes: Tensor) -> Tensor:
        """Float32 latents `[b, d, *space]` of codes `[b, q, *space]`, q up to `num_codebooks`; -1 counts as zero."""

    @abstractmethod
    def code_counts(self) -> Tensor:
        """Running usage as integers `[q, K]`, each at least 1: a histogram for an entropy coder."""

    def encoded_counts(self, num_active: int | None = None) -> Tensor | None:
        """How often `encode` chose each code at one of its rates, `[num_active, K]` (int32, each at least 1).

        None where that was not counted, or is no different from `code_counts`.
        """
        return None

    def decode(self, codes: Tensor) -> Tensor:
        """Latents `[b, d, *space]` of codes `[b, q, *space]`, in the module's own dtype; -1 counts as zero."""
        return self.dequantize(codes).to(self.dtype)

    @property
    def dtype(self) -> torch.dtype:
        """Floating type that `.to()`, `.half()` or `.bfloat16()` gave the module; statistics stay float32."""
        return self.type_marker.dtype

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.type_marker: Tensor
        self.register_buffer("type_marker", torch.empty(0), persistent=False)


def can_branch(tensor: Tensor) -> bool:
    """Whether Python may look at values: not on fake tensors, nor while a graph is being compiled."""
    return not (torch.compiler.is_compiling() or isinstance(tensor, FakeTensor))


def is_recomputing() -> bool:
    """Whether this forward runs inside a backward pass: an activation checkpoint computes it a second time."""
    return not torch.compiler.is_compiling() and torch._C._current_graph_task_id() != -1


def raise_unless_finite(finite: Tensor) -> None:
    """NonFiniteError if `finite` (0-d bool) is False; nothing where values cannot be looked at."""
    if can_branch(finite) and not bool(finite):
        raise NonFiniteError(
            "latents hold NaN or infinity: look at the batch, or lower the learning rate (the codebook is unharmed)"
        )


def check_latents(latents: Tensor, dim: int, mask: Tensor | None = None) -> None:
    """UserError unless `latents` is `[b, dim, *space]` floating point and `mask` fits it."""
    if latents.dim() < 2 or latents.shape[1] != dim:
        raise UserError(f"latents have shape {tuple(latents.shape)}; this quantizer wants [b, {dim}, *space]")
    if not latents.is_floating_point():
        raise UserError(f"latents are {latents.dtype}; this quantizer wants floating point")
    if mask is not None:
        expected = (latents.shape[0], *latents.shape[2:])
        if tuple(mask.shape) != expected or mask.dtype != torch.bool:
            raise UserError(f"mask is {mask.dtype} {tuple(mask.shape)}; the latents want bool {expected}")


def check_codes(codes: Tensor, num_codebooks: int, codebook_size: int) -> None:
    """UserError unless `codes` is an integer `[b, q, *space]`, q from 1 to `num_codebooks`, -1 <= code < K."""
    whole = not codes.is_floating_point() and codes.dtype != torch.bool
    if codes.dim() < 2 or not 1 <= codes.shape[1] <= num_codebooks or not whole:
        raise UserError(
            f"codes are {codes.dtype} {tuple(codes.shape)}; wanted integers [b, q, *space], q 1 to {num_codebooks}"
        )
    if codes.numel() and can_branch(codes):
        low, high = torch.stack(torch.aminmax(codes)).tolist()
        if low < -1 or high >= codebook_size:
            raise UserError(f"codes run from {low} to {high}; this quantizer wants -1 to {codebook_size - 1}")


def check_num_active(num_active: int | None, num_codebooks: int) -> int:
    """`num_active`, all codebooks if None; UserError when there are not so many."""
    if num_active is None:
        return num_codebooks
    if not 1 <= num_active <= num_codebooks:
        raise UserError(
            f"num_active is {num_active}; this quantizer has {counted(num_codebooks, 'codebook')}: pass 1 to that"
        )
    return num_active
