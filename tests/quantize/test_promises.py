"""Where other libraries were seen to fail, each failure a test; those that hold for every kind are in conformance."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from codec.quantize import NonFiniteError, Quantizer
from codec.quantize.build import build_quantizer, parse_quantizer
from codec.quantize.ema import EMAQuantizer
from codec.quantize.residual import ResidualQuantizer
from tests.quantize.kinds import DIM, SPECS, build, latents, trained
from tests.references.vector_quantizer import MovingAverageCodebook

LENGTHS = torch.tensor([20, 7, 0])
MASK = torch.arange(20) < LENGTHS[:, None]


def _quantizer(dim: int, **options: Any) -> Quantizer:
    return build_quantizer(parse_quantizer(options), dim)


@pytest.mark.parametrize("name", ["ema-projected", "multihead", "multihead-projected", "ema-cosine", "gradient-cosine"])
def test_a_masked_loss_is_that_of_the_real_positions_with_projections_heads_and_cosine(name: str) -> None:
    masked, alone = build(name).eval(), build(name).eval()
    inputs = latents(0)
    wanted = alone(inputs.movedim(1, -1)[MASK].t()[None]).losses
    found = masked(inputs, mask=MASK).losses
    for key, loss in wanted.items():
        torch.testing.assert_close(found[key], loss, rtol=1e-5, atol=1e-6)  # sums in another order


@pytest.mark.parametrize("name", ["ema-rotation", "gradient-cosine", "simvq-losses", "ibq-projected", "lfq", "bsq"])
def test_the_diversity_loss_ignores_padding_and_its_gradient_does(name: str) -> None:
    pulls = []
    for padding in (0.0, 50.0):
        quantizer = build(name)
        quantizer(latents(0))
        torch.manual_seed(0)
        inputs = torch.where(MASK[:, None], latents(1), padding).requires_grad_()
        loss = quantizer(inputs, mask=MASK).losses["diversity"]
        (pull,) = torch.autograd.grad(loss, inputs)
        pulls.append((loss.detach(), pull))
    assert torch.equal(pulls[0][0], pulls[1][0]) and float(pulls[0][0]) > 0
    assert torch.equal(pulls[0][1], pulls[1][1])
    assert not pulls[0][1].movedim(1, -1)[~MASK].any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", ["ema", "ema-cosine", "gradient", "residual", "multihead", "fsq", "lfq", "gumbel"])
def test_half_precision_modules_are_right_with_70000_vectors(name: str, dtype: torch.dtype) -> None:
    quantizer = build(name).to(dtype)
    inputs = latents(0, batch=7, length=10_000).to(dtype)
    result = quantizer(inputs)
    assert all(bool(torch.isfinite(figure)) for figure in (*result.losses.values(), *result.stats.values()))
    error = (result.latents.float() - inputs.float()).square().mean()
    if "fsq" not in name and "gumbel" not in name and "cosine" not in name:  # these measure in another space
        torch.testing.assert_close(result.stats["distortion"], error, rtol=2e-2, atol=0)  # rounding of the output
    counts = quantizer.state_dict()[next(key for key in quantizer.state_dict() if key.endswith("ema_counts"))]
    heads = quantizer.num_codebooks if name == "multihead" else 1
    once = counts if counts.dtype == torch.float32 else counts.float()
    assert counts.dtype == torch.float32 and float(once.sum()) > 100 * heads


def test_a_shared_codebook_decays_once_a_step_and_moves_by_all_its_stages() -> None:
    options = {"kind": "ema", "codebook_size": 6, "init": "normal", "restart_below": 0.0, "decay": 0.7}
    quantizer = _quantizer(3, kind="residual", num_codebooks=3, shared=True, codebook=options)
    assert isinstance(quantizer, ResidualQuantizer)
    (stage,) = quantizer.stages
    assert isinstance(stage, EMAQuantizer)
    oracle = MovingAverageCodebook(stage.codebook.double().numpy(), stage.ema_counts.double().numpy(), 0.7)
    for step in range(3):
        inputs = torch.randn(2, 3, 40, generator=torch.Generator().manual_seed(step))
        rows = inputs.movedim(1, -1).reshape(-1, 3).double()
        entries, seen = torch.from_numpy(oracle.codebook).clone(), []
        for _ in range(3):
            seen.append(rows)
            rows = rows - entries[torch.cdist(rows, entries).argmin(1)]
        quantizer(inputs)
        oracle.step(torch.cat(seen).numpy())
        torch.testing.assert_close(stage.ema_counts.double(), torch.from_numpy(oracle.counts), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(stage.codebook.double(), torch.from_numpy(oracle.codebook), rtol=1e-4, atol=1e-5)


class _Plain(nn.Module):
    def __init__(self, quantizer: Quantizer) -> None:
        super().__init__()
        self.quantizer = quantizer

    def run(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        result = self.quantizer(inputs)
        return result.latents.square().sum(), sum(result.losses.values(), torch.zeros(()))

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        return self.run(inputs)


class _Checkpointed(_Plain):
    reentrant = False

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        result: Any = checkpoint(self.run, inputs, use_reentrant=self.reentrant)
        return result


class _CheckpointedReentrant(_Checkpointed):
    reentrant = True


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("wrap", [_Checkpointed, _CheckpointedReentrant])
def test_activation_checkpointing_updates_once_and_keeps_the_gradient(
    name: str, wrap: Callable[[Quantizer], _Plain]
) -> None:
    plain, checkpointed = _Plain(build(name)), wrap(build(name))
    for step in range(3):
        pulls = []
        for model in (plain, checkpointed):
            inputs = latents(5 * step).requires_grad_()
            torch.manual_seed(step)
            output, losses = model(inputs)
            (output + losses).backward()
            pulls.append(inputs.grad)
        torch.testing.assert_close(pulls[1], pulls[0], rtol=1e-6, atol=1e-6)
    for key, tensor in plain.state_dict().items():
        assert torch.equal(tensor, checkpointed.state_dict()[key]), key


@pytest.mark.parametrize("name", ["ema", "gradient", "residual-shared", "gumbel"])
def test_activation_checkpointing_in_eval_and_after_loading_sees_the_codebook_as_it_is(name: str) -> None:
    plain, checkpointed = _Plain(build(name)), _Checkpointed(build(name))
    for model in (plain, checkpointed):
        for step in range(2):
            torch.manual_seed(step)
            model(latents(5 * step))
    for change in ("eval", "load"):
        if change == "load":
            state = {key: tensor * 2 for key, tensor in plain.state_dict().items() if tensor.is_floating_point()}
        for model in (plain, checkpointed):
            model.eval() if change == "eval" else model.load_state_dict(state, strict=False)
        pulls = []
        for model in (plain, checkpointed):
            inputs = latents(7).requires_grad_()
            output, losses = model(inputs)
            (output + losses).backward()
            pulls.append(inputs.grad)
        torch.testing.assert_close(pulls[1], pulls[0], rtol=1e-6, atol=1e-6)


def test_a_checkpoint_of_a_forward_before_the_last_is_refused_rather_than_wrong() -> None:
    for name in ("ema", "gradient", "residual"):
        model = _Checkpointed(build(name))
        output, _ = model(latents(0).requires_grad_())
        model(latents(9).requires_grad_())
        with pytest.raises(RuntimeError, match="run backward before the next training forward"):
            output.backward()


@pytest.mark.parametrize("kind", [{"kind": "fsq", "levels": [8] * 12}, {"kind": "lfq", "codebook_bits": 20}])
def test_codebooks_of_a_million_codes_and_more_use_kilobytes(kind: dict[str, Any]) -> None:
    quantizer = _quantizer(16, **kind)
    held = [*quantizer.parameters(), *quantizer.buffers()]
    assert quantizer.codebook_size >= 1 << 20
    assert sum(tensor.numel() * tensor.element_size() for tensor in held) < 16_384
    inputs = torch.randn(2, 16, 50)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        result = quantizer(inputs)
        assert torch.equal(quantizer.eval().decode(result.codes), quantizer(inputs).latents)
    assert max(abs(event.self_cpu_memory_usage) for event in profile.events() or []) < 1 << 18
    assert int(result.codes.max()) > 1 << 16


def test_one_nan_vector_among_thousands_raises_and_leaves_the_codebook_as_it_was() -> None:
    for name in ("ema", "ema-cosine", "fsq", "lfq", "grouped", "multihead", "residual-fsq"):
        quantizer = build(name)
        quantizer(latents(0))
        before = {key: tensor.clone() for key, tensor in quantizer.state_dict().items()}
        inputs = latents(1, batch=4, length=1000)
        inputs[3, 2, 999] = float("nan")
        with pytest.raises(NonFiniteError):
            quantizer(inputs)
        for key, tensor in quantizer.state_dict().items():
            assert torch.equal(tensor, before[key]), (name, key)


def test_a_value_too_large_to_square_raises_and_moves_no_group() -> None:
    for name in ("grouped", "grouped-residual", "multihead", "residual"):
        quantizer = build(name)
        quantizer(latents(0))
        before = {key: tensor.clone() for key, tensor in quantizer.state_dict().items()}
        inputs = latents(1)
        inputs[0, DIM - 1, 3] = 1e25
        with pytest.raises(NonFiniteError, match="NaN or infinity"):
            quantizer(inputs)
        for key, tensor in quantizer.state_dict().items():
            assert torch.equal(tensor, before[key]), (name, key)


@pytest.mark.parametrize("name", ["ema-projected", "residual", "simvq", "gumbel", "ibq", "lfq-projected"])
def test_short_products_asked_for_globally_change_no_code(name: str) -> None:
    quantizer = trained(name)
    inputs = latents(0, length=4000)
    wanted = quantizer.encode(inputs)
    torch.set_float32_matmul_precision("medium")
    try:
        assert torch.equal(quantizer.encode(inputs), wanted)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")


def test_fewer_vectors_than_codes_at_the_start_give_distinct_codes() -> None:
    for name in ("ema", "gradient", "residual", "multihead", "ema-projected"):
        quantizer = build(name)
        quantizer(torch.randn(1, DIM, 4, generator=torch.Generator().manual_seed(0)))
        codebook = next(tensor for key, tensor in quantizer.state_dict().items() if key.endswith("codebook"))
        assert len(torch.unique(codebook, dim=0)) == len(codebook)


def test_padding_in_codes_is_minus_one_and_decodes_to_what_the_forward_pass_gave() -> None:
    for name in SPECS:
        quantizer = trained(name, steps=1)
        result = quantizer(latents(1), mask=MASK)
        assert torch.equal(quantizer.decode(result.codes), result.latents), name
