"""What only a real GPU can show."""

import pytest
import torch

from codec.models import build_model
from codec.models.tiny import tiny_config, tiny_model
from codec.train import ReconstructionTask

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU on this machine"),
]


@pytest.mark.parametrize("kind", ["audio", "image"])
def test_decoding_on_the_gpu_is_that_of_the_cpu_within_float32_rounding(kind):
    model = tiny_model(kind)
    signal = torch.rand(1, model.media.channels, *(200,) * model.ndim) * 2 - 1
    codes = model.encode(signal)
    on_cpu = model.decode(codes)
    on_gpu = model.cuda().decode(codes).cpu()
    torch.testing.assert_close(on_gpu, on_cpu, rtol=0, atol=1e-3)  # TF32 convolutions keep 10 bits


@pytest.mark.parametrize("kind", ["audio", "image"])
def test_training_on_the_gpu_lowers_the_loss(kind):
    torch.manual_seed(0)
    task = ReconstructionTask(build_model(tiny_config(kind)), {"mse": 1.0, "commitment": 0.25}).cuda().train()
    optimizer = torch.optim.AdamW(task.parameters(), lr=1e-2, fused=True)
    signal = torch.rand(4, task.model.media.channels, *(64,) * task.model.ndim, device="cuda") - 0.5
    losses = []
    for _ in range(40):
        with torch.autocast("cuda", torch.bfloat16):
            outcome = task(signal)
        total = task.total(outcome["losses"])
        total.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(total.item())
    assert losses[-1] < 0.9 * losses[0]
