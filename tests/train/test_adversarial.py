"""Two players in one step: each learns from its own loss, the second from its start, and both survive a kill."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from codec.checkpoint.store import read_tensors
from codec.core.config import Config, load_config, parse_config
from codec.core.errors import UserError
from codec.losses import PerceptualLoss
from codec.losses.discriminator import PatchDiscriminatorConfig
from codec.models import build_model
from codec.models.tiny import tiny_config
from codec.nn.likelihoods import CategoricalConfig
from codec.train import LoopConfig, OptimizerConfig, ReconstructionTask, RunFolder, train
from codec.train.adversarial import Adversary, PatchAdversaryConfig
from codec.train.fabric import build_fabric
from codec.train.optim import learning_rate
from codec.train.pictures import PictureConfig, build_picture_task
from codec.train.run import read_metrics
from tests.train.test_loop import Noise
from tests.train.test_resume import assert_same_run, start, wait_for_step

START = 4
SHAPE = (2, 3, 16, 16)
TINY_ADVERSARY = PatchAdversaryConfig(
    start_step=START,
    discriminator=PatchDiscriminatorConfig(width=4, num_strided=2),
    optimizer=OptimizerConfig(learning_rate=2e-3, betas=(0.5, 0.9), warmup_steps=2, final_fraction=0.1),
)
TINY = {
    "data": {"batch_size": 2, "crop": 16, "validation_crop": 16, "workers": 0},
    "model": tiny_config("image").model_dump(mode="json"),
    "losses": {"mse": 1.0, "commitment": 0.25, "adversarial": 0.1},
    "adversary": TINY_ADVERSARY.model_dump(mode="json"),
    "loop": {"steps": 12, "log_every": 1, "validate_every": 4, "save_every": 3, "device": "cpu", "threads": 1},
}


def _task(adversary: PatchAdversaryConfig | None = TINY_ADVERSARY, **weights: float) -> ReconstructionTask:
    torch.manual_seed(0)
    model = build_model(tiny_config("image"))
    return ReconstructionTask(
        model,
        {"mse": 1.0, "commitment": 0.25, **({"adversarial": 0.1} if adversary else {}), **weights},
        adversary=Adversary(adversary, channels=3) if adversary else None,
    )


def _fit(folder: Path, task: ReconstructionTask, *, resume: bool = False, data=None, **changes) -> RunFolder:
    base = {"steps": 8, "log_every": 1, "validate_every": 4, "save_every": 4, "device": "cpu", "precision": "fp32"}
    config = LoopConfig(**(base | changes), optimizer=OptimizerConfig(learning_rate=3e-3, warmup_steps=0))
    run = RunFolder(folder, resume=resume)
    train(
        task,
        fabric=build_fabric(config),
        data=data or Noise(SHAPE),
        validation=[Noise(SHAPE).batch(1000)],
        config=config,
        run=run,
        recipe=Config(),
    )
    return run


@pytest.mark.parametrize("adaptive", [False, True])
def test_each_player_gets_the_gradient_of_its_own_loss_alone(adaptive):
    adversary = TINY_ADVERSARY.model_copy(update={"adaptive": adaptive})
    signal = Noise(SHAPE).batch(0).signal
    own, judge = {}, {}
    for name in ("adversarial", "discriminator"):
        task = _task(adversary).train()
        assert task.adversary is not None
        task.adversary.begin(START)
        task(signal)["losses"][name].backward()
        decoder = task.model.get_submodule("decoder")
        own[name] = any(p.grad is not None and bool(p.grad.any()) for p in decoder.parameters())
        judge[name] = any(p.grad is not None and bool(p.grad.any()) for p in task.adversary.parameters())
    assert own == {"adversarial": True, "discriminator": False}
    assert judge == {"adversarial": False, "discriminator": True}


def test_until_its_start_the_discriminator_neither_learns_nor_changes_the_run(tmp_path):
    without = read_metrics(_fit(tmp_path / "without", _task(None), steps=START))
    task = _task()
    assert task.adversary is not None
    before = {name: weight.clone() for name, weight in task.adversary.state_dict().items()}
    run = _fit(tmp_path / "with", task, steps=START)
    lines = read_metrics(run)
    assert [{name: line[name] for name in old} for line, old in zip(lines, without, strict=True)] == without
    after = task.adversary.state_dict()
    assert [name for name in before if not torch.equal(before[name], after[name])] == []
    moments = {key.split("/")[1] for key in read_tensors(run.last)[0] if key.startswith("optimizer/")}
    assert len(moments) == len([p for p in task.model.parameters() if p.requires_grad])


def test_from_its_start_it_learns_at_its_own_rate_and_validation_leaves_it_out(tmp_path):
    task = _task()
    lines = read_metrics(_fit(tmp_path, task, steps=10, validate_every=5))
    trained = [line for line in lines if line["split"] == "train"]
    assert all(line["discriminator"] == line["adversarial"] == 0 for line in trained[:START])
    assert all(line["discriminator"] > 0 for line in trained[START:])
    rates = [line["learning_rate/discriminator"] for line in trained[START:]]
    config = TINY_ADVERSARY.optimizer
    assert rates == pytest.approx([learning_rate(step, config=config, total_steps=10 - START) for step in range(6)])
    assert all(line["grad_norm/discriminator"] > 0 for line in trained[START:])
    validated = [line for line in lines if line["split"] == "validation"]
    assert validated and not any("adversarial" in line or "discriminator" in line for line in validated)


def test_a_discriminator_with_time_tells_noise_from_pictures():
    torch.manual_seed(0)
    adversary = Adversary(TINY_ADVERSARY, channels=3)
    adversary.begin(START)
    optimizer = torch.optim.AdamW(adversary.parameters(), lr=2e-3, betas=(0.5, 0.9))
    losses = []
    for step in range(60):
        real = Noise(SHAPE).batch(step).signal
        loss = adversary(real + 0.5 * torch.randn_like(real), real)["discriminator"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(1, abs=0.1)  # it knows nothing: logits near 0
    assert sum(losses[-5:]) / 5 < 0.2


def test_one_step_of_both_is_a_step_of_two_optimisers(tmp_path):
    """Alone on the same reconstructions, a discriminator with an AdamW of its own ends at the same weights."""
    config = TINY_ADVERSARY.model_copy(update={"start_step": 0})
    task, twin = _task(config), _task(config)
    seen = []
    task.model.register_forward_hook(lambda model, inputs, result: seen.append((result.signal.detach(), inputs[0])))
    _fit(tmp_path, task, steps=3, validate_every=100)
    alone = twin.adversary
    assert alone is not None and task.adversary is not None
    alone.begin(0)
    optimizer = torch.optim.AdamW(alone.parameters(), betas=config.optimizer.betas, weight_decay=0)
    for step, (fake, real) in enumerate(seen[:3]):
        optimizer.zero_grad()
        alone(fake, real)["discriminator"].backward()
        torch.nn.utils.clip_grad_norm_(alone.parameters(), 1.0)
        optimizer.param_groups[0]["lr"] = learning_rate(step, config=config.optimizer, total_steps=3)
        optimizer.step()
    both, one = task.adversary.state_dict(), alone.state_dict()
    assert [name for name in both if not torch.allclose(both[name], one[name], atol=1e-6)] == []


def test_a_nan_after_the_start_keeps_nothing_of_either_player(tmp_path):
    data = Noise(SHAPE, bad_step=6)
    with pytest.raises(UserError, match="the data is NaN or Inf"):
        _fit(tmp_path / "run", _task(), data=data, save_every=6)
    resumed = _fit(tmp_path / "run", _task(), resume=True, steps=8, save_every=6)
    assert_same_run(resumed.path, _fit(tmp_path / "clean", _task(), steps=8, save_every=6).path)


def test_the_adaptive_weight_is_told_and_trains(tmp_path):
    task = _task(TINY_ADVERSARY.model_copy(update={"adaptive": True}))
    trained = [line for line in read_metrics(_fit(tmp_path, task)) if line["split"] == "train"]
    assert all("adversarial_balance" not in line for line in trained[:START])
    assert all(line["adversarial_balance"] > 0 for line in trained[START:])


class Maps(nn.Module):
    """Features of a kind."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3)

    def forward(self, pictures: torch.Tensor) -> list[torch.Tensor]:
        return [pictures, self.convolution(pictures)]


