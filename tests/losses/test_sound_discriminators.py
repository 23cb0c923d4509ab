"""Judges of sound: what they judge together, and what the losses make of their judgements."""

import pytest
import torch

from codec.losses.adversarial import feature_distance
from codec.losses.judgement import Judgement
from codec.losses.sound_discriminators import SoundDiscriminator, SoundDiscriminatorConfig

TINY = SoundDiscriminatorConfig(windows=(64, 32), spectral_width=4, periods=(2, 3), period_width=2, period_limit=8)


def test_every_judge_gives_logits_and_features_of_signals_as_short_as_it_says():
    judgement = SoundDiscriminator(TINY)(torch.randn(3, 2, TINY.smallest))
    assert len(judgement.logits) == len(judgement.features) == 4
    assert all(logits.shape[:2] == (6, 1) and logits.numel() for logits in judgement.logits)
    assert [len(features) for features in judgement.features] == [5, 5, 5, 5]


def test_a_signals_judgement_does_not_depend_on_its_company():
    judge = SoundDiscriminator(TINY)
    signals = torch.randn(4, 1, 500)
    first, second = judge(signals).halves()
    for half, alone in ((first, judge(signals[:2])), (second, judge(signals[2:]))):
        for got, wanted in zip(half.logits, alone.logits, strict=True):
            torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)
        for got, wanted in zip(sum(half.features, ()), sum(alone.features, ()), strict=True):
            torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)


def test_a_spectral_judge_sees_only_its_windows_and_a_period_judge_only_its_own_phase():
    judge = SoundDiscriminator(SoundDiscriminatorConfig(windows=(), spectral_width=2, periods=(3,), period_width=2))
    signal = torch.randn(1, 1, 300, requires_grad=True)
    logits = judge(signal).logits[0]  # [1, 1, ..., 3]
    logits[..., 1].sum().backward()
    assert signal.grad is not None
    seen = signal.grad[0, 0].nonzero().flatten() % 3
    assert set(seen.tolist()) == {1}


def test_feature_distance_is_relative_and_lets_no_gradient_into_the_real():
    fake, real = torch.tensor([[1.0, 3.0]], requires_grad=True), torch.tensor([[2.0, 2.0]], requires_grad=True)
    loss = feature_distance(Judgement((), ((fake,),)), Judgement((), ((real,),)))
    assert loss.item() == pytest.approx(0.5)
    loss.backward()
    assert real.grad is None and fake.grad is not None
