"""Quantizers as graphs: compiled whole for training, exported whole for encoding and decoding."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from codec.quantize import Quantizer
from tests.quantize.kinds import DIM, ONE_OF_EACH, SPECS, build, latents, trained

QUICK = (*ONE_OF_EACH, "residual-paths", "residual-rated")

every_kind = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in SPECS]
)


class _Encode(nn.Module):
    def __init__(self, quantizer: Quantizer) -> None:
        super().__init__()
        self.quantizer = quantizer

    def forward(self, latents: Tensor) -> Tensor:
        return self.quantizer.encode(latents)


class _Decode(_Encode):
    def forward(self, latents: Tensor) -> Tensor:
        return self.quantizer.decode(latents)


def _train(quantizer: Callable[[Tensor], Any], seed: int) -> tuple[Tensor, Tensor]:
    inputs = latents(seed).requires_grad_()
    torch.manual_seed(seed)
    result = quantizer(inputs)
    (result.latents.square().sum() + sum(result.losses.values())).backward()
    assert inputs.grad is not None
    return result.latents, inputs.grad


@every_kind
def test_the_training_step_is_one_graph_with_the_same_result(name: str) -> None:
    torch.compiler.reset()
    plain = build(name)
    plain(latents(0))
    graphed = copy.deepcopy(plain)
    step = torch.compile(graphed, backend="aot_eager", fullgraph=True)
    for seed in (1, 2):
        wanted, pull = _train(plain, seed)
        found, found_pull = _train(step, seed)
        torch.testing.assert_close(found, wanted)
        torch.testing.assert_close(found_pull, pull)
    for key, tensor in plain.state_dict().items():
        torch.testing.assert_close(graphed.state_dict()[key], tensor)


@every_kind
def test_encode_and_decode_compile_to_one_graph_each(name: str) -> None:
    torch.compiler.reset()
    quantizer = trained(name)
    codes = quantizer.encode(latents(5))
    assert torch.equal(torch.compile(quantizer.encode, backend="eager", fullgraph=True)(latents(5)), codes)
    decode = torch.compile(quantizer.decode, backend="eager", fullgraph=True)
    assert torch.equal(decode(codes), quantizer.decode(codes))


@every_kind
def test_encode_and_decode_export_for_any_size_without_operators_of_ours_and_load_again(
    name: str, tmp_path: Path
) -> None:
    quantizer = trained(name)
    sizes = {0: torch.export.Dim("batch", min=1, max=64), 2: torch.export.Dim("length", min=1, max=4096)}
    codes = quantizer.encode(latents(5))
    encode = torch.export.export(_Encode(quantizer), (latents(5),), dynamic_shapes=(sizes,), strict=True)
    decode = torch.export.export(_Decode(quantizer), (codes,), dynamic_shapes=(sizes,), strict=True)
    assert "codec." not in f"{encode.graph} {decode.graph}"
    torch.export.save(encode, tmp_path / "encode.pt2")
    encode = torch.export.load(tmp_path / "encode.pt2")
    other = latents(6, batch=5, length=33)
    expected = quantizer.encode(other)
    assert torch.equal(encode.module()(other), expected)
    assert torch.equal(decode.module()(expected), quantizer.decode(expected))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ema-rotation", "gradient-diveq", "gumbel", "lfq", "residual", "multihead"])
def test_inductor_gives_the_same_training_step(name: str) -> None:
    torch.compiler.reset()
    plain = build(name)
    plain(latents(0))
    graphed = copy.deepcopy(plain)
    wanted, pull = _train(plain, 1)
    found, found_pull = _train(torch.compile(graphed, fullgraph=True), 1)
    if name != "gumbel":  # inductor draws its own random numbers
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)  # fused kernels round in another order
        torch.testing.assert_close(found_pull, pull, rtol=1e-4, atol=1e-5)
    assert found.shape[1] == DIM and bool(torch.isfinite(found_pull).all())
    for key, tensor in plain.state_dict().items():
        torch.testing.assert_close(graphed.state_dict()[key], tensor, rtol=1e-4, atol=1e-5)