def test_every_loss_of_pictures_is_computed_on_a_fake_gpu():
    with FakeTensorMode(allow_non_fake_inputs=False), torch.device("cuda"):
        task = ReconstructionTask(
            build_model(tiny_config("image").model_copy(update={"likelihood": CategoricalConfig()})),
            dict.fromkeys(("mse", "l1", "ms_ssim", "perceptual", "nll", "adversarial", "commitment"), 1.0),
            perceptual=PerceptualLoss(Maps(), weights=[torch.ones(3), torch.ones(4)]),
            adversary=Adversary(TINY_ADVERSARY, channels=3),
        ).train()
        assert task.adversary is not None
        for step in (0, START):
            task.adversary.begin(step)
            outcome = task(torch.rand(2, 3, 16, 16))
            figures = [*outcome["losses"].values(), *outcome["stats"].values(), task.total(outcome["losses"])]
            assert {value.device.type for value in figures} == {"cuda"}


def test_the_loss_and_the_adversary_are_refused_without_each_other():
    with pytest.raises(UserError, match="need each other"):
        _task(None, adversarial=1.0)
    with pytest.raises(UserError, match="need each other"):
        ReconstructionTask(
            build_model(tiny_config("image")),
            {"mse": 1.0, "commitment": 0.25},
            adversary=Adversary(TINY_ADVERSARY, channels=3),
        )


