"""Units of speech, from a folder of recordings to models of several sizes."""

import json

import pytest
import torch

from codec.checkpoint.units import load_units
from codec.cli.scripts import load_script
from codec.core.bundled import recipes_folder
from codec.core.config import load_config
from codec.core.errors import UserError
from codec.data.manifest import read_manifest
from codec.data.written_units import read_written_units
from codec.models.audible_units import AudibleUnits
from codec.models.build_units import build_units
from codec.train.run import RunFolder, read_metrics
from tests.train.corpus import write_corpus
from tests.train.test_resume import assert_same_run

RECIPE = recipes_folder() / "units_speech"
SMALL = [
    "data.crop=6400",
    "data.batch_size=2",
    "data.workers=0",
    "model.encoder.width=8",
    "model.predictor.width=8",
    "model.latent_dim=4",
    "model.quantizer.codebook_size=4",
    "loop.steps=2",
    "loop.validate_every=2",
    "loop.log_every=1",
    "loop.device=cpu",
]


def _stage(name, config, overrides, run, *, resume=False):
    load_script(RECIPE / f"{name}.py").main(config, overrides, str(run), resume)


@pytest.mark.parametrize("preset", sorted(RECIPE.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_preset_is_valid_and_builds_its_model(preset):
    recipe = load_config(load_script(RECIPE / "train.py").Recipe, preset)
    assert build_units(recipe.model).codebook_size == (512 if preset.stem == "zerospeech2020" else 128)


def test_a_trained_model_becomes_models_of_other_numbers_of_units(tmp_path):
    manifest = write_corpus(tmp_path / "corpus")
    _stage("train", "cpu.yaml", [f"data.train={manifest}", *SMALL], tmp_path / "run")
    assert read_metrics(RunFolder(tmp_path / "run", resume=True))[-1]["step"] == 2
    _stage("cluster", None, ["num_units=[3, 5]"], tmp_path / "run")
    speech = 0.1 * torch.randn(1, 1, 8000, generator=torch.Generator().manual_seed(0))
    trained = load_units(tmp_path / "run", device="cpu")
    for size in (3, 5):
        model = load_units(tmp_path / "run" / "units" / str(size), device="cpu")
        assert model.codebook_size == size and model.units(speech).shape == (1, 25)
        assert torch.equal(model.latents(speech), trained.latents(speech))
    _stage("cluster", None, ["num_units=[3]", "model.compensate_latents=true"], tmp_path / "run")
    model = load_units(tmp_path / "run" / "units" / "3", device="cpu")
    assert model.compensation is not None
    torch.testing.assert_close(model.latents(speech), model.compensation @ trained.latents(speech))
    both = ["model.compensate_latents=true", "compensate_for=[recordings, segments]"]
    _stage("cluster", None, ["num_units=[3]", *both], tmp_path / "run")
    twice = load_units(tmp_path / "run" / "units" / "3", device="cpu").compensation
    _stage("cluster", None, ["num_units=[3]", *both[:1], "compensate_for=segments"], tmp_path / "run")
    once = load_units(tmp_path / "run" / "units" / "3", device="cpu").compensation
    assert twice is not None and once is not None
    assert not torch.allclose(twice, model.compensation) and not torch.allclose(once, twice)


def test_units_for_a_corpus_are_found_with_an_exported_model_and_no_training(tmp_path):
    data = f"data.train={write_corpus(tmp_path / 'corpus')}"
    bundled = ["start_from=speech-units-50hz", "model.posterior_temperature=2", "model.smooth_latents=true"]
    _stage("cluster", "masked.yaml", [data, "num_units=[3]", *bundled], tmp_path / "mine")
    mine = load_units(tmp_path / "mine" / "units" / "3", device="cpu")
    exported = load_units("speech-units-50hz", device="cpu")
    for part in ("encoder", "head"):
        for name, weight in exported.get_submodule(part).state_dict().items():
            assert torch.equal(weight, mine.get_submodule(part).state_dict()[name]), name
    assert mine.codebook_size == 3
    again = [f"start_from={tmp_path / 'mine' / 'units' / '3'}", *bundled[1:]]
    _stage("cluster", "masked.yaml", [data, "num_units=[5]", *again], tmp_path / "again")
    assert load_units(tmp_path / "again" / "units" / "5", device="cpu").codebook_size == 5
    with pytest.raises(UserError, match="compensate_for is of latents that are compensated"):
        _stage("cluster", "masked.yaml", [data, *bundled, "compensate_for=segments"], tmp_path / "other")
    with pytest.raises(UserError, match=r"speech-units-50hz holds a model of another config \(.*num_targets"):
        _stage("cluster", "masked.yaml", [data, *bundled, "model.num_targets=6"], tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_units_of_features_need_no_training(tmp_path):
    manifest = write_corpus(tmp_path / "corpus")
    overrides = [f"data.train={manifest}", "num_units=[4]"]
    with pytest.raises(UserError, match="clustering"):
        _stage("train", "mfcc.yaml", overrides, tmp_path / "run")
    _stage("cluster", "mfcc.yaml", overrides, tmp_path / "run")
    assert load_units(tmp_path / "run" / "units" / "4", device="cpu").frame_rate == 100


def test_a_model_learns_from_what_recordings_have_in_common(tmp_path, capsys):
    manifest = write_corpus(tmp_path / "corpus")
    _stage("cluster", "mfcc.yaml", [f"data.train={manifest}", "num_units=[4]", "model.stride=2"], tmp_path / "first")
    masked = [
        f"data.train={manifest}",
        "data.validation_fraction=0.3",
        *(setting for setting in SMALL if "predictor" not in setting),
        "model.num_targets=6",
    ]
    teacher = tmp_path / "run" / "teacher.jsonl"
    _stage("neighbours", "masked.yaml", [*masked, f"teacher={tmp_path / 'first' / 'units' / '4'}"], tmp_path / "run")
    written = read_written_units(teacher, sample_rate=16000)
    entries = read_manifest(manifest).entries
    assert written.num_units == 6 and set(written.units) == {
        str(e.path) for e in entries if e.split in ("train", "units")
    }
    _stage("train", "masked.yaml", [*masked, f"teacher={teacher}"], tmp_path / "run")
    metrics = read_metrics(RunFolder(tmp_path / "run", resume=True))
    assert all(line["seen"] > 0 for line in metrics if "seen" in line)
    assert load_units(tmp_path / "run", device="cpu").latents(torch.zeros(1, 1, 3200)).shape == (1, 4, 10)
    assert "left out" not in capsys.readouterr().out
    (tmp_path / "fewer.jsonl").write_text("\n".join(teacher.read_text().splitlines()[1:]))
    alike = ["data.validation_fraction=0", "data.validation_splits=[train]", f"teacher={tmp_path / 'fewer.jsonl'}"]
    _stage("train", "masked.yaml", [*masked, *alike], tmp_path / "fewer")
    said = capsys.readouterr().out
    assert "left out: 1 recording for training that" in said and "left out: 1 recording for validation that" in said
    settings = ["model.posterior_temperature=2", "model.smooth_latents=true", "num_units=[3]", "still=0.2"]
    _stage("cluster", None, settings, tmp_path / "run")
    clustered = load_units(tmp_path / "run" / "units" / "3", device="cpu")
    speech = 0.1 * torch.randn(1, 1, 8000, generator=torch.Generator().manual_seed(0))
    assert clustered.latents(speech).square().sum(1).allclose(torch.ones(1, 25)) and clustered.codebook_size == 3
    again = [*masked, f"teacher={tmp_path / 'run' / 'units' / '3'}"]
    _stage("neighbours", "masked.yaml", again, tmp_path / "next")
    again[-1] = f"teacher={tmp_path / 'next' / 'teacher.jsonl'}"
    _stage("train", "masked.yaml", [*again, f"start_from={tmp_path / 'run'}"], tmp_path / "next")
    assert read_metrics(RunFolder(tmp_path / "next", resume=True))[-1]["step"] == 2
    for resume in (False, True):
        with pytest.raises(UserError, match="goes before training"):
            _stage("neighbours", "masked.yaml", masked, tmp_path / "run", resume=resume)


@pytest.mark.parametrize(
    ("config", "overrides", "message"),
    [
        ("cpu.yaml", ["teacher=speech-units-50hz"], "of kind contrastive learns from no teacher"),
        ("masked.yaml", [], "no model to find units with"),
        ("masked.yaml", ["teacher=missing"], "missing"),
        ("masked.yaml", ["teacher=units.jsonl"], "no model to find units with"),
        (
            "masked.yaml",
            ["teacher=speech-units-50hz", "model.encoder.stride=4", "data.crop=6400"],
            "the model wants 25",
        ),
        ("masked.yaml", ["teacher=speech-units-50hz", "model.num_targets=90000"], "make no 90000 units"),
    ],
)
def test_neighbours_of_nothing_are_refused(tmp_path, config, overrides, message):
    data = f"data.train={write_corpus(tmp_path / 'corpus')}"
    with pytest.raises(UserError, match=message):
        _stage("neighbours", config, [data, *overrides], tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_clustering_a_model_that_is_not_trained_is_refused(tmp_path):
    for config, setting in (("cpu.yaml", "data.train=/nowhere"), (None, "model.posterior_temperature=2")):
        with pytest.raises(UserError, match="holds no trained model"):
            _stage("cluster", config, [setting], tmp_path / "run")


def test_more_units_than_latents_are_refused(tmp_path):
    manifest = write_corpus(tmp_path / "corpus")
    for numbers in ("900", "[4, 900]"):
        with pytest.raises(UserError, match="make no 900 units"):
            _stage("cluster", "mfcc.yaml", [f"data.train={manifest}", f"num_units={numbers}"], tmp_path / "run")
    assert not (tmp_path / "run" / "units").exists()


VQVAE = [
    "data.crop=6400",
    "data.batch_size=2",
    "data.workers=0",
    "model.encoder.width=8",
    "model.decoder.width=8",
    "model.latent_dim=4",
    "model.quantizer.codebook_size=4",
    "loop.validate_every=2",
    "loop.save_every=2",
    "loop.log_every=1",
    "loop.device=cpu",
]


def _spoken_corpus(folder):
    """The corpus of tests, spoken by two and, for the rest, by nobody knows whom."""
    manifest = write_corpus(folder)
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    named = [{**line, "speaker": speaker} for line, speaker in zip(lines, ["bob", "ann", "bob", ""], strict=False)]
    manifest.write_text("".join(json.dumps(line) + "\n" for line in named + lines[4:]))
    return manifest


def test_a_model_that_is_told_who_speaks_learns_the_names_in_the_data_and_resumes_exactly(tmp_path):
    data = f"data.train={_spoken_corpus(tmp_path / 'corpus')}"
    _stage("train", "vqvae.yaml", [data, *VQVAE, "loop.steps=4"], tmp_path / "whole")
    _stage("train", "vqvae.yaml", [data, *VQVAE, "loop.steps=4", "loop.max_minutes=1e-6"], tmp_path / "cut")
    _stage("train", None, ["loop.max_minutes=null"], tmp_path / "cut", resume=True)
    whole, cut = (load_units(tmp_path / name, device="cpu") for name in ("whole", "cut"))
    assert isinstance(cut, AudibleUnits) and cut.speakers == ("unknown", "ann", "bob")
    assert_same_run(tmp_path / "cut", tmp_path / "whole")
    speech = 0.1 * torch.randn(1, 1, 6400, generator=torch.Generator().manual_seed(0))
    assert torch.equal(whole.units(speech), cut.units(speech))


def test_other_numbers_of_units_are_heard_through_the_same_decoder(tmp_path):
    data = f"data.train={_spoken_corpus(tmp_path / 'corpus')}"
    _stage("train", "vqvae.yaml", [data, *VQVAE, "loop.steps=2"], tmp_path / "run")
    _stage("cluster", None, ["num_units=[3]"], tmp_path / "run")
    model, clustered = (load_units(tmp_path / "run" / path, device="cpu") for path in ("", "units/3"))
    for name, weight in model.get_submodule("decoder").state_dict().items():
        assert torch.equal(weight, clustered.get_submodule("decoder").state_dict()[name])
