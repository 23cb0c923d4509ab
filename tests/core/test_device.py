"""Cores are left to others, and taken back."""

import pytest
import torch

from codec.core.device import one_core_left


def test_a_core_is_left_to_others_and_taken_back():
    before = torch.get_num_threads()
    try:
        for threads, left in ((3, 2), (1, 1)):
            torch.set_num_threads(threads)
            with pytest.raises(RuntimeError, match="within"), one_core_left():
                assert torch.get_num_threads() == left
                raise RuntimeError("within")
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