def test_crops_too_small_to_judge_and_adaptive_compiled_runs_are_refused_before_any_data_is_read():
    small = {**TINY, "data": {**TINY["data"], "crop": 8, "validation_crop": 8}}
    with pytest.raises(UserError, match=r"data\.crop is 8, .* from 12 pixels"):
        parse_config(PictureConfig, small)
    compiled = {**TINY, "loop": {**TINY["loop"], "compile": True}}
    compiled["adversary"] = {**TINY["adversary"], "adaptive": True}
    with pytest.raises(UserError, match=r"adversary\.adaptive .* loop\.compile"):
        parse_config(PictureConfig, compiled)


def test_null_takes_a_loss_of_the_preset_away(tmp_path):
    (tmp_path / "preset.yaml").write_text(yaml.safe_dump(TINY))
    overrides = ["losses.mse=null", "losses.l1=2", "losses.adversarial=null", "adversary=null"]
    config = load_config(PictureConfig, tmp_path / "preset.yaml", overrides)
    assert config.losses == {"commitment": 0.25, "l1": 2.0}
    assert list(build_picture_task(config).reconstruction_losses) == ["l1"]


@pytest.fixture
def recipe(tmp_path) -> Path:
    generator = np.random.default_rng(0)
    lines = []
    for index in range(4):
        ramp = np.linspace(0, 255, 40)[None, :, None] * generator.random((1, 1, 3)) + 9 * generator.random((32, 40, 3))
        Image.fromarray(ramp.clip(0, 255).astype(np.uint8)).save(tmp_path / f"{index}.png")
        lines.append(f'{{"path": "{index}.png", "split": "{"train" if index < 3 else "validation"}"}}\n')
    (tmp_path / "manifest.jsonl").write_text("".join(lines))
    tree = {**TINY, "data": {**TINY["data"], "train": str(tmp_path / "manifest.jsonl")}}
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(tree))
    return tmp_path / "tiny.yaml"


def test_a_run_against_a_discriminator_killed_in_mid_fight_resumes_bit_for_bit(recipe):
    whole, killed = recipe.parent / "whole", recipe.parent / "killed"
    assert start(recipe, whole, name="vqvae_image").wait(120) == 0
    process = start(recipe, killed, name="vqvae_image")
    wait_for_step(killed, START + 3, process)
    process.kill()
    process.wait()
    state = read_tensors(killed / "checkpoints" / "last.safetensors")[0]
    assert state.keys() == read_tensors(whole / "checkpoints" / "last.safetensors")[0].keys()  # both have moments
    assert start(recipe, killed, "--resume", name="vqvae_image").wait(120) == 0
    assert_same_run(killed, whole)


def test_a_run_stopped_before_the_start_resumes_bit_for_bit(tmp_path):
    _fit(tmp_path / "parts", _task(), max_minutes=1e-6)
    resumed = _fit(tmp_path / "parts", _task(), resume=True)
    assert_same_run(resumed.path, _fit(tmp_path / "whole", _task()).path)
