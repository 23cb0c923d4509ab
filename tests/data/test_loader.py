from __future__ import annotations

import itertools
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from codec.core.errors import UserError
from codec.data.cache import DecodedCache
from codec.data.image import read_pixels
from codec.data.loader import (
    Batch,
    DataConfig,
    Telling,
    TrainingBatches,
    ValidationBatches,
    train_entries,
    validation_entries,
)
from codec.data.manifest import Entry, read_manifest, write_manifest
from codec.data.speakers import speaker_names
from tests.data.makers import Medium, audio_corpus, image_corpus, same

AUDIO, IMAGE = Medium("audio"), Medium("image", channels=3)
LENGTHS = [100, 999, 1000, 1001, 4000, 16000, 30000]
SIZES = [(10, 40), (64, 64), (200, 90), (65, 300)]


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("corpora")
    return {"audio": audio_corpus(folder / "a", LENGTHS), "image": image_corpus(folder / "i", SIZES)}


def make_config(**keys: object) -> DataConfig:
    return DataConfig.model_validate(keys)


def audio_config(corpora: dict[str, Path], **changes: object) -> DataConfig:
    defaults = {"train": corpora["audio"], "crop": 1000, "batch_size": 3, "gain_db": (-6.0, 6.0)}
    return DataConfig.model_validate(defaults | changes)


def image_config(corpora: dict[str, Path], **changes: object) -> DataConfig:
    defaults = {"train": corpora["image"], "crop": 32, "batch_size": 3, "scale": (0.25, 1.0), "flip": True}
    return DataConfig.model_validate(defaults | changes)


def config_for(medium: Medium, corpora: dict[str, Path], **changes: object) -> DataConfig:
    return (audio_config if medium is AUDIO else image_config)(corpora, **changes)


def whole_mask(batch: Batch) -> torch.Tensor:
    space = (batch.signal.shape[0], *batch.signal.shape[2:])
    return torch.ones(space, dtype=torch.bool) if batch.mask is None else batch.mask


@pytest.mark.parametrize("medium", [AUDIO, IMAGE], ids=lambda medium: medium.kind)
@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    step=st.integers(0, 10**6),
    world_size=st.integers(1, 4),
    per_rank=st.integers(1, 3),
)
def test_ranks_joined_are_one_rank_with_the_joined_batch(
    corpora: dict[str, Path], medium: Medium, seed: int, step: int, world_size: int, per_rank: int
) -> None:
    parts = [
        TrainingBatches(
            config_for(medium, corpora, batch_size=per_rank),
            medium,
            seed=seed,
            rank=rank,
            world_size=world_size,
        ).batch(step)
        for rank in range(world_size)
    ]
    joined = config_for(medium, corpora, batch_size=per_rank * world_size)
    whole = TrainingBatches(joined, medium, seed=seed, rank=0, world_size=1).batch(step)
    assert same(torch.cat([part.signal for part in parts]), whole.signal)
    assert same(torch.cat([whole_mask(part) for part in parts]), whole_mask(whole))
    assert tuple(itertools.chain(*(part.names for part in parts))) == whole.names


@pytest.mark.parametrize("medium", [AUDIO, IMAGE], ids=lambda medium: medium.kind)
@pytest.mark.parametrize("workers", [0, 1, 3])
def test_prefetched_batches_are_the_batches(corpora: dict[str, Path], medium: Medium, workers: int) -> None:
    batches = TrainingBatches(config_for(medium, corpora, workers=workers, lookahead=5), medium, seed=3)
    for (step, ahead), expected in zip(batches.prefetch(7), range(7, 27), strict=False):
        direct = TrainingBatches(config_for(medium, corpora), medium, seed=3).batch(expected)
        assert step == expected and same(ahead.signal, direct.signal) and ahead.names == direct.names


