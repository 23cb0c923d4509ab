from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.core.errors import UserError
from codec.eval.abx import abx
from codec.eval.abx_distance import DISTANCES, pair_distances
from codec.eval.abx_items import build_items, cut
from codec.eval.item_file import AbxItem
from codec.eval.phones import Phone
from tests.references import abx as slow

RATE = 10.0
MODES = ["within", "across"]
ITEMS = st.lists(st.tuples(*map(st.sampled_from, ("ab", "xy", "123"))), min_size=2, max_size=9)


def tokens_of(names):
    """An item of 1 to 4 frames for each (phone, context, speaker), one after another in a recording `r`."""
    items, start = [], 0.0
    for place, (phone, context, speaker) in enumerate(names):
        end = start + (1 + place % 4) / RATE
        items.append(AbxItem("r", start, end, phone, context, context, speaker))
        start = end
    return items


def features_of(items, distance, generator, values):
    frames = round(items[-1].end_s * RATE)
    if distance == "edit":
        return generator.integers(0, values, frames)
    if values > 3:  # hardly ever equal
        return np.exp(generator.standard_normal((frames, 3))) - (distance == "angular")
    return generator.integers(0 if distance == "kl" else -1, values, (frames, 2)).astype(np.float32)  # often equal


@pytest.mark.parametrize("distance", list(DISTANCES))
@pytest.mark.parametrize("mode", MODES)
@settings(max_examples=40)
@given(names=ITEMS, seed=st.integers(0, 1000), values=st.integers(2, 5))
def test_errors_are_those_of_the_triples_one_by_one(distance, mode, names, seed, values):
    items = tokens_of(names)
    features = features_of(items, distance, np.random.default_rng(seed), values)
    frames = [features[round(i.start_s * RATE) : round(i.end_s * RATE)].tolist() for i in items]
    wanted = slow.abx(list(zip(items, frames, strict=True)), mode=mode, distance=distance)
    if not wanted:
        with pytest.raises(UserError):
            abx(items, {"r": features}, frame_rate=RATE, mode=mode, distance=distance)
        return
    found = abx(items, {"r": features}, frame_rate=RATE, mode=mode, distance=distance)
    assert found.by_pair == pytest.approx({pair: float(error) for pair, error in wanted.items()}, abs=1e-12)
    assert found.error == pytest.approx(float(sum(wanted.values()) / len(wanted)), abs=1e-12)
    assert found.interval.low <= found.error <= found.interval.high


@pytest.mark.parametrize("distance", list(DISTANCES))
@given(lengths=st.tuples(st.integers(1, 7), st.integers(1, 7)), seed=st.integers(0, 1000), values=st.integers(2, 5))
def test_distances_are_those_of_the_recursions_and_symmetric(distance, lengths, seed, values):
    generator = np.random.default_rng(seed)
    whole = [AbxItem("r", 0.0, length / RATE, "a", "x", "x", "1") for length in lengths]
    one, other = (features_of([item], distance, generator, values) for item in whole)
    found = pair_distances(DISTANCES[distance], [one, other], np.array([(0, 1), (1, 0), (0, 0)]))
    wanted = float(slow.DISTANCES[distance](one.tolist(), other.tolist()))
    assert found.tolist() == pytest.approx([wanted, wanted, 0.0], abs=1e-9)  # logarithms of the two may differ so much
    assert found[0] == found[1] and found[2] == 0


def recorded(*, num_speakers=3, repetitions=3):
    """Phones a and b in one context, said again and again by everybody, and who they are."""
    names = ["x", "a", "y", "SIL", "x", "b", "y", "SIL"] * repetitions
    phones = tuple(Phone(name, place * 0.1, (place + 1) * 0.1) for place, name in enumerate(names))
    return {f"r{s}": phones for s in range(num_speakers)}, {f"r{s}": str(s) for s in range(num_speakers)}


def spelled(phones_by_stem):
    """A code for each phone, at 20 Hz."""
    return {
        stem: np.repeat(["xaybSIL".index(phone.name) for phone in phones], 2) for stem, phones in phones_by_stem.items()
    }


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("distance", list(DISTANCES))
def test_what_tells_phones_apart_has_no_errors_and_what_does_not_has_half(mode, distance):
    phones, speakers = recorded()
    codes = spelled(phones)
    perfect = codes if distance == "edit" else {stem: np.eye(5)[row] for stem, row in codes.items()}
    constant = {stem: np.full_like(row, 1) for stem, row in perfect.items()}
    items = build_items(phones, speakers)
    options: dict[str, Any] = {"frame_rate": 20, "mode": mode, "distance": distance}
    best, chance = (abx(items, features, **options) for features in (perfect, constant))
    assert best.by_pair == {("a", "b"): 0, ("b", "a"): 0}
    assert (chance.error, chance.interval.low, chance.interval.high) == (0.5, 0.5, 0.5)
    # 3 items a phone and speaker: as A and X of one speaker 6 pairs, of two 9, times 3 B, 2 orders of the phones
    assert (best.num_triples, best.num_cells) == ((3 * 6 * 3 * 2, 6) if mode == "within" else (6 * 9 * 3 * 2, 12))


