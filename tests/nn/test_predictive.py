"""Contrastive prediction against a slow reading of its equation."""

import math

import pytest
import torch

from codec.nn.predictive import Predictor, PredictorConfig


def _predictor(steps=3, temperature=0.5):
    torch.manual_seed(0)
    config = PredictorConfig(width=8, kernel=3, dilations=(1,), steps=steps, temperature=temperature)
    return Predictor(config, latent_dim=4)


def _slow(predictor, past, future, real):
    """Equation 4 of van den Oord et al. 2018, one prediction at a time."""
    config, (rows, _, count) = predictor.config, past.shape
    maps = predictor.maps(predictor.context(past))
    by_step = []
    for ahead in range(1, min(config.steps, count - 1) + 1):
        terms = []
        for row in range(rows):
            for at in range(count - ahead):
                if not real[row, at + ahead]:
                    continue
                guess = maps[row, 4 * (ahead - 1) : 4 * ahead, at]
                cosines = [
                    torch.cosine_similarity(guess, future[row, :, other], dim=0) / config.temperature
                    for other in range(count)
                    if real[row, other]
                ]
                right = torch.cosine_similarity(guess, future[row, :, at + ahead], dim=0) / config.temperature
                terms.append(torch.stack(cosines).logsumexp(0) - right)
        by_step.append(torch.stack(terms).mean())
    return torch.stack(by_step).mean()


@pytest.mark.parametrize("masked", [False, True])
def test_the_loss_is_that_of_the_equation(masked):
    predictor = _predictor()
    past, future = torch.randn(2, 2, 4, 7, generator=torch.Generator().manual_seed(1))
    real = torch.ones(2, 7, dtype=torch.bool)
    real[1, 4:] = not masked
    loss, _ = predictor(past, future, real if masked else None)
    torch.testing.assert_close(loss, _slow(predictor, past, future, real))


def test_latents_that_are_all_alike_cannot_be_told_apart():
    loss, _ = _predictor()(torch.randn(1, 4, 6), torch.ones(1, 4, 6))
    assert loss.item() == pytest.approx(math.log(6), abs=1e-5)


def test_predictions_know_nothing_of_what_they_predict():
    predictor, past = _predictor(steps=1), torch.randn(1, 4, 9)
    changed = past.clone()
    changed[..., 5:] += 1
    before, after = (predictor.maps(predictor.context(x)) for x in (past, changed))
    assert torch.equal(before[..., :5], after[..., :5]) and not torch.equal(before[..., 5:], after[..., 5:])
