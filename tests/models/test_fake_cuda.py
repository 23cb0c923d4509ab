"""The GPU path, proven without a GPU: forward, losses and codebook updates as fake tensors on `cuda`.

A tensor that stays on the CPU makes a fake operation raise, so a device mix-up cannot land. (The backward pass needs
a real device: torch's autograd engine asks for its context.)
"""

from pathlib import Path

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from codec.core.bundled import recipes_folder
from codec.core.config import load_config
from codec.models import VQVAE, CodecConfig, build_model
from codec.models.tiny import tiny_config
from codec.quantize.build import KINDS, build_quantizer, parse_quantizer
from codec.train import ReconstructionConfig, ReconstructionTask
from tests.models.kinds import CONFIGS

PRESETS = sorted(recipes_folder().glob("*/*.yaml"))


def _train_step_on_fake_cuda(config: CodecConfig, weights: dict[str, float], size: int) -> None:
    with FakeTensorMode(allow_non_fake_inputs=False), torch.device("cuda"):
        task = ReconstructionTask(build_model(config), weights).train()
        signal = torch.rand(2, config.media.channels, *(size,) * config.media.ndim)
        outcome = task(signal)
        assert task.total(outcome["losses"]).device.type == "cuda"
        assert all(value.device.type == "cuda" for group in outcome.values() for value in group.values())
        assert task.eval().samples(signal)["reconstruction"].device.type == "cuda"


def _with_small_codebooks(config: CodecConfig) -> CodecConfig:
    """Devices do not depend on K."""
    tree = config.model_dump()
    quantizer = tree["quantizer"]
    (quantizer.get("codebook") or quantizer.get("group") or quantizer).update(codebook_size=8)
    return config.model_validate(tree)


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_preset_trains_a_step_on_a_fake_gpu(preset: Path):
    recipe = load_config(ReconstructionConfig, preset)
    size = 8 * recipe.model.downsample_factor
    _train_step_on_fake_cuda(_with_small_codebooks(recipe.model), recipe.losses, size)


@pytest.mark.parametrize("media", ["audio", "image"])
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_quantizer_trains_in_every_medium_on_a_fake_gpu(kind, media):
    config = tiny_config(media).model_copy(update={"quantizer": parse_quantizer({"kind": kind})})
    losses = build_quantizer(config.quantizer, config.latent_dim).loss_names
    _train_step_on_fake_cuda(config, {"mse": 1.0} | dict.fromkeys(losses, 0.1), 32)


@pytest.mark.parametrize("name", CONFIGS)
def test_every_model_trains_a_step_on_a_fake_gpu(name):
    config = CONFIGS[name]
    losses = build_model(config).loss_names
    _train_step_on_fake_cuda(config, {"mse": 1.0} | dict.fromkeys(losses, 0.1), 4 * config.downsample_factor)


def test_a_tensor_left_on_the_cpu_is_caught():
    with FakeTensorMode():
        with torch.device("cpu"):
            encoder = VQVAE(tiny_config("image")).encoder
        with pytest.raises(RuntimeError, match="device"):
            encoder(torch.rand(1, 3, 16, 16, device="cuda"))
