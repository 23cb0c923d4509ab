import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.core.config import parse_config
from codec.core.errors import UserError
from codec.core.pairs import Pairs, learn_pairs
from tests.references import pairs as reference

SEQUENCES = st.lists(st.lists(st.integers(0, 2), max_size=20), max_size=4)


def arrays(sequences):
    return [np.array(sequence, dtype=np.int64) for sequence in sequences]


@settings(deadline=None)
@given(SEQUENCES, st.integers(0, 12))
def test_the_merges_are_those_of_counting_everything_again(sequences, num_merges):
    pairs = learn_pairs(arrays(sequences), num_units=3, num_merges=num_merges)
    assert list(pairs.merges) == reference.learn(sequences, 3, num_merges)


@settings(deadline=None)
@given(SEQUENCES, st.lists(st.integers(0, 2), max_size=20))
def test_undo_gives_back_any_units_that_were_applied(sequences, other):
    pairs = learn_pairs(arrays(sequences), num_units=3, num_merges=6)
    for units in [*sequences, other]:
        tokens, slow = pairs.apply(np.array(units, dtype=np.int64)), units
        for number, pair in enumerate(pairs.merges, 3):
            slow = reference.merge(slow, pair, number)
        assert tokens.tolist() == slow and pairs.undo(tokens).tolist() == units


def test_many_merges_of_a_long_sequence_are_those_of_counting_everything_again():
    units = np.random.default_rng(0).zipf(1.5, 3000) % 20  # long enough for the heap of counts to be built again
    pairs = learn_pairs([units], num_units=20, num_merges=150)
    assert list(pairs.merges) == reference.learn([units.tolist()], 20, 150)


def test_what_is_common_becomes_one_token():
    pairs = learn_pairs(arrays([[0, 1, 2, 0, 1], [0, 1]]), num_units=3, num_merges=1)
    assert pairs.merges == ((0, 1),) and pairs.apply(np.array([2, 0, 1])).tolist() == [2, 3]


def test_no_pair_reaches_across_sequences():
    assert learn_pairs(arrays([[0, 1], [0, 1], [0, 1]]), num_units=2, num_merges=5).merges == ((0, 1),)


def test_pairs_come_back_from_json():
    pairs = learn_pairs(arrays([[0, 0, 0, 0, 1, 0, 0, 1]]), num_units=2, num_merges=3)
    assert pairs.merges and Pairs.model_validate_json(pairs.model_dump_json()) == pairs


@pytest.mark.parametrize("merges", [[[0, 3]], [[0, 1], [0, 1]], [[0, -1]]])
def test_merges_that_cannot_be_are_refused(merges):
    with pytest.raises(UserError, match="merge"):
        parse_config(Pairs, {"num_units": 3, "merges": merges}, origin="pairs.json")


def test_units_of_another_model_are_refused():
    pairs = learn_pairs(arrays([[0, 1]]), num_units=2, num_merges=1)
    for wrong in (np.array([2]), np.array([-1]), np.array([[0]]), np.array([0.0])):
        with pytest.raises(UserError, match="units"):
            pairs.apply(wrong)
    with pytest.raises(UserError, match="tokens go from 0 to 1"):
        pairs.undo(np.array([2]))
