"""`codec units resynthesize`: recordings and units become sound again, and mistakes one line."""

import json

import numpy as np
import pytest
import soundfile
import torch

from codec.checkpoint.units import save_units
from codec.cli.main import main
from codec.models.build_units import build_units, parse_units

VQVAE = {
    "kind": "vqvae",
    "features": {"kind": "log_mel", "num_mels": 20},
    "encoder": {"width": 8, "blocks": 1},
    "latent_dim": 4,
    "quantizer": {"kind": "ema", "codebook_size": 6},
    "decoder": {"width": 8, "dilations": [1]},
    "speakers": ["ann", "bob"],
}


def _save(tree, folder, *, seed=0):
    torch.manual_seed(seed)
    model = build_units(parse_units(tree))
    if tree["kind"] == "vqvae":
        torch.nn.init.normal_(model.decoder.speakers.weight)  # pyright: ignore
    save_units(model, folder)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return _save(VQVAE, tmp_path_factory.mktemp("models") / "vq")


@pytest.fixture
def corpus(tmp_path):
    """Ann, Bob and somebody, in three folders and at two rates; ann/one.flac and ann/one.wav would share a name."""
    folder, generator = tmp_path / "corpus", np.random.default_rng(0)
    places = {"ann/one.wav": ("ann", 16000), "ann/one.flac": ("ann", 16000), "bob/two.wav": ("bob", 8000)}
    places["eve/three.wav"] = ("eve", 16000)
    for name, (_, rate) in places.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / name, 0.1 * generator.standard_normal(rate // 4), rate)
    lines = [{"path": name, "speaker": speaker} for name, (speaker, _) in places.items()]
    (folder / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def _resynthesize(*arguments):
    return main(["units", "resynthesize", *map(str, arguments)])


def _sounds(folder):
    return {path.relative_to(folder).as_posix(): soundfile.read(path) for path in sorted(folder.rglob("*.wav"))}


NAMES = ["ann/one.flac.wav", "ann/one.wav.wav", "bob/two.wav", "eve/three.wav"]


def test_a_folder_of_recordings_becomes_one_of_sounds_at_the_rate_of_the_model(corpus, model, tmp_path, capsys):
    assert _resynthesize(corpus, tmp_path / "out", "-m", model, "--speaker", "bob") == 0
    sounds = _sounds(tmp_path / "out")
    assert list(sounds) == NAMES
    for sound, rate in sounds.values():
        assert rate == 16000 and len(sound) == 12 * 320 and np.isfinite(sound).all()
    assert "4 recordings in the voice of bob, by vq" in capsys.readouterr().err


def test_units_written_down_sound_as_their_recordings_do(corpus, model, tmp_path):
    assert main(["units", "encode", str(corpus), str(tmp_path / "u.jsonl"), "-m", str(model)]) == 0
    for source, out in ((corpus, "recorded"), (tmp_path / "u.jsonl", "written")):
        assert _resynthesize(source, tmp_path / out, "-m", model, "--speaker", "ann") == 0
    recorded, written = _sounds(tmp_path / "recorded"), _sounds(tmp_path / "written")
    assert list(written) == NAMES
    assert all(np.array_equal(recorded[name][0], written[name][0]) for name in NAMES)


def test_each_speaks_in_its_own_voice_unless_another_is_asked_for(corpus, model, tmp_path):
    manifest = corpus / "manifest.jsonl"
    assert _resynthesize(manifest, tmp_path / "own", "-m", model) == 0
    for name in ("ann", "bob", "unknown"):
        assert _resynthesize(manifest, tmp_path / name, "-m", model, "--speaker", name) == 0
    sounds = {name: _sounds(tmp_path / name) for name in ("own", "ann", "bob", "unknown")}
    for place, own in zip(NAMES, ("ann", "ann", "bob", "unknown"), strict=True):  # eve was not in the training
        voices = ("ann", "bob", "unknown")
        same = {name for name in voices if np.array_equal(sounds["own"][place][0], sounds[name][place][0])}
        assert same == {own}


def test_a_single_recording_is_enough(corpus, model, tmp_path):
    assert _resynthesize(corpus / "bob" / "two.wav", tmp_path / "out", "-m", model) == 0
    assert list(_sounds(tmp_path / "out")) == ["two.wav"]


def test_what_cannot_be_read_or_spoken_is_named_and_the_others_are_made(corpus, model, tmp_path, capsys):
    (corpus / "bob" / "two.wav").write_text("no sound")
    assert _resynthesize(corpus, tmp_path / "out", "-m", model) == 1
    assert "left out" in (told := capsys.readouterr().err) and "two.wav" in told
    assert len(_sounds(tmp_path / "out")) == 3


@pytest.mark.parametrize(
    ("source", "options", "named"),
    [
        ("{corpus}", ["--speaker", "zoe"], "never heard a speaker 'zoe'; it knows unknown, ann, bob"),
        ("{corpus}", ["-m", "{features}"], "no way from units back to sound; models of kind vqvae"),
        ("{corpus}", ["--split", "dev"], "is a folder, which has no split 'dev'"),
        ("{corpus}/ann/one.wav", ["--split", "dev"], "is a recording, which has no split 'dev'"),
        ("{corpus}/nothing.wav", [], "nothing.wav"),
        ("{corpus}/nothing", [], "nothing"),
        ("{tmp}/foreign.jsonl", [], "line 1 is in units of other, fingerprint 0123456789abcdef"),
        ("{tmp}/foreign.jsonl", ["--split", "dev"], "have no split 'dev'"),
        ("{tmp}/broken.jsonl", [], "line 1 is not what `codec units encode` writes"),
    ],
)
def test_mistakes_are_one_line(source, options, named, corpus, model, tmp_path, capsys):
    features = {"kind": "features", "features": {"kind": "mfcc"}, "quantizer": {"kind": "ema"}}
    places = {"corpus": corpus, "tmp": tmp_path, "features": _save(features, tmp_path / "features")}
    foreign = {"path": "a.wav", "model": "other", "fingerprint": "0123456789abcdef", "units": [1, 2]}
    (tmp_path / "foreign.jsonl").write_text(json.dumps(foreign) + "\n")
    (tmp_path / "broken.jsonl").write_text(json.dumps({**foreign, "units": None}) + "\n")
    filled = [part.format(**places) for part in (source, *options)]
    chosen = [] if "-m" in options else ["-m", model]
    assert _resynthesize(filled[0], tmp_path / "out", *filled[1:], *chosen) == 2
    told = capsys.readouterr().err.strip()
    assert named in told and "\n" not in told and not _sounds(tmp_path / "out")


def test_recordings_are_not_written_over(corpus, model, capsys):
    before = _sounds(corpus)
    (corpus / "ann" / "one.flac").unlink()
    assert _resynthesize(corpus, corpus, "-m", model) == 2
    assert "would be written over" in capsys.readouterr().err
    assert all(np.array_equal(sound, before[name][0]) for name, (sound, _) in _sounds(corpus).items())