@pytest.mark.parametrize("medium", [AUDIO, IMAGE], ids=lambda medium: medium.kind)
def test_batches_do_not_depend_on_the_cache(corpora: dict[str, Path], medium: Medium) -> None:
    with_cache = TrainingBatches(config_for(medium, corpora), medium, seed=0)
    without = TrainingBatches(config_for(medium, corpora, cache_mb=0), medium, seed=0)
    for step in range(10):
        assert same(with_cache.batch(step).signal, without.batch(step).signal)


def test_another_seed_gives_other_crops(corpora: dict[str, Path]) -> None:
    first, second = (TrainingBatches(audio_config(corpora), AUDIO, seed=seed).batch(0) for seed in (0, 1))
    assert not same(first.signal, second.signal)


def test_an_epoch_holds_every_file_as_often_as_its_length_says(corpora: dict[str, Path]) -> None:
    batches = TrainingBatches(audio_config(corpora, batch_size=1), AUDIO, seed=0)
    seen = [batches.batch(step).names[0] for step in range(2 * batches.items_per_epoch)]
    expected = {f"train-{index}.flac": max(1, round(length / 1000)) for index, length in enumerate(LENGTHS)}
    for epoch in (seen[: len(seen) // 2], seen[len(seen) // 2 :]):
        assert {Path(name).name: epoch.count(name) for name in epoch} == expected
    assert seen[: len(seen) // 2] != seen[len(seen) // 2 :]


def test_an_epoch_by_file_holds_every_file_once(corpora: dict[str, Path]) -> None:
    batches = TrainingBatches(audio_config(corpora, batch_size=7, weighting="file"), AUDIO, seed=0)
    assert len(set(batches.batch(0).names)) == len(LENGTHS) == batches.items_per_epoch


def test_every_audio_crop_is_a_stretch_of_its_file_and_the_mask_covers_it(corpora: dict[str, Path]) -> None:
    batches = TrainingBatches(audio_config(corpora, gain_db=None), AUDIO, seed=1)
    padded = 0
    for step in range(8):
        batch = batches.batch(step)
        for signal, mask, name in zip(batch.signal, whole_mask(batch), batch.names, strict=True):
            samples = torch.from_numpy(soundfile.read(name, dtype="float32")[0])
            valid = int(mask.sum())
            assert valid == min(1000, len(samples)) and bool(mask[:valid].all())
            assert not signal[0, valid:].any()
            windows = samples.unfold(0, valid, 1)
            assert bool((windows == signal[0, :valid]).all(dim=1).any())
            padded += valid < 1000
    assert padded > 0


def test_the_mask_is_none_when_nothing_is_padded(corpora: dict[str, Path]) -> None:
    whole = TrainingBatches(audio_config(corpora, crop=100), AUDIO, seed=0).batch(0)
    padded = TrainingBatches(audio_config(corpora, crop=50_000), AUDIO, seed=0).batch(0)
    assert whole.mask is None and padded.mask is not None and padded.mask.shape == (3, 50_000)


def test_unscaled_picture_crops_are_windows_of_their_pictures(corpora: dict[str, Path]) -> None:
    batches = TrainingBatches(image_config(corpora, scale=(1.0, 1.0), flip=False), IMAGE, seed=1)
    for step in range(4):
        batch = batches.batch(step)
        for signal, mask, name in zip(batch.signal, whole_mask(batch), batch.names, strict=True):
            height, width = int(mask.any(1).sum()), int(mask.any(0).sum())
            crop = ((signal[:, :height, :width] + 1) * 127.5).round().to(torch.uint8)
            pixels = torch.from_numpy(read_pixels(name)).permute(2, 0, 1)
            windows = pixels.unfold(1, height, 1).unfold(2, width, 1)  # [3, y, x, height, width]
            assert bool((windows == crop[:, None, None]).all(-1).all(-1).all(0).any())


def test_shrinking_lets_a_crop_see_the_whole_picture(tmp_path: Path) -> None:
    from PIL import Image

    left_right = np.zeros((256, 256, 3), np.uint8)
    left_right[:, 128:] = 255
    Image.fromarray(left_right).save(tmp_path / "a.png")
    write_manifest(tmp_path / "m.jsonl", [Entry(path=tmp_path / "a.png", kind="image", width=256, height=256)])
    config = make_config(train=(tmp_path / "m.jsonl",), crop=32, scale=(0.125, 0.125), batch_size=1, flip=True)
    batches = TrainingBatches(config, IMAGE, seed=0)
    means = {tuple(batches.batch(step).signal[0, 0, 0, [4, 27]].sign().tolist()) for step in range(20)}
    assert means == {(-1.0, 1.0), (1.0, -1.0)}  # the crop is the whole picture, mirrored half of the time


def test_gain_never_leaves_full_scale(corpora: dict[str, Path]) -> None:
    batches = TrainingBatches(audio_config(corpora, gain_db=(0.0, 40.0)), AUDIO, seed=0)
    peaks = [float(batches.batch(step).signal.abs().max()) for step in range(5)]
    assert max(peaks) <= 1.0 + 1e-6 and min(peaks) > 0.9  # one rounding above 1 at most


def test_other_rates_and_channels_are_converted(corpora: dict[str, Path]) -> None:
    medium = Medium("audio", channels=2, sample_rate=8000)
    batch = TrainingBatches(audio_config(corpora), medium, seed=0).batch(0)
    assert batch.signal.shape == (3, 2, 1000) and same(batch.signal[:, 0], batch.signal[:, 1])
    grey = TrainingBatches(image_config(corpora), Medium("image", channels=1), seed=0).batch(0)
    assert grey.signal.shape == (3, 1, 32, 32)


def test_a_file_lost_after_screening_is_named_at_its_step(tmp_path: Path) -> None:
    manifest = audio_corpus(tmp_path, [2000, 2000, 2000])
    config = make_config(train=(manifest,), crop=1000, batch_size=1, weighting="file")
    batches = TrainingBatches(config, AUDIO, seed=0)
    lost = batches.batch(2).names[0]
    Path(lost).write_bytes(b"")
    ahead = TrainingBatches(config, AUDIO, seed=0).prefetch(0)
    assert [next(ahead)[0], next(ahead)[0]] == [0, 1]
    with pytest.raises(UserError, match="is empty") as error:
        next(ahead)
    assert lost in str(error.value)


def test_closing_the_prefetch_stops_its_threads(corpora: dict[str, Path]) -> None:
    ahead = TrainingBatches(audio_config(corpora), AUDIO, seed=0).prefetch(0)
    next(ahead)
    threads = [thread for thread in threading.enumerate() if thread.name.startswith("decode")]
    ahead.close()
    for thread in threads:
        thread.join(timeout=10)
    assert threads and not any(thread.is_alive() for thread in threads)


@pytest.mark.parametrize("world_size", [1, 2, 3, 9])
def test_validation_sees_every_file_once_in_fixed_crops(corpora: dict[str, Path], world_size: int) -> None:
    config = audio_config(corpora, validation=corpora["audio"], validation_splits="train")
    parts = [
        batch
        for rank in range(world_size)
        for batch in ValidationBatches(config, AUDIO, rank=rank, world_size=world_size)
    ]
    names = [name for part in parts for name in part.names]
    assert sorted(names) == sorted(str(entry.path) for entry in read_manifest(corpora["audio"]))
    again = list(ValidationBatches(config, AUDIO, rank=0, world_size=1))
    rows = {name: row for batch in again for name, row in zip(batch.names, batch.signal, strict=True)}
    assert all(same(row, rows[n]) for part in parts for n, row in zip(part.names, part.signal, strict=True))


def test_validation_items_are_spread_over_the_list(corpora: dict[str, Path]) -> None:
    config = audio_config(corpora, validation=corpora["audio"], validation_splits="train", validation_items=3)
    (batch,) = ValidationBatches(config, AUDIO)
    assert [Path(name).name for name in batch.names] == ["train-0.flac", "train-2.flac", "train-4.flac"]


def test_held_out_files_are_never_trained_on(tmp_path: Path) -> None:
    entries = [Entry(path=tmp_path / f"{index}.wav", kind="audio") for index in range(1000)]
    write_manifest(tmp_path / "m.jsonl", entries)
    config = make_config(train=(tmp_path / "m.jsonl",), crop=1, validation_fraction=0.1)
    train, validation = ({entry.path for entry in pick(config, AUDIO)} for pick in (train_entries, validation_entries))
    assert not train & validation and len(train | validation) == 1000
    assert 60 < len(validation) < 140  # binomial, four deviations


def test_validation_falls_back_to_the_train_manifests_own_split(tmp_path: Path) -> None:
    entries = [Entry(path=tmp_path / f"{i}.wav", kind="audio", split="train" if i else "dev") for i in range(3)]
    write_manifest(tmp_path / "m.jsonl", entries)
    config = make_config(train=(tmp_path / "m.jsonl",), crop=1)
    assert [entry.path.name for entry in validation_entries(config, AUDIO)] == ["0.wav"]


def test_nothing_to_train_on_says_so(corpora: dict[str, Path]) -> None:
    with pytest.raises(UserError, match=r"data\.train"):
        TrainingBatches(make_config(crop=1), AUDIO, seed=0)
    with pytest.raises(UserError, match="no image entries in split train"):
        TrainingBatches(audio_config(corpora), IMAGE, seed=0)
    with pytest.raises(UserError, match="of set moon"):
        TrainingBatches(audio_config(corpora, sets="moon"), AUDIO, seed=0)
    assert len(ValidationBatches(audio_config(corpora), AUDIO)) == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"scale": (0.0, 1.0)},
        {"scale": (1.0, 0.5)},
        {"gain_db": (3, -3)},
        {"tilt_db": (3, -3)},
        {"crop": 0},
        {"weighting": "sum"},
    ],
)
def test_impossible_configs_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        DataConfig.model_validate({"crop": 8} | wrong)


