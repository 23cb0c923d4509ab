"""Codes on disk: what comes back, what a crash leaves behind, and batches that are a function of the step."""

from __future__ import annotations

import json
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from codec.core.errors import UserError
from codec.core.grid import Grid
from codec.data.code_batches import Packing, TrainingCodes, ValidationCodes
from codec.data.code_store import CodeRows, CodeStore, count_codes, extracted, open_codes, write_codes

TOP = Grid(num_codebooks=1, codebook_size=500, downsample_factor=8)
BOTTOM = Grid(num_codebooks=2, codebook_size=1 << 17, downsample_factor=4)
MARK = {"model": "toy", "fingerprint": "0123456789abcdef", "levels": (TOP, BOTTOM)}


def _rows(*, num_parts: int = 3, labelled: bool = True) -> list[CodeRows]:
    """Parts of four items each, the last of which is for validation."""
    generator = torch.Generator().manual_seed(0)
    parts = []
    for part in range(num_parts):
        top = torch.randint(500, (4, 1, 2, 3), generator=generator)
        bottom = torch.randint(1 << 17, (4, 2, 4, 6), generator=generator)
        names = tuple(f"{part}-{item}.png" for item in range(4))
        split = "train" if part < num_parts - 1 else "validation"
        parts.append(CodeRows((top, bottom), names, split, (0, 1, 2, part % 3) if labelled else None))
    return parts


def _store(folder: Path, *, labelled: bool = True) -> CodeStore:
    return write_codes(folder, _rows(labelled=labelled), num_classes=3 if labelled else None, **MARK)


def test_what_was_written_comes_back(tmp_path) -> None:
    _store(tmp_path / "codes")
    store = open_codes(tmp_path / "codes")
    parts = _rows()
    for level, dtype in enumerate((np.uint16, np.uint32)):
        assert store.codes[level].dtype == dtype
        expected = torch.cat([part.codes[level] for part in parts]).numpy()
        np.testing.assert_array_equal(store.codes[level], expected)
    assert store.index.names == tuple(name for part in parts for name in part.names)
    assert store.index.labels == tuple(label for part in parts for label in part.labels or ())
    assert store.index.splits == ("train",) * 8 + ("validation",) * 4
    assert (store.index.model, store.index.fingerprint) == ("toy", "0123456789abcdef")
    assert [level.size for level in store.index.levels] == [(2, 3), (4, 6)]


def test_items_may_do_without_codebooks_and_those_are_not_counted(tmp_path) -> None:
    rows = _rows(labelled=False)
    for part in rows:
        part.codes[1][1, 1] = -1
    store = write_codes(tmp_path / "codes", rows, **MARK)
    expected = torch.cat([part.codes[1] for part in rows]).numpy()
    np.testing.assert_array_equal(store.read(1, np.arange(12)), expected)
    np.testing.assert_array_equal(store.read(1, 5), expected[5])
    assert store.codes[1].max() == (1 << 32) - 1
    assert count_codes(store, 1).sum(1).tolist() == [8 * 24, 6 * 24]
    batch = TrainingCodes(store, 1, batch_size=12, seed=0, rank=0, world_size=1)
    (_, codes), _ = batch.packing.unpack(batch.batch(0).signal)
    assert int((codes < 0).sum()) == 24 * sum(name.split("-")[1] == "1.png" for name in batch.batch(0).names) > 0


def test_codes_stay_on_the_disk_until_they_are_looked_at(tmp_path) -> None:
    assert all(isinstance(codes, np.memmap) for codes in _store(tmp_path / "codes").codes)


def test_numpy_alone_can_read_a_level(tmp_path) -> None:
    store = _store(tmp_path / "codes")
    np.testing.assert_array_equal(np.load(tmp_path / "codes" / "level1.npy"), store.codes[1])