@settings(max_examples=20)
@given(seed=st.integers(0, 1000), offset=st.integers(-9, 9))
def test_other_names_for_the_units_change_nothing(seed, offset):
    generator = np.random.default_rng(seed)
    items = tokens_of([(phone, "x", speaker) for phone in "aabb" for speaker in "12"])
    units = generator.integers(0, 4, 100)
    renamed = (generator.permutation(4) + offset)[units]
    first, second = (abx(items, {"r": row}, frame_rate=RATE, distance="edit") for row in (units, renamed))
    assert first == second


def test_volume_does_not_change_angles_and_silence_has_a_direction_of_its_own():
    loud = np.array([[3.0, 4.0], [0.0, 0.0]])
    items = [loud[:1], loud[:1] * 1e-200, loud[:1] * 1e200, loud[1:], -loud[:1]]
    found = pair_distances(DISTANCES["angular"], items, np.array([(0, 1), (0, 2), (0, 3), (3, 3), (0, 4)]))
    assert found.tolist() == [0, 0, 0.5, 0, 1]


def test_items_are_triphones_without_silence_and_gaps():
    names = ["SIL", "x", "a", "y", "z", "SIL"]
    phones = [Phone(name, place / 10, (place + 1) / 10) for place, name in enumerate(names)]
    items = build_items({"r": phones}, {"r": "1"})
    assert items == [AbxItem("r", 0.1, 0.4, "a", "x", "y", "1"), AbxItem("r", 0.2, 0.5, "y", "a", "z", "1")]
    late = [phone if phone.name != "z" else replace(phone, start_s=0.45) for phone in phones]
    assert build_items({"r": late}, {"r": "1"}) == items[:1]
    with pytest.raises(UserError, match="has no speaker"):
        build_items({"r": phones}, {})


def test_an_item_has_the_frames_whose_centres_it_covers_and_one_at_least():
    frames = np.arange(20)
    item = AbxItem("r", 0.05, 0.35, "a", "x", "y", "1")
    assert cut(item, frames, frame_rate=10).tolist() == [0, 1, 2]  # a centre at the end is the next item's
    assert cut(replace(item, start_s=0.06, end_s=0.12), frames, frame_rate=10).tolist() == [0]
    assert cut(replace(item, start_s=1.8, end_s=2.1), frames, frame_rate=10).tolist() == [18, 19]
    with pytest.raises(UserError, match="check the frame rate"):
        cut(replace(item, start_s=2.0, end_s=2.1), frames, frame_rate=10)


@pytest.mark.parametrize("mode", MODES)
def test_a_limit_leaves_so_many_of_each_and_the_seed_says_which(mode):
    phones, speakers = recorded(repetitions=6)
    items = build_items(phones, speakers)
    generator = np.random.default_rng(0)
    features = {stem: generator.standard_normal((2 * len(row), 3)) for stem, row in phones.items()}
    limited = [abx(items, features, frame_rate=20, mode=mode, max_per_cell=2, seed=seed) for seed in (0, 0, 1)]
    assert limited[0].num_triples == (3 * 2 * 2 * 2 if mode == "within" else 6 * 4 * 2 * 2)
    assert limited[0] == limited[1] != limited[2]
    whole = abx(items, features, frame_rate=20, mode=mode)
    assert replace(abx(items, features, frame_rate=20, mode=mode, max_per_cell=6), interval=whole.interval) == whole


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frame_rate": 0}, "frame_rate is 0"),
        ({"mode": "both"}, "wanted within or across"),
        ({"distance": "cosine"}, "wanted one of angular, kl, edit"),
        ({"max_per_cell": 1}, "2 at least"),
        ({"features": {}}, "has no features"),
        ({"features": "flat"}, r"takes \[frames, d\]"),
        ({"distance": "edit"}, "takes integers"),
        ({"features": "holes"}, "not finite"),
        ({"features": "negative", "distance": "kl"}, "negative values"),
        ({"features": "short"}, "check the frame rate"),
    ],
)
def test_mistakes_are_named(change, message):
    phones, speakers = recorded(num_speakers=1)
    (row,) = spelled(phones).values()
    good = np.eye(5)[row]
    bad = {"flat": row, "holes": good * np.nan, "negative": -good, "short": good[:30]}
    given_features = change.get("features", "good")
    features = given_features if given_features == {} else {"r0": {"good": good, **bad}[given_features]}
    options: dict[str, Any] = {"frame_rate": 20} | {key: value for key, value in change.items() if key != "features"}
    with pytest.raises(UserError, match=message):
        abx(build_items(phones, speakers), features, **options)


def test_one_speaker_alone_cannot_be_asked_across_speakers():
    phones, speakers = recorded(num_speakers=1)
    with pytest.raises(UserError, match='take mode="within", or add other speakers'):
        abx(build_items(phones, speakers), {}, frame_rate=20, mode="across")
