"""Units that recordings were written down in, as targets of crops."""

import json
from pathlib import Path

import pytest
import torch

from codec.core.errors import UserError
from codec.data.loader import Telling, TrainingBatches, ValidationBatches
from codec.data.manifest import Entry, read_manifest
from codec.data.written_units import read_written_units
from tests.data.makers import Medium, audio_corpus
from tests.data.test_loader import make_config

LINE = {"path": "a.wav", "fingerprint": "f" * 16, "num_units": 9, "frame_rate": 50.0, "units": [0, 8, 3]}


def _written(path: Path, *lines: dict) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_a_crop_is_told_the_units_of_its_place_in_the_recording(tmp_path):
    manifest = audio_corpus(tmp_path, [16000, 7000, 3200])
    paths = [str(entry.path) for entry in read_manifest(manifest).entries]
    lines = [
        LINE | {"path": path, "num_units": 50, "units": list(range(n))}
        for path, n in zip(paths, [50, 20], strict=False)
    ]
    units = read_written_units(_written(tmp_path / "u.jsonl", *lines), sample_rate=16000)
    config = make_config(train=manifest, validation=manifest, validation_splits="train", crop=6400, batch_size=3)
    (validation,) = ValidationBatches(config, Medium("audio"), telling=Telling(units=units))
    assert validation.names == tuple(paths[:2])  # what was not written down is not heard
    assert validation.told["targets"].tolist() == [
        list(range(15, 35)),  # the centre crop starts at sample 4800
        [*range(1, 20), -1],  # at 300: nearer to unit 1 than to 0; there is no unit 20
    ]
    batches = TrainingBatches(config, Medium("audio"), seed=0, telling=Telling(units=units))
    whole = {
        path: batches._crops.cut(entry, 16000, None).signal for entry in batches.entries for path in [str(entry.path)]
    }
    for step in range(20):
        batch = batches.batch(step)
        for name, signal, told in zip(batch.names, batch.signal, batch.told["targets"], strict=True):
            if name == paths[0]:  # look the crop up in the whole recording
                start = next(
                    i for i in range(16000 - 6400 + 1) if torch.equal(whole[name][:, i : i + 50], signal[:, :50])
                )
                assert told.tolist() == list(range(round(start / 320), round(start / 320) + 20))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "holds no units"),
        ([{"path": "a.wav"}], "line 1 is not what `codec units encode` writes"),
        ([LINE, LINE | {"units": [9]}], "line 2 is not what"),
        ([LINE | {"units": [[1]]}], "line 1 is not what"),
        ([LINE | {"units": [0.5, 1.0]}], "line 1 is not what"),
        ([LINE | {"frame_rate": 0}], "line 1 is not what"),
        ([LINE | {"frame_rate": float("inf")}], "line 1 is not what"),
        ([LINE | {"frame_rate": 30.1}], "whole number of samples"),
        ([LINE, LINE], "line 2 has a.wav a second time"),
        ([LINE, LINE | {"path": "b.wav", "fingerprint": "0" * 16}], "units of several models"),
    ],
)
def test_other_files_are_refused(tmp_path, lines, message):
    with pytest.raises(UserError, match=message):
        read_written_units(_written(tmp_path / "u.jsonl", *lines), sample_rate=16000)


@pytest.mark.parametrize(("rate", "factor"), [(48000, 441), (8000, 103), (16000, 320)])
def test_any_rate_has_as_many_targets_as_units(tmp_path, rate, factor):
    units = read_written_units(_written(tmp_path / "u.jsonl", LINE | {"frame_rate": rate / factor}), sample_rate=rate)
    (targets,) = units.targets([Path("a.wav")], [factor], size=20 * factor)
    assert targets.tolist() == [8, 3] + [-1] * 18


def test_recordings_are_found_from_other_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    units = read_written_units(_written(tmp_path / "u.jsonl", LINE), sample_rate=16000)
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    assert units.covered([Entry(path=Path("../a.wav"), kind="audio")], purpose="training")


def test_units_of_other_recordings_are_refused(tmp_path):
    manifest = audio_corpus(tmp_path, [8000])
    units = read_written_units(_written(tmp_path / "u.jsonl", LINE), sample_rate=16000)
    config = make_config(train=manifest, validation=manifest, validation_splits="train", crop=3200)
    with pytest.raises(UserError, match="has none of the recordings for validation"):
        ValidationBatches(config, Medium("audio"), telling=Telling(units=units))
    with pytest.raises(UserError, match=r"has none of the recordings for training, the first being .*train-0\.flac"):
        TrainingBatches(make_config(train=manifest, crop=3200), Medium("audio"), seed=0, telling=Telling(units=units))