def test_memory_does_not_grow_with_the_corpus(tmp_path) -> None:
    """While a part is made, no more than the one before it is alive."""
    made: list[weakref.ref[CodeRows]] = []

    def parts() -> Iterator[CodeRows]:
        for _ in range(5):
            assert sum(reference() is not None for reference in made) <= 1
            (part,) = _rows(num_parts=1)
            made.append(weakref.ref(part))
            yield part
            del part

    store = write_codes(tmp_path / "codes", parts(), num_classes=3, **MARK)
    assert len(store.codes[0]) == 20


def test_an_extraction_that_fails_leaves_no_store_and_nothing_in_the_way(tmp_path) -> None:
    def breaks() -> Iterator[CodeRows]:
        yield _rows()[0]
        raise RuntimeError("the disk of the corpus died")

    with pytest.raises(RuntimeError, match="died"):
        write_codes(tmp_path / "codes", breaks(), num_classes=3, **MARK)
    with pytest.raises(UserError, match="extract them first"):
        open_codes(tmp_path / "codes")
    assert not (tmp_path / "codes").exists() or list((tmp_path / "codes").iterdir()) == []
    assert len(_store(tmp_path / "codes").codes[0]) == 12


@pytest.mark.parametrize("num_files", [0, 1, 2])
def test_a_process_killed_at_any_time_leaves_no_store(tmp_path, num_files) -> None:
    """Killed between two renames: the index is the last to appear, so what is there is not taken for a store."""
    whole = _store(tmp_path / "whole")
    killed = tmp_path / "killed"
    killed.mkdir()
    (killed / ".level0.npy.abc.part.npy").write_bytes(b"half")
    for level in range(num_files):
        (killed / f"level{level}.npy").write_bytes((whole.folder / f"level{level}.npy").read_bytes())
    with pytest.raises(UserError, match="extract them first"):
        open_codes(killed)
    np.testing.assert_array_equal(_store(killed).codes[1], whole.codes[1])


def test_a_store_is_not_written_over(tmp_path) -> None:
    _store(tmp_path / "codes")
    with pytest.raises(UserError, match="already holds codes"):
        _store(tmp_path / "codes")


def test_files_that_are_not_what_the_index_says_are_refused(tmp_path) -> None:
    folder = _store(tmp_path / "codes").folder
    level, index = folder / "level0.npy", folder / "index.json"
    whole, tree = level.read_bytes(), json.loads(index.read_text())
    for content in (whole[:-2], b"", whole.replace(b"<u2", b"<i2")):
        level.write_bytes(content)
        with pytest.raises(UserError, match=r"level0.npy .*extract the codes again"):
            open_codes(folder)
    level.write_bytes(whole)
    index.write_text(json.dumps({**tree, "format": 2}))
    with pytest.raises(UserError, match="upgrade"):
        open_codes(folder)
    index.write_text(json.dumps(tree)[:-9])
    with pytest.raises(UserError, match=r"index.json cannot be read"):
        open_codes(folder)


def test_rows_that_do_not_fit_are_refused(tmp_path) -> None:
    first = _rows()[0]
    other_size = CodeRows((first.codes[0][..., :-1], first.codes[1]), first.names, "train", first.labels)
    unlabelled = CodeRows(first.codes, first.names, "train")
    beyond = CodeRows(first.codes, first.names, "train", (0, 1, 2, 3))
    for wrong, message in ((other_size, "one size"), (unlabelled, "labels"), (beyond, r"outside 0\.\.2")):
        with pytest.raises(UserError, match=message):
            write_codes(tmp_path / "codes", [first, wrong], num_classes=3, **MARK)
    with pytest.raises(UserError, match="no items"):
        write_codes(tmp_path / "codes", [], **MARK)


def test_batches_are_extracted_one_by_one_with_their_labels() -> None:
    @dataclass
    class Signals:
        signal: torch.Tensor
        names: tuple[str, ...]

    batches = [Signals(torch.full((2, 3, 8, 8), float(n)), (f"dog/{n}a", f"cat/{n}b")) for n in range(2)]
    rows = list(
        extracted(
            batches,
            lambda signal: (signal[:, :1, :1, :1].long(),),
            split="train",
            label_of=lambda name: int(name.startswith("dog")),
        )
    )
    assert [row.labels for row in rows] == [(1, 0), (1, 0)]
    assert [row.codes[0].flatten().tolist() for row in rows] == [[0, 0], [1, 1]]


