"""The GPU path, proven without a GPU: forward, losses and codebook updates as fake tensors on `cuda`.

A tensor that stays on the CPU makes a fake operation raise, so a device mix-up cannot land. (The backward pass needs
a real device: torch's autograd engine asks for its context.)
"""

from pathlib import Path

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from codec.cli.scripts import load_script
from codec.core.bundled import recipes_folder
from codec.core.config import load_config
from codec.models import VQVAE, CodecConfig, build_model
from codec.models.build_units import build_units, parse_units
from codec.models.tiny import tiny_config
from codec.models.units import UnitConfig, UnitModel
from codec.quantize.build import KINDS, parse_quantizer
from codec.train import ReconstructionConfig, ReconstructionTask
from codec.train.adversarial import ADVERSARIAL, FEATURE_MATCHING
from codec.train.clusters import draw_latents
from codec.train.units import UnitTask
from tests.models.kinds import CONFIGS

JUDGED = (ADVERSARIAL, FEATURE_MATCHING)  # they need a backward pass through their balance
PRESETS = sorted(recipes_folder().glob("*/*.yaml"))


def _devices_of_a_step(config: CodecConfig, weights: dict[str, float], size: int) -> set[str]:
    """Where a training step on a fake GPU leaves its losses, figures and reconstructions."""
    with FakeTensorMode(allow_non_fake_inputs=False), torch.device("cuda"):
        task = ReconstructionTask(build_model(config), weights).train()
        signal = torch.rand(2, config.media.channels, *(size,) * config.media.ndim)
        outcome = task(signal)
        found = [task.total(outcome["losses"]), *(value for group in outcome.values() for value in group.values())]
        found.append(task.eval().samples(signal)["reconstruction"])
        return {value.device.type for value in found}


def _devices_of_a_unit_step(config: UnitConfig) -> set[str]:
    """Where a training step on a fake GPU leaves its loss and units; latents that are drawn go to the CPU."""
    with FakeTensorMode(allow_non_fake_inputs=False), torch.device("cuda"):
        model = build_units(config).train()
        speech = torch.rand(2, 1, 8 * config.downsample_factor)
        found = []
        if model.loss_names:
            task = UnitTask(model, dict.fromkeys(model.loss_names, 1.0), teacher=_teacher_of(model))
            found.append(task.total(task(speech)["losses"]))
        found.append(model.eval().units(speech))
        from_disk = torch.rand(1, 8 * config.downsample_factor, device="cpu")
        assert draw_latents(model, [from_disk]).device.type == "cpu"
        return {value.device.type for value in found}


def _teacher_of(model: UnitModel) -> UnitModel | None:
    if model.num_targets is None:
        return None
    config = {"kind": "features", "features": {"kind": "mfcc"}, "stride": model.config.frames_per_unit}
    return build_units(parse_units(config | {"quantizer": {"kind": "ema", "codebook_size": model.num_targets}}))


def _loss_weights(config: CodecConfig) -> dict[str, float]:
    with torch.device("meta"):
        return dict.fromkeys(build_model(config).loss_names, 0.1)


def _with_small_codebooks(config: CodecConfig) -> CodecConfig:
    """Devices do not depend on K."""
    tree = config.model_dump()
    if quantizer := tree.get("quantizer"):
        (quantizer.get("codebook") or quantizer.get("group") or quantizer).update(codebook_size=8)
    return config.model_validate(tree)


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_preset_trains_a_step_on_a_fake_gpu(preset: Path) -> None:
    recipe = load_config(load_script(preset.parent / "train.py").Recipe, preset)
    if isinstance(recipe.model, UnitConfig):
        assert _devices_of_a_unit_step(recipe.model) == {"cuda"}
        return
    config = _with_small_codebooks(recipe.model)
    losses = {"mse": 1.0} | _loss_weights(config)
    if isinstance(recipe, ReconstructionConfig):
        losses = {name: weight for name, weight in recipe.losses.items() if name not in JUDGED}
    assert _devices_of_a_step(config, losses, 8 * config.downsample_factor) == {"cuda"}


@pytest.mark.parametrize("media", ["audio", "image"])
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_quantizer_trains_in_every_medium_on_a_fake_gpu(kind, media):
    config = tiny_config(media).model_copy(update={"quantizer": parse_quantizer({"kind": kind})})
    assert _devices_of_a_step(config, {"mse": 1.0} | _loss_weights(config), 32) == {"cuda"}


@pytest.mark.parametrize("name", CONFIGS)
def test_every_model_trains_a_step_on_a_fake_gpu(name):
    config = CONFIGS[name]
    assert _devices_of_a_step(config, {"mse": 1.0} | _loss_weights(config), 4 * config.downsample_factor) == {"cuda"}


def test_a_tensor_left_on_the_cpu_is_caught():
    with FakeTensorMode():
        with torch.device("cpu"):
            encoder = VQVAE(tiny_config("image")).encoder
        with pytest.raises(RuntimeError, match="device"):
            encoder(torch.rand(1, 3, 16, 16, device="cuda"))
