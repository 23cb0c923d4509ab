"""The loop's promises: pinned losses, nothing kept of a step that is not finite, validation and export."""

import math
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from codec.checkpoint import load_model
from codec.checkpoint.store import read_tensors, write_tensors
from codec.core.config import Config
from codec.core.errors import UserError
from codec.models import build_model
from codec.models.tiny import tiny_config
from codec.quantize import parse_quantizer
from codec.train import LoopConfig, OptimizerConfig, ReconstructionTask, RunFolder, train
from codec.train.average import WeightAverage
from codec.train.fabric import build_fabric
from codec.train.loop import ValidationData
from codec.train.optim import learning_rate
from codec.train.run import read_metrics


@dataclass(frozen=True)
class Batch:
    signal: Tensor
    names: tuple[str, ...]
    mask: Tensor | None = None


class Noise:
    """Batches of rows of random level with a little noise; batch `bad_step` holds a NaN."""

    def __init__(self, shape: tuple[int, ...], *, bad_step: int | None = None):
        self.shape, self.bad_step = shape, bad_step

    def batch(self, step: int) -> Batch:
        generator = torch.Generator().manual_seed(step)
        level = torch.randn(*self.shape[:2], *(1,) * (len(self.shape) - 2), generator=generator)
        signal = (level + 0.1 * torch.randn(self.shape, generator=generator)).tanh()
        if step == self.bad_step:
            signal[1].view(-1)[3] = math.nan
        return Batch(signal, tuple(f"file-{step}-{row}.wav" for row in range(len(signal))))

    def prefetch(self, start_step: int) -> Iterator[tuple[int, Batch]]:
        step = start_step
        while True:
            yield step, self.batch(step)
            step += 1


class OneBatch(Noise):
    """The same batch at every step."""

    def batch(self, step: int) -> Batch:
        return super().batch(0)


SHAPES = {"audio": (4, 1, 256), "image": (4, 3, 16, 16)}


def _loop(**changes) -> LoopConfig:
    base = {"steps": 20, "log_every": 1, "validate_every": 10, "save_every": 7, "device": "cpu", "precision": "fp32"}
    return LoopConfig(**(base | changes), optimizer=OptimizerConfig(learning_rate=3e-3, warmup_steps=0))


def _fit(
    kind, run_folder, *, data=None, resume=False, validation: ValidationData | None = None, weights=None, **changes
) -> RunFolder:
    config = _loop(**changes)
    fabric = build_fabric(config)
    task = ReconstructionTask(build_model(tiny_config(kind)), weights or {"mse": 1.0, "commitment": 0.25})
    run = RunFolder(run_folder, resume=resume)
    held_out = [Noise(SHAPES[kind]).batch(1000)] if validation is None else validation
    train(
        task,
        fabric=fabric,
        data=data or Noise(SHAPES[kind]),
        validation=held_out,
        config=config,
        run=run,
        recipe=Config(),
    )
    return run


@pytest.mark.parametrize("kind", ["audio", "image"])
def test_forty_steps_on_one_batch_lower_the_loss_and_export_a_model_that_codes(kind, tmp_path):
    run = _fit(kind, tmp_path / "run", data=OneBatch(SHAPES[kind]), steps=40)
    losses = [line["mse"] for line in read_metrics(run) if line["split"] == "train"]
    assert len(losses) == 40
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])
    model = load_model(run.path, device="cpu")
    assert model.name == "run"
    assert int(model.histogram.min()) >= 1 and int(model.histogram.max()) > 1
    signal = torch.zeros(1, *SHAPES[kind][1:])
    assert model.decode(model.encode(signal)).shape == signal.shape


def test_the_same_seed_gives_the_same_losses_and_another_does_not(tmp_path):
    first = read_metrics(_fit("audio", tmp_path / "a", steps=4))
    assert read_metrics(_fit("audio", tmp_path / "b", steps=4)) == first
    assert read_metrics(_fit("audio", tmp_path / "c", steps=4, seed=1)) != first


