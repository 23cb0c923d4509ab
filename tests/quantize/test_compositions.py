"""Compositions are nothing but their parts: groups, heads, and stacks that share one codebook."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from codec.core.errors import UserError
from codec.quantize import Quantizer
from codec.quantize.build import build_quantizer, parse_quantizer
from codec.quantize.ema import EMAQuantizer
from codec.quantize.grouped import GroupedQuantizer
from codec.quantize.learned import LearnedCodebook
from codec.quantize.multihead import MultiHeadQuantizer
from codec.quantize.residual import ResidualQuantizer
from tests.quantize.kinds import DIM, SPECS, build, latents, trained
from tests.references.vector_quantizer import MovingAverageCodebook, nearest, product_codes, residuals

GROUPED = [name for name, spec in SPECS.items() if spec["kind"] == "grouped"]
STACKED = [name for name, spec in SPECS.items() if spec["kind"] in ("residual", "grouped", "multihead")]
PLAIN = {"kind": "ema", "codebook_size": 8, "init": "normal", "restart_below": 0.0}


def _build(config: dict[str, object], *, dim: int = DIM, seed: int = 0) -> Quantizer:
    torch.manual_seed(seed)
    return build_quantizer(parse_quantizer(config), dim)


def _rows(tensor: Tensor) -> Tensor:
    return tensor.movedim(1, -1).reshape(-1, tensor.shape[1])


def _exact(tensor: Tensor) -> np.ndarray:
    return tensor.detach().double().numpy()


# Every composition


SEARCHED = ("residual-paths", "residual-rated")
GREEDY = [name for name in STACKED if name not in SEARCHED]
"""Those whose `encode` takes the codes that training would."""


@pytest.mark.parametrize("name", GREEDY)
def test_fewer_codes_are_a_prefix_of_more(name: str) -> None:
    quantizer, inputs = trained(name), latents(7)
    whole = quantizer(inputs)
    for active in range(1, quantizer.num_codebooks + 1):
        part = quantizer(inputs, num_active=active)
        assert torch.equal(part.codes, whole.codes[:, :active])
        assert torch.equal(quantizer.encode(inputs, num_active=active), part.codes)
        assert torch.equal(quantizer.decode(part.codes), part.latents)


@pytest.mark.parametrize("name", STACKED)
def test_training_with_fewer_codes_leaves_unused_parts_alone(name: str) -> None:
    quantizer = build(name)
    counts = {key: value.clone() for key, value in quantizer.state_dict().items() if key.endswith("ema_counts")}
    result = quantizer(latents(0), num_active=1)
    assert result.codes.shape[1] == 1
    changed = [key for key, value in counts.items() if not torch.equal(value, quantizer.state_dict()[key])]
    assert len(changed) == 1


@pytest.mark.parametrize("name", GREEDY)
def test_half_precision_stacks_train_and_round_trip(name: str) -> None:
    for dtype in (torch.bfloat16, torch.float16):
        quantizer = build(name).to(dtype)
        for step in range(2):
            inputs = latents(step).to(dtype).requires_grad_()
            result = quantizer(inputs)
            (result.latents.float().square().sum() + sum(result.losses.values())).backward()
            assert inputs.grad is not None and bool(inputs.grad.isfinite().all())
        quantizer.eval()
        result = quantizer(latents(2).to(dtype))
        assert torch.equal(quantizer.encode(latents(2).to(dtype)), result.codes)
        assert torch.equal(quantizer.decode(result.codes), result.latents)


# Groups


@settings(max_examples=20)
@given(seed=st.integers(0, 1000), groups=st.sampled_from([1, 2, 3, 6]))
def test_groups_are_product_quantization(seed: int, groups: int) -> None:
    quantizer = _build({"kind": "grouped", "num_groups": groups, "group": PLAIN}, seed=seed).eval()
    assert isinstance(quantizer, GroupedQuantizer)
    books = [_exact(group.codebook) for group in quantizer.groups if isinstance(group, EMAQuantizer)]
    inputs = torch.randn(2, DIM, 10)
    codes, vectors = product_codes(_exact(_rows(inputs)), books)
    result = quantizer(inputs)
    assert np.array_equal(_rows(result.codes).numpy(), codes)
    np.testing.assert_array_equal(_rows(result.latents).double().numpy(), vectors)
    error = np.mean((_exact(_rows(inputs)) - vectors) ** 2)
    np.testing.assert_allclose(float(result.stats["distortion"]), error, rtol=1e-5)  # a float32 sum
    np.testing.assert_allclose(float(result.losses["commitment"]), error, rtol=1e-5)


@pytest.mark.parametrize("name", GROUPED)
@pytest.mark.parametrize("masked", [True, False])
def test_groups_train_as_if_each_were_alone(name: str, masked: bool) -> None:
    whole, apart = build(name), build(name)
    assert isinstance(apart, GroupedQuantizer)
    number = len(apart.groups)
    mask = torch.rand(3, 20, generator=torch.Generator().manual_seed(0)) < 0.6 if masked else None
    for step in range(4):
        inputs, alone = latents(step).requires_grad_(), latents(step).requires_grad_()
        torch.manual_seed(step)
        result = whole(inputs, mask=mask)
        torch.manual_seed(step)
        parts = [group(part, mask=mask) for group, part in zip(apart.groups, alone.chunk(number, 1), strict=True)]
        assert torch.equal(result.latents, torch.cat([part.latents for part in parts], 1))
        for index, part in enumerate(parts):
            assert torch.equal(result.codes[:, index::number], part.codes)
        for key, loss in result.losses.items():
            torch.testing.assert_close(loss, torch.stack([part.losses[key] for part in parts]).mean())
        for key in ("usage", "perplexity", "distortion"):
            for index, part in enumerate(parts):
                assert torch.equal(result.stats[f"{key}/{index}"], part.stats[key])
        left = result.latents.square().sum() + number * sum(result.losses.values())
        right = torch.stack([part.latents.square().sum() + sum(part.losses.values()) for part in parts]).sum()
        (found,), (wanted,) = torch.autograd.grad(left, inputs), torch.autograd.grad(right, alone)
        torch.testing.assert_close(found, wanted)
    for key, value in apart.state_dict().items():
        assert torch.equal(whole.state_dict()[key], value), key


def test_codes_of_grouped_stacks_are_listed_stage_by_stage() -> None:
    quantizer, inputs = trained("grouped-residual"), latents(5)
    assert isinstance(quantizer, GroupedQuantizer)
    codes = quantizer.encode(inputs)
    for index, (group, part) in enumerate(zip(quantizer.groups, inputs.chunk(3, 1), strict=True)):
        assert isinstance(group, Quantizer)
        own = group.encode(part)
        for stage in range(2):
            assert torch.equal(codes[:, 3 * stage + index], own[:, stage])
            assert torch.equal(quantizer.code_counts()[3 * stage + index], group.code_counts()[stage])


@pytest.mark.parametrize("active", range(1, 7))
def test_groups_that_no_code_is_left_for_are_zero(active: int) -> None:
    quantizer, inputs = trained("grouped-residual"), latents(6)
    assert isinstance(quantizer, GroupedQuantizer)
    result = quantizer(inputs, num_active=active)
    stages = [sum(1 for code in range(active) if code % 3 == index) for index in range(3)]
    for group, part, number, found in zip(
        quantizer.groups, inputs.chunk(3, 1), stages, result.latents.chunk(3, 1), strict=True
    ):
        if number:
            assert torch.equal(found, group(part, num_active=number).latents)
        else:
            assert not found.any()


def test_channels_that_do_not_divide_are_refused() -> None:
    for kind, key, part in (("grouped", "num_groups", "group"), ("multihead", "num_heads", "codebook")):
        with pytest.raises(UserError, match=f"{key} is 4"):
            _build({"kind": kind, key: 4, part: PLAIN})


# Heads


@settings(max_examples=20)
@given(seed=st.integers(0, 1000), heads=st.sampled_from([1, 2, 3, 6]), space=st.lists(st.integers(1, 4), max_size=2))
def test_heads_are_product_quantization_with_one_codebook(seed: int, heads: int, space: list[int]) -> None:
    quantizer = _build({"kind": "multihead", "num_heads": heads, "codebook": PLAIN}, seed=seed).eval()
    assert isinstance(quantizer, MultiHeadQuantizer) and isinstance(quantizer.shared, EMAQuantizer)
    inputs = torch.randn(3, DIM, *space)
    codes, vectors = product_codes(_exact(_rows(inputs)), [_exact(quantizer.shared.codebook)] * heads)
    result = quantizer(inputs)
    assert np.array_equal(_rows(result.codes).numpy(), codes)
    np.testing.assert_array_equal(_rows(result.latents).double().numpy(), vectors)


@pytest.mark.parametrize("masked", [True, False])
def test_heads_move_one_codebook_by_all_their_vectors(masked: bool) -> None:
    config = {"kind": "multihead", "num_heads": 3, "codebook": {**PLAIN, "decay": 0.8}}
    quantizer = _build(config)
    assert isinstance(quantizer, MultiHeadQuantizer) and isinstance(quantizer.shared, EMAQuantizer)
    shared = quantizer.shared
    oracle = MovingAverageCodebook(_exact(shared.codebook), _exact(shared.ema_counts), 0.8)
    for step in range(3):
        inputs = latents(step)
        mask = torch.rand(3, 20, generator=torch.Generator().manual_seed(step)) < (0.5 if masked else 2)
        result = quantizer(inputs, mask=mask)
        real = inputs.movedim(1, -1)[mask]
        codes = oracle.step(_exact(real.reshape(-1, DIM // 3)))
        assert np.array_equal(result.codes.movedim(1, -1)[mask].reshape(-1).numpy(), codes)
        assert bool((result.codes.movedim(1, -1)[~mask] == -1).all())
        assert float(result.stats["usage"]) == pytest.approx(len(set(codes.tolist())) / 8)
    np.testing.assert_allclose(shared.ema_counts.numpy(), oracle.counts, rtol=1e-5, atol=1e-6)  # float32 roundings
    np.testing.assert_allclose(shared.codebook.numpy(), oracle.codebook, rtol=1e-4, atol=1e-5)


def test_heads_count_together() -> None:
    quantizer = _build({"kind": "multihead", "num_heads": 2, "codebook": {**PLAIN, "decay": 0.0}})
    assert isinstance(quantizer, MultiHeadQuantizer)
    codes = Counter(quantizer(latents(0)).codes.reshape(-1).tolist())
    assert quantizer.shared.ema_counts.tolist() == [codes[code] for code in range(8)]
    histogram = quantizer.code_counts()
    assert histogram.shape == (2, 8) and torch.equal(histogram[0], histogram[1])


def test_heads_beyond_the_active_are_zero_and_learn_nothing() -> None:
    config = {"kind": "multihead", "num_heads": 3, "codebook": {**PLAIN, "decay": 0.0}}
    quantizer, inputs = _build(config), latents(0).requires_grad_()
    assert isinstance(quantizer, MultiHeadQuantizer)
    result = quantizer(inputs, num_active=2)
    assert not result.latents[:, 4:].any() and float(quantizer.shared.ema_counts.sum()) == 2 * 60
    (gradient,) = torch.autograd.grad(result.latents.sum() + result.losses["commitment"], inputs)
    assert gradient[:, :4].any() and not gradient[:, 4:].any()


# Residual stacks that share one codebook


def _shared(seed: int, *, stages: int = 3, dropout: float = 0.0, **options: object) -> tuple[Quantizer, EMAQuantizer]:
    codebook = {**PLAIN, **options}
    config = {"kind": "residual", "num_codebooks": stages, "shared": True, "dropout": dropout, "codebook": codebook}
    quantizer = _build(config, seed=seed)
    assert isinstance(quantizer, ResidualQuantizer) and len(quantizer.stages) == 1
    stage = quantizer.stages[0]
    assert isinstance(stage, EMAQuantizer)
    return quantizer, stage


@settings(max_examples=20)
@given(
    seed=st.integers(0, 1000),
    masked=st.booleans(),
    dropout=st.sampled_from([0.0, 0.8]),
    decay=st.sampled_from([0.0, 0.9]),
)
def test_a_shared_codebook_moves_once_by_what_all_stages_saw(
    seed: int, masked: bool, dropout: float, decay: float
) -> None:
    """The moving average of the union of the stages' residuals, all by the entries as they were before the step."""
    quantizer, stage = _shared(seed, dropout=dropout, decay=decay)
    oracle = MovingAverageCodebook(_exact(stage.codebook), _exact(stage.ema_counts), decay)
    for _ in range(3):
        inputs = torch.randn(3, DIM, 7)
        mask = torch.rand(3, 7) < 0.6 if masked else torch.ones(3, 7, dtype=torch.bool)
        if not mask.any():
            continue
        result = quantizer(inputs, mask=mask if masked else None)
        codes = _rows(result.codes).numpy()
        seen = residuals(_exact(_rows(inputs)), [oracle.codebook] * 3)
        used = [codes[:, number] >= 0 for number in range(3)]
        found = np.concatenate([codes[kept, number] for number, kept in enumerate(used)])
        union = np.concatenate([rows[kept] for rows, kept in zip(seen, used, strict=True)])
        assert np.array_equal(found, oracle.step(union))
        assert np.array_equal(used[0], mask.reshape(-1).numpy())
    np.testing.assert_allclose(stage.ema_counts.numpy(), oracle.counts, rtol=1e-5, atol=1e-6)  # float32 roundings
    np.testing.assert_allclose(stage.codebook.numpy(), oracle.codebook, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("masked", [True, False])
def test_a_shared_codebook_restarts_with_vectors_that_a_stage_saw(masked: bool) -> None:
    options = {"restart_below": 0.9, "restart_cooldown": 5, "decay": 0.5}
    restarted = 0
    for seed in range(5):
        quantizer, stage = _shared(seed, dropout=1.0, **options)
        before = _exact(stage.codebook).copy()
        inputs = torch.randn(6, DIM, 10) * 3
        mask = torch.rand(6, 10) < 0.7 if masked else None
        result = quantizer(inputs, mask=mask)
        codes = _rows(result.codes).numpy()
        seen = residuals(_exact(_rows(inputs)), [before] * 3)
        union = np.concatenate([rows[codes[:, number] >= 0] for number, rows in enumerate(seen)])
        fresh = _exact(stage.codebook[stage.cooldown == 5])
        assert len(fresh) == int(result.stats["restarts"])
        distance = ((fresh - union[nearest(fresh, union)]) ** 2).sum(1)
        assert bool((distance < 1e-9).all())  # residuals in float32
        restarted += len(fresh)
    assert restarted > 0


def test_restarts_of_a_shared_codebook_count_once() -> None:
    quantizer, _ = _shared(1, restart_below=0.9)
    stats = quantizer(latents(0)).stats
    assert float(stats["restarts"]) == float(stats["restarts/0"]) > 0
    assert float(stats["restarts/1"]) == float(stats["restarts/2"]) == 0


def test_stages_share_codes_and_histogram_in_eval() -> None:
    quantizer, stage = _shared(0, stages=4)
    quantizer(latents(0))
    quantizer.eval()
    result = quantizer(latents(1))
    book, exact = _exact(stage.codebook), _exact(_rows(latents(1)))
    wanted = [nearest(rows, book) for rows in residuals(exact, [book] * 4)]
    assert np.array_equal(_rows(result.codes).numpy(), np.stack(wanted, 1))
    assert quantizer.code_counts().shape == (4, 8) and len(quantizer.code_counts().unique(dim=0)) == 1


@pytest.mark.parametrize("kind", ["fsq", "lfq", "bsq"])
def test_stages_without_a_codebook_have_nothing_to_share(kind: str) -> None:
    with pytest.raises(UserError, match="shared"):
        parse_quantizer({"kind": "residual", "shared": True, "codebook": {"kind": kind}})


@pytest.mark.parametrize("kind", ["gradient", "simvq", "ibq", "gumbel"])
def test_a_shared_codebook_of_any_kind_learns_from_every_stage(kind: str) -> None:
    codebook = {"kind": kind, "codebook_size": 8, "decay": 0.0}
    quantizer = _build({"kind": "residual", "num_codebooks": 3, "shared": True, "codebook": codebook})
    assert isinstance(quantizer, ResidualQuantizer) and len(quantizer.stages) == 1
    if isinstance(quantizer.stages[0], LearnedCodebook):
        quantizer(latents(1))  # fills it
    result = quantizer(latents(0))
    counts = quantizer.state_dict()["stages.0.ema_counts"]
    codes = Counter(result.codes.reshape(-1).tolist())
    if kind != "gradient":  # restarts write counts of their own
        assert counts.tolist() == [codes[code] for code in range(8)]
    (result.latents.square().sum() + sum(result.losses.values())).backward()
    for name, parameter in quantizer.named_parameters():
        assert parameter.grad is not None and parameter.grad.any(), name
    if kind == "gumbel":
        assert int(quantizer.state_dict()["stages.0.step"]) == 1
