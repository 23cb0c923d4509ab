import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.core.errors import UserError
from codec.core.runs import find_runs


@given(st.lists(st.integers(-1, 2), max_size=30), st.sampled_from([np.int64, np.int16]))
def test_runs_expand_to_what_they_were_found_in(values, dtype):
    units = np.array(values, dtype=dtype)
    runs = find_runs(units)
    assert runs.expand().tolist() == values and runs.expand().dtype == dtype
    assert (runs.units[1:] != runs.units[:-1]).all()
    assert [0, *runs.stops.tolist()] == [*runs.starts.tolist(), len(values)]


def test_a_run_has_one_unit_and_its_frames():
    runs = find_runs(np.array([7, 7, 3, 7, 7, 7]))
    assert (runs.units.tolist(), runs.starts.tolist(), runs.stops.tolist()) == ([7, 3, 7], [0, 2, 3], [2, 3, 6])


def test_nothing_has_no_runs():
    assert len(find_runs(np.empty(0, np.int64)).units) == 0


def test_many_codebooks_are_refused():
    with pytest.raises(UserError, match="one codebook"):
        find_runs(np.zeros((2, 3), np.int64))
