"""Training priors: bits that are right, files that come back, runs that resume, and a source whose entropy is known."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from codec.checkpoint.prior import PRIOR_FILE, load_prior, save_prior
from codec.checkpoint.store import read_tensors, write_tensors
from codec.core.config import Config
from codec.core.errors import UserError
from codec.core.grid import Grid
from codec.data.code_batches import TrainingCodes, ValidationCodes
from codec.data.code_store import CodeRows, CodeStore, write_codes
from codec.priors.base import Condition, NeuralPrior
from codec.priors.build import NeuralConfig, build_neural_prior
from codec.priors.pixelcnn import PixelCNNConfig
from codec.priors.transformer import TransformerConfig
from codec.train.config import LoopConfig
from codec.train.fabric import build_fabric
from codec.train.loop import train
from codec.train.prior_task import PriorTask, geometry_of
from codec.train.run import RunFolder, read_metrics
from codec.train.state import Progress

GRIDS = (
    Grid(num_codebooks=1, codebook_size=4, downsample_factor=8),
    Grid(num_codebooks=2, codebook_size=6, downsample_factor=4),
)
PIXELCNN = PixelCNNConfig(width=16, blocks=1, layers=1, kernel=3, attention_heads=2, condition_units=1, dropout=0.1)
# Stays in its state with probability 0.9, else takes one of the other three.
STAY = 0.9
ENTROPY = -(STAY * math.log(STAY) + (1 - STAY) * math.log((1 - STAY) / 3))  # nats per code, but for the first


class Recipe(Config):
    prior: NeuralConfig
    loop: LoopConfig


def _loop(**changes) -> LoopConfig:
    tree = {"steps": 8, "log_every": 1, "validate_every": 4, "save_every": 4, "device": "cpu", "threads": 1}
    return LoopConfig.model_validate({**tree, "optimizer": {"warmup_steps": 2}, **changes})


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> CodeStore:
    """Pictures of two levels in three classes."""
    generator = torch.Generator().manual_seed(0)
    rows = []
    for split in ("train", "validation"):
        top = torch.randint(4, (6, 1, 2, 2), generator=generator)
        bottom = torch.randint(6, (6, 2, 4, 4), generator=generator)
        names = tuple(f"{split}{n}" for n in range(6))
        rows.append(CodeRows((top, bottom), names, split, (0, 1, 2) * 2))
    folder = tmp_path_factory.mktemp("codes") / "store"
    return write_codes(folder, rows, model="toy", fingerprint="a" * 16, levels=GRIDS, num_classes=3)


def _task(store: CodeStore, level: int = 1) -> PriorTask:
    torch.manual_seed(0)
    return PriorTask(build_neural_prior(PIXELCNN, geometry_of(store, level)), store)


def _fit(store: CodeStore, run: RunFolder, task: PriorTask, loop: LoopConfig, *, batch_size: int = 3) -> Progress:
    level = len(task.prior.geometry.coarser)
    data = TrainingCodes(store, level, batch_size=batch_size, seed=loop.seed)
    validation = ValidationCodes(store, level, batch_size=4)
    recipe = Recipe.model_validate({"prior": task.prior.config.model_dump(), "loop": loop.model_dump()})
    return train(task, fabric=build_fabric(loop), data=data, validation=validation, config=loop, run=run, recipe=recipe)


def test_bits_are_those_of_each_code_given_what_the_row_holds(store) -> None:
    task = _task(store).eval()
    batch = next(iter(ValidationCodes(store, 1, batch_size=4)))
    with torch.no_grad():
        outcome = task(batch.signal)
        top, bottom = (torch.from_numpy(codes[6:10].astype(np.int64)) for codes in store.codes)
        labels = torch.tensor([0, 1, 2, 0])
        log_p = task.prior(bottom, Condition(labels, (top,))).double().log_softmax(1)
    nats = -torch.stack([log_p[b, bottom[b, q, y, x], q, y, x] for b, q, y, x in np.ndindex(4, 2, 4, 4)]).mean()
    assert float(outcome["losses"]["nll"]) == pytest.approx(float(nats), rel=1e-5)  # float32 against float64
    assert float(outcome["stats"]["bits_per_code"]) == pytest.approx(float(nats) / math.log(2), rel=1e-5)
    per_pixel = float(nats) / math.log(2) * 2 / 16  # two codes for each 4x4 pixels
    assert float(outcome["stats"]["bits_per_pixel"]) == pytest.approx(per_pixel, rel=1e-5)


def test_an_untrained_prior_costs_about_as_much_as_plain_codes(store) -> None:
    batch = next(iter(ValidationCodes(store, 1, batch_size=6)))
    bits = float(_task(store).eval()(batch.signal)["stats"]["bits_per_code"])
    assert bits == pytest.approx(math.log2(6), rel=0.05)


def test_a_prior_of_other_codes_is_refused(store) -> None:
    other = geometry_of(store, 1).model_copy(update={"num_classes": None})
    with pytest.raises(UserError, match="build it for them"):
        PriorTask(build_neural_prior(PIXELCNN, other), store)


def test_training_tells_bits_of_both_splits_and_exports_the_prior(store, tmp_path) -> None:
    run = RunFolder(tmp_path / "run")
    _fit(store, run, _task(store), _loop())
    lines = read_metrics(run)
    for split in ("train", "validation"):
        figures = [line for line in lines if line["split"] == split]
        assert figures and all({"nll", "bits_per_code", "bits_per_pixel"} <= line.keys() for line in figures)
    prior = load_prior(tmp_path / "run", device="cpu")
    assert (prior.name, prior.model_fingerprint) == ("run", "a" * 16)
    assert not prior.training and prior.config == PIXELCNN and prior.geometry == geometry_of(store, 1)


def test_a_resumed_run_is_the_run_that_was_not_stopped(store, tmp_path) -> None:
    whole = RunFolder(tmp_path / "whole")
    _fit(store, whole, _task(store), _loop())
    _fit(store, RunFolder(tmp_path / "parts"), _task(store), _loop(steps=3, optimizer={"warmup_steps": 2}))
    parts = RunFolder(tmp_path / "parts", resume=True)
    _fit(store, parts, _task(store), _loop())
    mine, theirs = (read_tensors(run.last)[0] for run in (parts, whole))
    assert mine.keys() == theirs.keys()
    assert [name for name in mine if not torch.equal(mine[name], theirs[name])] == []


@pytest.mark.parametrize(
    "config",
    [
        PixelCNNConfig(width=16, blocks=1, layers=1, kernel=3),
        TransformerConfig(width=16, layers=1, heads=2),
    ],
    ids=["pixelcnn", "transformer"],
)
def test_a_learned_chain_costs_its_entropy(config, tmp_path) -> None:
    """A Markov chain of known entropy rate: the prior can do no better, and soon does hardly worse."""
    store = _chain(tmp_path / "codes")
    torch.manual_seed(0)
    prior = build_neural_prior(config, geometry_of(store, 0))
    loop = _loop(steps=100, validate_every=100, log_every=100, average_decay=0.9, optimizer={"learning_rate": 1e-2})
    run = RunFolder(tmp_path / "run")
    _fit(store, run, PriorTask(prior, store), loop, batch_size=32)
    length = store.index.levels[0].size[0]
    expected = (math.log(4) + (length - 1) * ENTROPY) / length
    nll = [line["nll"] for line in read_metrics(run) if line["split"] == "validation"][-1]
    # The sample's own entropy lies within 3 % of the expected one: a standard error of 1 % over 8,192 codes.
    assert 0.97 * expected < nll < 1.06 * expected


def _chain(folder: Path) -> CodeStore:
    generator = np.random.default_rng(0)
    states = generator.integers(4, size=(512, 1))
    moves = np.where(generator.random((512, 31)) < STAY, 0, generator.integers(1, 4, size=(512, 31)))
    codes = torch.from_numpy(np.concatenate((states, moves), axis=1).cumsum(1) % 4).unsqueeze(1)
    names = tuple(str(n) for n in range(256))
    rows = [CodeRows((codes[:256],), names, "train"), CodeRows((codes[256:],), names, "validation")]
    return write_codes(folder, rows, model="chain", fingerprint="b" * 16, levels=GRIDS[:1])


def _saved(folder: Path, store: CodeStore) -> tuple[NeuralPrior, str]:
    torch.manual_seed(0)
    prior = build_neural_prior(PIXELCNN, geometry_of(store, 1)).eval()
    return prior, save_prior(prior, folder, model_fingerprint="a" * 16, card={"licence": "CC0"})


def test_a_saved_prior_comes_back_with_the_same_probabilities(store, tmp_path) -> None:
    prior, fingerprint = _saved(tmp_path / "mine", store)
    for path in (tmp_path / "mine", tmp_path / "mine" / PRIOR_FILE):
        loaded = load_prior(path, device="cpu")
        assert (loaded.name, loaded.fingerprint, loaded.model_fingerprint) == ("mine", fingerprint, "a" * 16)
        assert isinstance(loaded, NeuralPrior)
        codes = torch.zeros(1, 2, 4, 4, dtype=torch.int64)
        condition = Condition(torch.tensor([1]), (codes[:, :1, :2, :2],))
        assert torch.equal(loaded(codes, condition), prior(codes, condition))


def test_the_fingerprint_is_of_weights_geometry_and_model(store, tmp_path) -> None:
    prior, fingerprint = _saved(tmp_path / "mine", store)
    assert save_prior(prior, tmp_path / "again", model_fingerprint="a" * 16) == fingerprint
    assert save_prior(prior, tmp_path / "other", model_fingerprint="b" * 16) != fingerprint
    with torch.no_grad():
        next(prior.parameters()).view(-1)[0] += 1
    assert save_prior(prior, tmp_path / "moved", model_fingerprint="a" * 16) != fingerprint


def test_files_that_hold_no_whole_prior_are_refused(store, tmp_path) -> None:
    _saved(tmp_path / "mine", store)
    path = tmp_path / "mine" / PRIOR_FILE
    tensors, header = read_tensors(path)
    name = next(iter(tensors))
    inner = header["codec-prior"]
    wrongs = {
        "holds no prior": (tensors, {"other": {}}),
        "upgrade": (tensors, {"codec-prior": {**inner, "format": 2}}),
        "damaged": ({**tensors, name: tensors[name] + 1}, header),
        "model_fingerprint": (tensors, {"codec-prior": {k: v for k, v in inner.items() if k != "model_fingerprint"}}),
    }
    for message, (content, heading) in wrongs.items():
        write_tensors(path, content, header=heading)
        with pytest.raises(UserError, match=message):
            load_prior(path)
    with pytest.raises(UserError, match="no prior"):
        load_prior(tmp_path / "nowhere")