@given(st.lists(st.integers(0, 9), max_size=40), st.integers(0, 60))
def test_the_cache_stays_within_its_limit_and_never_lies(keys: list[int], limit: int) -> None:
    cache = DecodedCache(limit)
    for key in keys:
        array = cache.get(key, lambda key=key: np.full(key * 3, key, np.uint8))
        assert array.tolist() == [key] * (key * 3)
        assert cache.held_bytes <= limit


def test_batches_tell_who_speaks_when_they_are_asked(tmp_path: Path) -> None:
    names = ["bob", None, "ann", "", "cy", "unknown"]
    manifest = audio_corpus(tmp_path, [1000] * len(names))
    entries = read_manifest(manifest).entries
    spoken = [entry.model_copy(update={"speaker": name}) for entry, name in zip(entries, names, strict=True)]
    write_manifest(manifest, spoken)
    config = make_config(train=manifest, validation=manifest, validation_splits="train", crop=1000, batch_size=6)
    assert speaker_names(spoken) == ("ann", "bob", "cy")
    speakers = ("unknown", "ann", "bob")  # cy was never met
    batch = TrainingBatches(config, AUDIO, seed=0, telling=Telling(speakers=speakers)).batch(0)
    number_of = dict(zip((str(entry.path) for entry in spoken), [2, 0, 1, 0, 0, 0], strict=True))
    assert batch.told["speakers"].dtype == torch.int64
    assert batch.told["speakers"].tolist() == [number_of[name] for name in batch.names]
    (validation,) = ValidationBatches(config, AUDIO, telling=Telling(speakers=speakers))
    assert validation.told["speakers"].tolist() == [2, 0, 1, 0, 0, 0]
    assert TrainingBatches(config, AUDIO, seed=0).batch(0).told == {}