@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize("level", [0, 1])
def test_a_row_unpacks_to_the_codes_and_label_of_its_item(tmp_path, level, labelled) -> None:
    store = _store(tmp_path / "codes", labelled=labelled)
    data = TrainingCodes(store, level, batch_size=5, seed=3, rank=0, world_size=1)
    batch = data.batch(4)
    codes, labels = data.packing.unpack(batch.signal)
    assert batch.signal.dtype == torch.int64 and len(codes) == level + 1
    for row, name in enumerate(batch.names):
        item = store.index.names.index(name)
        for got, stored in zip(codes, store.codes, strict=False):
            np.testing.assert_array_equal(got[row], stored[item])
        assert (labels is None) != labelled
        assert labels is None or store.index.labels is None or labels[row] == store.index.labels[item]


def test_the_batch_of_a_step_does_not_depend_on_the_steps_before(tmp_path) -> None:
    data = TrainingCodes(_store(tmp_path / "codes"), 1, batch_size=3, seed=0, rank=0, world_size=1)
    steps = data.prefetch(0)
    for step in range(8):
        number, batch = next(steps)
        assert number == step and torch.equal(batch.signal, data.batch(step).signal)
    number, batch = next(data.prefetch(5))
    assert number == 5 and torch.equal(batch.signal, data.batch(5).signal)


def test_every_epoch_holds_every_training_item_once_in_an_order_of_its_own(tmp_path) -> None:
    data = TrainingCodes(_store(tmp_path / "codes"), 0, batch_size=8, seed=0, rank=0, world_size=1)
    epochs = [data.batch(step).names for step in range(3)]
    assert len({frozenset(names) for names in epochs}) == 1 and len(set(epochs[0])) == 8
    assert len(set(epochs)) == 3
    other = TrainingCodes(_store(tmp_path / "other"), 0, batch_size=8, seed=1, rank=0, world_size=1)
    assert other.batch(0).names != epochs[0]


def test_ranks_joined_are_the_batch_of_one_rank(tmp_path) -> None:
    store = _store(tmp_path / "codes")
    whole = TrainingCodes(store, 1, batch_size=6, seed=0, rank=0, world_size=1)
    halves = [TrainingCodes(store, 1, batch_size=3, seed=0, rank=rank, world_size=2) for rank in range(2)]
    for step in range(4):
        joined = torch.cat([half.batch(step).signal for half in halves])
        assert torch.equal(joined, whole.batch(step).signal)


def test_validation_is_every_item_once_dealt_out_to_the_ranks(tmp_path) -> None:
    store = _store(tmp_path / "codes")
    ranks = [ValidationCodes(store, 1, batch_size=2, rank=rank, world_size=3) for rank in range(3)]
    names = [name for rank in ranks for batch in rank for name in batch.names]
    assert sorted(names) == sorted(store.index.names[8:])
    assert [len(rank) for rank in ranks] == [1, 1, 1]
    assert len(list(ranks[0])) == len(list(ranks[0])) == 1, "it can be gone through again"
    assert len(ValidationCodes(store, 1, batch_size=2, split="test", rank=0, world_size=1)) == 0


def test_levels_and_splits_that_are_not_there_are_refused(tmp_path) -> None:
    store = _store(tmp_path / "codes")
    with pytest.raises(UserError, match="counted from 0"):
        TrainingCodes(store, 2, batch_size=1, seed=0)
    with pytest.raises(UserError, match="no items of split 'test'"):
        TrainingCodes(store, 0, batch_size=1, seed=0, split="test")


def test_packing_says_how_wide_a_row_is(tmp_path) -> None:
    packing = Packing.of(_store(tmp_path / "codes"), 1)
    assert packing.shapes == ((1, 2, 3), (2, 4, 6)) and packing.labelled