def test_a_nan_in_the_data_names_its_files_and_keeps_nothing(tmp_path):
    with pytest.raises(UserError, match=r"file-5-0\.wav, file-5-1\.wav") as caught:
        _fit("audio", tmp_path / "run", data=Noise(SHAPES["audio"], bad_step=5), save_every=5)
    assert "\n" not in str(caught.value)
    resumed = _fit("audio", tmp_path / "run", resume=True, steps=8, validate_every=8, save_every=5)
    clean = _fit("audio", tmp_path / "clean", steps=8, validate_every=8, save_every=5)
    assert read_metrics(resumed) == read_metrics(clean)


@pytest.mark.parametrize("kind", ["ema", "gradient"])
def test_a_loss_that_explodes_is_named_and_weights_and_codebooks_stay(kind, tmp_path, monkeypatch):
    config = _loop()
    fabric = build_fabric(config)
    quantizer = parse_quantizer({"kind": kind, "codebook_size": 16})
    weights = {"mse": 1.0, "commitment": 0.25} | ({"codebook": 1.0} if kind == "gradient" else {})
    task = ReconstructionTask(build_model(tiny_config("audio").model_copy(update={"quantizer": quantizer})), weights)
    before = {name: tensor.clone() for name, tensor in task.state_dict().items()}
    monkeypatch.setitem(task.reconstruction_losses, "mse", lambda r, t, m: (r * math.inf).sum())
    with pytest.raises(UserError, match="loss 'mse' is NaN or Inf"):
        train(
            task,
            fabric=fabric,
            data=Noise(SHAPES["audio"]),
            validation=[],
            config=config,
            run=RunFolder(tmp_path),
            recipe=Config(),
        )
    assert [name for name, tensor in task.state_dict().items() if not torch.equal(before[name], tensor)] == []


