"""Something made of tensors that is kept until one of them changes."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

from torch import Tensor

from codec.quantize.base import can_branch

MadeT = TypeVar("MadeT")


class Prepared(Generic[MadeT]):
    """What was made last, and of what: the tensors themselves, where they lay, and how often they had been changed.

    Changes are seen by PyTorch's own count of changes in place, which those through `.data` or NumPy do not enter, nor
    those of some optimisers. So nothing is kept of tensors that learn by gradient; nor of those that have no count
    (made in inference mode) or cannot be looked at (fake tensors, compiled graphs).
    """

    def __init__(self) -> None:
        self._made: tuple[MadeT, Sequence[Tensor], object] | None = None

    def get(self, make: Callable[[], MadeT], state: Sequence[Tensor], setting: Hashable = None) -> MadeT:
        """What `make()` returns, which depends on the tensors `state` and on `setting` and nothing else."""
        if not all(can_branch(tensor) and not tensor.is_inference() and not tensor.requires_grad for tensor in state):
            return make()
        marks = (setting, [(tensor.data_ptr(), tensor._version) for tensor in state])
        if self._made is not None:
            made, before, old_marks = self._made
            same = len(before) == len(state) and all(a is b for a, b in zip(before, state, strict=True))
            if same and marks == old_marks:
                return made
        made = make()
        self._made = made, state, marks
        return made
