"""What holds for every kind of quantizer; a new kind that is not in `kinds.SPECS` fails here."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from codec.core.errors import UserError
from codec.quantize import NonFiniteError, Quantizer
from codec.quantize.build import KINDS, QuantizerConfig, build_quantizer, parse_quantizer
from tests.quantize.kinds import DETERMINISTIC, DIM, SPECS, build, latents, trained

every_kind = pytest.mark.parametrize("name", SPECS)
STATS = {"usage", "perplexity", "distortion", "restarts", "running_usage", "running_perplexity"}


def _state(quantizer: Quantizer) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in quantizer.state_dict().items()}


def _assert_same_state(left: dict[str, Tensor], right: dict[str, Tensor]) -> None:
    for name, tensor in left.items():
        assert torch.equal(tensor, right[name]), name


def test_every_registered_kind_is_covered() -> None:
    assert {spec["kind"] for spec in SPECS.values()} == set(KINDS)
    accepted = QuantizerConfig.__origin__.__args__  # pyright: ignore[reportAttributeAccessIssue]
    assert set(accepted) == set(KINDS.values())


@every_kind
@settings(max_examples=10)
@given(seed=st.integers(0, 1000), batch=st.integers(1, 3), space=st.lists(st.integers(1, 5), max_size=3))
def test_decoded_codes_equal_the_quantized_latents(name: str, seed: int, batch: int, space: list[int]) -> None:
    quantizer = trained(name)
    inputs = torch.randn(batch, DIM, *space, generator=torch.Generator().manual_seed(seed)) * 3
    result = quantizer(inputs)
    assert result.codes.shape == (batch, quantizer.num_codebooks, *space)
    assert result.codes.dtype == torch.int64
    assert int(result.codes.min()) >= 0 and int(result.codes.max()) < quantizer.codebook_size
    if getattr(quantizer, "paths", 1) == 1:  # several paths are searched by `encode` alone
        assert torch.equal(quantizer.encode(inputs), result.codes)
    assert torch.equal(quantizer.decode(result.codes), result.latents)


@every_kind
@settings(max_examples=10)
@given(seed=st.integers(0, 1000))
def test_positions_are_independent(name: str, seed: int) -> None:
    quantizer, inputs = trained(name), latents(seed)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(seed))
    assert torch.equal(quantizer.encode(inputs[..., order]), quantizer.encode(inputs)[..., order])


@every_kind
def test_training_returns_losses_and_stats(name: str) -> None:
    quantizer = build(name)
    result = quantizer(latents(0))
    assert set(result.stats) >= STATS and tuple(result.losses) == quantizer.loss_names
    for figure in (*result.stats.values(), *result.losses.values()):
        assert figure.shape == () and bool(torch.isfinite(figure))
    assert not any(figure.requires_grad for figure in result.stats.values())
    assert result.latents.shape == latents(0).shape
    assert quantizer.code_counts().shape == (quantizer.num_codebooks, quantizer.codebook_size)
    assert int(quantizer.code_counts().min()) >= 1


@every_kind
def test_eval_changes_nothing_even_before_initialisation(name: str) -> None:
    quantizer = build(name).eval()
    before = _state(quantizer)
    quantizer(latents(0))
    quantizer.encode(latents(1))
    _assert_same_state(before, quantizer.state_dict())


@every_kind
def test_what_padding_holds_is_invisible(name: str) -> None:
    mask = torch.arange(20) < torch.tensor([20, 7, 0])[:, None]
    quiet, loud = build(name), build(name)
    for step in range(4):
        inputs = latents(step)
        torch.manual_seed(step)
        wanted = quiet(inputs, mask=mask)
        torch.manual_seed(step)
        found = loud(inputs.masked_fill(~mask[:, None], float("nan")), mask=mask)
        assert torch.equal(wanted.codes, found.codes)
        assert torch.equal(wanted.latents, found.latents)
        assert not found.latents.movedim(1, -1)[~mask].any()
        assert bool((found.codes.movedim(1, -1)[~mask] == -1).all())
        for record in ("losses", "stats"):
            for key, value in getattr(wanted, record).items():
                assert torch.equal(value, getattr(found, record)[key]), key
    _assert_same_state(quiet.state_dict(), loud.state_dict())


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_a_padded_batch_equals_its_real_positions_alone(name: str) -> None:
    mask = torch.arange(20) < torch.tensor([20, 7, 0])[:, None]
    padded, alone = build(name), build(name)
    for step in range(4):
        inputs = latents(step)
        torch.manual_seed(step)
        left = padded(inputs, mask=mask)
        torch.manual_seed(step)
        right = alone(inputs.movedim(1, -1)[mask].t()[None])
        assert torch.equal(left.codes.movedim(1, -1)[mask], right.codes[0].t())
        for key, value in right.losses.items() | right.stats.items():
            torch.testing.assert_close((left.losses | left.stats)[key], value, rtol=1e-4, atol=1e-5)
    for key, value in alone.state_dict().items():
        torch.testing.assert_close(padded.state_dict()[key], value, rtol=1e-4, atol=1e-5)


@every_kind
def test_a_mask_of_real_positions_only_is_no_mask(name: str) -> None:
    left, right = build(name), build(name)
    for step in range(3):
        torch.manual_seed(step)
        one = left(latents(step))
        torch.manual_seed(step)
        two = right(latents(step), mask=torch.ones(3, 20, dtype=torch.bool))
        torch.testing.assert_close(one.losses, two.losses)
        torch.testing.assert_close(one.stats, two.stats)
    _assert_same_state(left.state_dict(), right.state_dict())


@every_kind
def test_a_batch_of_padding_is_legal_and_changes_nothing(name: str) -> None:
    quantizer = build(name)
    nothing = torch.zeros(3, 20, dtype=torch.bool)
    for _ in range(2):
        before = _state(quantizer)
        inputs = latents(0).requires_grad_()
        result = quantizer(inputs, mask=nothing)
        losses = {name: float(loss.detach()) for name, loss in result.losses.items()}
        assert all(loss == 0 for name, loss in losses.items() if name != "orthogonality")  # that of the entries alone
        assert all(bool(torch.isfinite(figure)) for figure in result.stats.values())
        (result.latents.sum() + sum(result.losses.values())).backward()
        assert inputs.grad is not None and not inputs.grad.any()
        _assert_same_state(before, quantizer.state_dict())
        quantizer(latents(0))


@every_kind
@pytest.mark.parametrize("poison", [float("nan"), float("inf"), -float("inf")])
def test_a_vector_that_is_not_finite_raises_and_harms_nothing(name: str, poison: float) -> None:
    bad = latents(5)
    bad[1, 2, 3] = poison
    for quantizer in (build(name), trained(name).train(), trained(name)):
        before = _state(quantizer)
        with pytest.raises(NonFiniteError, match="NaN or infinity"):
            quantizer(bad)
        _assert_same_state(before, quantizer.state_dict())
        with pytest.raises(NonFiniteError, match="NaN or infinity"):
            quantizer.encode(bad)
        quantizer(latents(5))


def _descend(quantizer: Quantizer, step: int) -> Tensor:
    """A training step of plain gradient descent; the codes it gave."""
    torch.manual_seed(step)
    result = quantizer(latents(step).requires_grad_())
    (result.latents.square().mean() + sum(result.losses.values())).backward()
    with torch.no_grad():
        for parameter in quantizer.parameters():
            if parameter.grad is not None:
                parameter -= 0.05 * parameter.grad
    quantizer.zero_grad()
    return result.codes


@every_kind
def test_saved_state_continues_bit_for_bit(name: str, tmp_path) -> None:
    whole, codes = build(name), []
    for step in range(6):
        if step == 3:
            torch.save(whole.state_dict(), tmp_path / "state.pt")
        codes.append(_descend(whole, step))
    resumed = build(name, seed=1)
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for step in range(3, 6):
        assert torch.equal(_descend(resumed, step), codes[step])
    _assert_same_state(whole.state_dict(), resumed.state_dict())


@every_kind
def test_loading_an_untrained_state_brings_initialisation_back(name: str) -> None:
    fresh = build(name)
    used = copy.deepcopy(fresh)
    used(latents(0))
    used.load_state_dict(fresh.state_dict())
    for quantizer in (fresh, used):
        torch.manual_seed(7)
        quantizer(latents(1))
    _assert_same_state(fresh.state_dict(), used.state_dict())


@every_kind
def test_autocast_changes_no_code_and_no_state(name: str) -> None:
    plain, cast = build(name), build(name)
    for step in range(3):
        torch.manual_seed(step)
        wanted = plain(latents(step))
        torch.manual_seed(step)
        with torch.autocast("cpu", torch.bfloat16):
            found = cast(latents(step))
        assert torch.equal(wanted.codes, found.codes)
        assert torch.equal(wanted.latents, found.latents)
    _assert_same_state(plain.state_dict(), cast.state_dict())


@every_kind
def test_half_precision_modules_work(name: str) -> None:
    for dtype in (torch.bfloat16, torch.float16):
        quantizer = build(name).to(dtype)
        result = quantizer(latents(0).to(dtype))
        assert result.latents.dtype == dtype
        quantizer.eval()
        codes = quantizer.encode(latents(1).to(dtype))
        assert quantizer.decode(codes).dtype == dtype
        assert all(loss.dtype == torch.float32 for loss in result.losses.values())


# Others project, or start away from the data.
@pytest.mark.parametrize("name", ["ema", "gradient", "residual", "multihead", "grouped-residual", "ema-rotation"])
def test_a_common_offset_of_1000_changes_no_code(name: str) -> None:
    plain, shifted = build(name), build(name)
    for step in range(10):
        torch.manual_seed(step)
        wanted = plain(latents(step))
        torch.manual_seed(step)
        found = shifted(latents(step) + 1000)
        torch.testing.assert_close(found.stats["distortion"], wanted.stats["distortion"], rtol=0.02, atol=0)
        assert bool((found.codes[:, 0] == wanted.codes[:, 0]).all())


@every_kind
def test_everything_runs_on_cuda_as_fake_tensors(name: str) -> None:
    with FakeTensorMode(), torch.device("cuda"):
        quantizer = build_quantizer(parse_quantizer(SPECS[name]), DIM)
        inputs = torch.randn(2, DIM, 4, 4, requires_grad=True)
        for mask in (None, torch.ones(2, 4, 4, dtype=torch.bool)):
            result = quantizer(inputs, mask=mask)
            loss = result.latents.sum() + sum(result.losses.values())
            figures = [loss, result.latents, result.codes, *result.stats.values(), *result.losses.values()]
            assert all(tensor.device.type == "cuda" for tensor in figures)
            assert result.latents.shape == inputs.shape
        quantizer.eval()
        quantizer(inputs)
        codes = quantizer.encode(inputs)
        assert quantizer.decode(codes).device.type == "cuda"


@pytest.mark.gpu
@every_kind
def test_everything_runs_on_a_real_gpu(name: str) -> None:
    quantizer = build(name).cuda()
    for step in range(4):
        torch.manual_seed(step)
        inputs = latents(step).cuda().requires_grad_()
        result = quantizer(inputs)
        (result.latents.sum() + sum(result.losses.values())).backward()
    quantizer.eval()
    codes = quantizer.encode(latents(0).cuda())
    assert torch.equal(copy.deepcopy(quantizer).cpu().decode(codes.cpu()), quantizer.decode(codes).cpu()) or (
        "projected" in name or "gradient" in name  # products of matrices round differently there
    )


@every_kind
def test_minus_one_decodes_to_zero(name: str) -> None:
    quantizer = trained(name)
    codes = quantizer.encode(latents(0))
    codes[0, :, 4:] = -1
    decoded = quantizer.decode(codes)
    assert not decoded[0, :, 4:].any() and decoded[0, :, :4].any()


@every_kind
def test_mistakes_are_named(name: str) -> None:
    quantizer = trained(name)
    with pytest.raises(UserError, match=rf"\[b, {DIM}, \*space\]"):
        quantizer.encode(torch.zeros(1, DIM + 1, 3))
    with pytest.raises(UserError, match="mask"):
        quantizer(torch.zeros(1, DIM, 3), mask=torch.ones(1, 4, dtype=torch.bool))
    with pytest.raises(UserError, match="codes run"):
        quantizer.decode(torch.full((1, 1, 3), quantizer.codebook_size))
    with pytest.raises(UserError, match="wanted integers"):
        quantizer.decode(torch.ones(1, 1, 3, dtype=torch.bool))
    small = torch.ones(1, 1, 3, dtype=torch.uint8)
    assert torch.equal(quantizer.decode(small), quantizer.decode(small.long()))
    with pytest.raises(UserError, match="num_active"):
        quantizer(latents(0), num_active=quantizer.num_codebooks + 1)


def test_a_wrong_key_is_named() -> None:
    with pytest.raises(UserError, match="codebok_size"):
        parse_quantizer({"kind": "ema", "codebok_size": 4})
    with pytest.raises(UserError, match=r"has kind 'vq': wanted one of 'ema', 'gradient'"):
        parse_quantizer({"kind": "vq"})
    with pytest.raises(UserError, match="has no 'kind'"):
        parse_quantizer({"codebook_size": 4})
    with pytest.raises(UserError, match="this is a dict: parse_quantizer it"):
        build_quantizer({"kind": "ema"}, 4)  # pyright: ignore[reportArgumentType]


def test_combinations_that_make_no_sense_are_refused() -> None:
    for tree, named in (
        ({"kind": "ema", "estimator": "diveq"}, "take kind 'gradient'"),
        ({"kind": "residual", "shared": True, "codebook": {"kind": "fsq"}}, "no codebook to share"),
        ({"kind": "fsq", "levels": [8, 1]}, "2 or more"),
    ):
        with pytest.raises(UserError, match=named):
            parse_quantizer(tree)
    with pytest.raises(UserError, match="num_heads is 4, which does not divide the 6 channels"):
        build_quantizer(parse_quantizer({"kind": "multihead", "num_heads": 4}), 6)
