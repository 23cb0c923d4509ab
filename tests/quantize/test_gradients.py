"""Gradients reach the encoder, the codebook and the projections as the papers say, and nothing else."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from codec.quantize.build import build_quantizer, parse_quantizer
from codec.quantize.codebook import CodebookQuantizer
from codec.quantize.gradient import GradientQuantizer
from codec.quantize.residual import ResidualQuantizer
from tests.quantize.kinds import DIM, SPECS, build, latents


def test_output_gradient_passes_straight_through() -> None:
    for name in ("ema", "gradient", "residual"):
        inputs, weight = latents(0).requires_grad_(), latents(1)
        (build(name)(inputs).latents * weight).sum().backward()
        assert inputs.grad is not None
        torch.testing.assert_close(inputs.grad, weight, rtol=1e-6, atol=1e-6)


def test_commitment_pulls_the_encoder_and_the_codebook_loss_the_codebook() -> None:
    quantizer = build("gradient").eval()
    assert isinstance(quantizer, GradientQuantizer)
    inputs = latents(0).requires_grad_()
    result = quantizer(inputs)
    error = (inputs - result.latents).detach()
    (pull,) = torch.autograd.grad(result.losses["commitment"], inputs, retain_graph=True)
    torch.testing.assert_close(pull, 2 * error / error.numel())
    assert torch.autograd.grad(result.losses["codebook"], inputs, allow_unused=True, retain_graph=True) == (None,)
    (move,) = torch.autograd.grad(result.losses["codebook"], [quantizer.codebook])
    wanted = torch.zeros_like(move).index_add_(
        0, result.codes.reshape(-1), (-2 * error / error.numel()).movedim(1, -1).reshape(-1, DIM)
    )
    torch.testing.assert_close(move, wanted)


def test_every_residual_stage_pulls_the_encoder() -> None:
    quantizer = build("residual").eval()
    assert isinstance(quantizer, ResidualQuantizer)
    inputs = latents(0).requires_grad_()
    result = quantizer(inputs)
    (pull,) = torch.autograd.grad(result.losses["commitment"], inputs)
    wanted, left = torch.zeros_like(inputs), inputs.detach()
    for number in range(3):
        stage = quantizer.stages[number]
        assert isinstance(stage, CodebookQuantizer)
        left = left - stage.decode(result.codes[:, number : number + 1])
        wanted += 2 * left / left.numel() / 3
    torch.testing.assert_close(pull, wanted)


@pytest.mark.parametrize("name", [name for name in SPECS if name.startswith(("residual", "grouped-residual"))])
def test_every_loss_of_every_residual_stage_pulls_the_encoder(name: str) -> None:
    quantizer = build(name)
    for number in range(1, quantizer.num_codebooks + 1):
        pulls = {}
        for active in (number - 1, number):
            if active == 0:
                continue
            inputs = latents(0).requires_grad_()
            for loss_name, loss in quantizer.eval()(inputs, num_active=active).losses.items():
                if loss_name != "codebook":
                    (pulls[loss_name, active],) = torch.autograd.grad(loss, inputs, retain_graph=True)
        for (loss_name, active), pull in pulls.items():
            before = pulls.get((loss_name, active - 1), torch.zeros_like(pull)) * (active - 1) / active
            if active == number:
                assert float((pull - before).abs().max()) > 0, (loss_name, number)


def test_a_decoder_may_change_the_output_in_place() -> None:
    for name in SPECS:
        quantizer = build(name)
        for training in (True, False):
            inputs = latents(0).requires_grad_()
            output = torch.relu_(quantizer.train(training)(inputs).latents)
            output.sum().backward()
            assert float(output.detach().min()) >= 0


def test_a_second_derivative_of_a_loss_is_refused_rather_than_wrong() -> None:
    inputs = latents(0).requires_grad_()
    result = build("ema").eval()(inputs)
    with pytest.raises(RuntimeError, match="no second derivative"):
        torch.autograd.grad(result.losses["commitment"], inputs, create_graph=True)


def test_projected_stages_chain_their_gradients() -> None:
    quantizer = build("residual-gradient").eval()
    assert isinstance(quantizer, ResidualQuantizer)
    inputs, weight = latents(0).requires_grad_(), latents(1)
    result = quantizer(inputs)
    (gradient,) = torch.autograd.grad((result.latents * weight).sum(), inputs, retain_graph=True)
    chain = torch.eye(DIM)
    for stage in quantizer.stages:
        assert isinstance(stage, CodebookQuantizer) and stage.project_in and stage.project_out
        chain = (torch.eye(DIM) - stage.project_out.weight @ stage.project_in.weight) @ chain
    torch.testing.assert_close(gradient, torch.einsum("bdt,de->bet", weight, torch.eye(DIM) - chain))
    for parameter in quantizer.parameters():
        loss = (result.latents * weight).sum() + sum(result.losses.values())
        (pull,) = torch.autograd.grad(loss, parameter, retain_graph=True)
        assert float(pull.abs().sum()) > 0


def test_a_restart_does_not_spoil_the_backward_pass_of_its_step() -> None:
    for name in ("gradient", "gradient-cosine", "gradient-diveq"):
        quantizer, restarts = build(name), 0.0
        for step in range(6):
            inputs = latents(5 * step).requires_grad_()
            result = quantizer(inputs)
            (result.latents.square().sum() + sum(result.losses.values())).backward()
            restarts += float(result.stats["restarts"])
        assert restarts > 0


def test_padding_gets_no_gradient() -> None:
    for name in ("gradient", "residual", "residual-gradient"):
        inputs = latents(0).requires_grad_()
        mask = torch.rand(3, 20, generator=torch.Generator().manual_seed(0)) < 0.5
        result = build(name)(inputs, mask=mask)
        (result.latents.square().sum() + sum(result.losses.values())).backward()
        assert inputs.grad is not None
        assert not inputs.grad.movedim(1, -1)[~mask].any()
        assert inputs.grad.movedim(1, -1)[mask].any(-1).all()


def test_a_gradient_codebook_learns_clusters_with_an_optimiser() -> None:
    torch.manual_seed(0)
    config = {"kind": "gradient", "codebook_size": 5, "init": "normal"}
    quantizer = build_quantizer(parse_quantizer(config), DIM)
    optimiser = torch.optim.Adam(quantizer.parameters(), 0.05)
    for step in range(150):
        loss = quantizer(latents(0, length=100)).losses["codebook"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        torch.manual_seed(step)
    assert float(F.mse_loss(quantizer(latents(0, length=100)).latents, latents(0, length=100))) < 0.12  # noise 0.09
