"""The bound's parts are what they say, and add up."""

import math
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from codec.core.errors import UserError
from codec.eval.likelihood import evaluate_bits
from codec.models import build_model
from codec.models.base import CodecModel
from codec.models.tiny import tiny_config, tiny_model
from codec.nn.likelihoods import CategoricalConfig, LogisticMixtureConfig, LogitLaplaceConfig


@dataclass(frozen=True)
class Pictures:
    signal: Tensor


def _model(likelihood) -> CodecModel:
    torch.manual_seed(0)
    model = build_model(tiny_config("image").model_copy(update={"likelihood": likelihood}))
    model.train()(torch.rand(4, 3, 64, 64) * 2 - 1)
    model.freeze_histograms()
    return model.eval()


def _batches(*sizes: int) -> list[Pictures]:
    generator = torch.Generator().manual_seed(1)
    return [Pictures(torch.randint(256, (b, 3, 16, 8), generator=generator) / 127.5 - 1) for b in sizes]


@pytest.mark.parametrize("config", [CategoricalConfig(), LogisticMixtureConfig(num_components=2)])
def test_the_parts_are_those_of_all_pictures_together_and_add_up(config):
    model, batches = _model(config), _batches(3, 1)
    bits = evaluate_bits(model, batches, prior=lambda codes: torch.tensor(7.0 * codes[0].shape[0]))
    whole = torch.cat([batch.signal for batch in batches])
    assert model.likelihood is not None
    with torch.no_grad():
        nats = model.likelihood.nll(model(whole).outputs, whole).double().sum().item()
    dims, num_codes = 4 * 3 * 16 * 8, 4 * 2 * 4 * 2
    assert bits.given_codes == pytest.approx(nats / math.log(2) / dims, rel=1e-5)
    (codes,), (counts,) = model.encode(whole), model.code_histograms()
    histogram = -sum(
        math.log2(counts[q, codes[b, q, y, x]] / counts[q].sum())
        for b, q, y, x in torch.cartesian_prod(*(torch.arange(n) for n in codes.shape)).tolist()
    )
    assert bits.codes == {
        "uniform": pytest.approx(num_codes * 5 / dims),
        "histogram": pytest.approx(histogram / dims),
        "prior": pytest.approx(7.0 * 4 / dims),
    }
    assert bits.bound == pytest.approx({name: bits.given_codes + x for name, x in bits.codes.items()})


def test_models_without_probabilities_of_levels_and_empty_corpora_are_refused():
    for model in (tiny_model("image"), _model(LogitLaplaceConfig())):
        with pytest.raises(UserError, match="gives pictures no probability"):
            evaluate_bits(model, _batches(1))
    with pytest.raises(UserError, match="no pictures"):
        evaluate_bits(_model(CategoricalConfig()), [])