def test_a_validation_loss_that_is_not_finite_is_never_the_best(tmp_path):
    config = _loop(steps=4, validate_every=2)
    fabric = build_fabric(config)
    task = ReconstructionTask(build_model(tiny_config("audio")), {"mse": 1.0, "commitment": 0.25})
    mse, seen = task.reconstruction_losses["mse"], []

    def broken_at_first(reconstruction: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
        if not task.training:
            seen.append(1)
        return mse(reconstruction, target, mask) * (math.nan if len(seen) == 1 and not task.training else 1)

    task.reconstruction_losses["mse"] = broken_at_first
    progress = train(
        task,
        fabric=fabric,
        data=Noise(SHAPES["audio"]),
        validation=[Noise(SHAPES["audio"]).batch(1000)],
        config=config,
        run=RunFolder(tmp_path),
        recipe=Config(),
    )
    assert progress.best_step == 4


def test_a_compiled_run_takes_the_steps_of_a_plain_one(tmp_path, monkeypatch):
    """Traced but not translated, so that no compiler is needed; k-means must stay out of the graph."""
    torch.compiler.reset()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    compiled = read_metrics(_fit("audio", tmp_path / "compiled", steps=3, compile=True))
    plain = read_metrics(_fit("audio", tmp_path / "plain", steps=3))
    for one, other in zip(compiled, plain, strict=True):
        assert {**one, "split": 0} == pytest.approx({**other, "split": 0}, rel=1e-4)  # sums in another order


def test_a_half_written_last_line_of_metrics_is_dropped(tmp_path):
    run = _fit("audio", tmp_path / "run", steps=2)
    whole = read_metrics(run)
    with open(run.logs / "metrics.jsonl", "a") as file:
        file.write('{"step": 3, "spl')
    assert read_metrics(run) == whole
    assert read_metrics(_fit("audio", tmp_path / "run", steps=3, resume=True))[-1]["step"] == 3


def test_a_time_limit_stops_cleanly_and_resume_goes_on(tmp_path):
    run = _fit("audio", tmp_path / "run", max_minutes=1e-6)
    assert read_metrics(run)[-1]["step"] == 1
    resumed = _fit("audio", tmp_path / "run", resume=True)
    assert read_metrics(resumed) == read_metrics(_fit("audio", tmp_path / "whole"))


def test_without_validation_the_last_weights_are_exported(tmp_path):
    run = _fit("audio", tmp_path / "run", validation=[], steps=3)
    assert load_model(run.path, device="cpu").name == "run"


class Anew:
    """Validation that makes its batches again each time, and keeps none."""

    def __init__(self):
        self.alive, self.most, self.rounds = 0, 0, 0

    def __len__(self) -> int:
        return 4

    def __iter__(self) -> Iterator[Batch]:
        self.rounds += 1
        for step in range(1000, 1000 + len(self)):
            batch = Noise(SHAPES["audio"]).batch(step)
            self.alive += 1
            weakref.finalize(batch, self._forget)
            self.most = max(self.most, self.alive)
            yield batch
            del batch

    def _forget(self) -> None:
        self.alive -= 1


def test_validation_is_read_anew_each_time_and_never_held_in_memory(tmp_path):
    validation = Anew()
    streamed = read_metrics(_fit("audio", tmp_path / "streamed", steps=4, validate_every=2, validation=validation))
    assert validation.rounds == 2
    assert validation.most <= 2  # the one at work and the next
    held = list(Anew())
    assert read_metrics(_fit("audio", tmp_path / "held", steps=4, validate_every=2, validation=held)) == streamed


def test_several_tasks_of_slurm_without_torchrun_are_refused_in_one_line(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.setenv("SLURM_PROCID", "1")
    monkeypatch.setenv("SLURM_NTASKS", "4")
    with pytest.raises(UserError, match=r"SLURM starts 4 tasks.*torchrun") as caught:
        build_fabric(_loop())
    assert "\n" not in str(caught.value)


def test_weights_that_name_no_loss_are_refused_before_any_step(tmp_path):
    model = build_model(tiny_config("audio"))
    with pytest.raises(UserError, match="'mell'"):
        ReconstructionTask(model, {"mell": 1.0, "commitment": 1.0})
    with pytest.raises(UserError, match="codebook"):
        ReconstructionTask(model, {"mse": 1.0, "commitment": 1.0, "codebook": 1.0})
    with pytest.raises(UserError, match="commitment"):
        ReconstructionTask(model, {"mse": 1.0})


def test_resuming_another_configuration_is_refused(tmp_path):
    _fit("audio", tmp_path / "run", steps=2)
    with pytest.raises(UserError, match="another configuration"):
        _fit("image", tmp_path / "run", resume=True)


@pytest.mark.parametrize("left", [{}, {"step": 2, "best_loss": None, "best_step": None}, "text"])
def test_a_training_state_without_all_its_facts_is_a_users_error(left, tmp_path):
    run = _fit("audio", tmp_path / "run", steps=2, validation=[])
    tensors, header = read_tensors(run.last)
    write_tensors(run.last, tensors, header=dict.fromkeys(header, left))
    with pytest.raises(UserError, match="wanted average_updates, best_loss, best_step, step"):
        _fit("audio", tmp_path / "run", resume=True)


def test_the_average_is_the_textbook_recursion_and_leaves_weights_alone():
    layer = nn.Linear(3, 2)
    average = WeightAverage(layer, 0.9)
    expected = layer.weight.detach().double()
    for update in range(1, 30):
        with torch.no_grad():
            layer.weight.add_(torch.randn(2, 3))
        average.update()
        decay = min(0.9, (1 + update) / (10 + update))
        expected = decay * expected + (1 - decay) * layer.weight.detach().double()
    own = layer.weight.detach().clone()
    with average.applied():
        torch.testing.assert_close(layer.weight.double(), expected, rtol=1e-5, atol=1e-6)  # float32 recursion
    assert torch.equal(layer.weight, own)


def test_the_step_size_warms_up_then_falls_to_its_final_share():
    config = OptimizerConfig(learning_rate=1.0, warmup_steps=10, final_fraction=0.1)
    rates = [learning_rate(step, config=config, total_steps=100) for step in range(101)]
    assert all(a < b for a, b in pairwise(rates[:11]))
    assert all(a >= b for a, b in pairwise(rates[11:]))
    assert rates[100] == pytest.approx(0.1)
    assert learning_rate(50, config=OptimizerConfig(warmup_steps=0, learning_rate=2.0), total_steps=60) == 2.0
