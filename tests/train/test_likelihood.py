"""Training on the likelihood of pictures: bits are told, they fall, and the model that comes out codes pictures."""

import math

import pytest
import torch

from codec.checkpoint import load_model
from codec.core.config import Config
from codec.core.errors import UserError
from codec.models import build_model
from codec.models.tiny import tiny_config
from codec.nn.likelihoods import CategoricalConfig, LogisticMixtureConfig, LogitLaplaceConfig
from codec.train import LoopConfig, OptimizerConfig, ReconstructionTask, RunFolder, train
from codec.train.fabric import build_fabric
from codec.train.run import read_metrics
from tests.train.test_loop import Batch, OneBatch

CONFIGS = [CategoricalConfig(), LogisticMixtureConfig(num_components=2), LogitLaplaceConfig()]
WEIGHTS = {"nll": 1.0, "commitment": 0.25}


class OnePicture(OneBatch):
    """The same batch of 8-bit pictures at every step."""

    def batch(self, step: int) -> Batch:
        batch = super().batch(step)
        return Batch((batch.signal * 127.5 + 127.5).round() / 127.5 - 1, batch.names)


def _task(likelihood, weights=WEIGHTS) -> ReconstructionTask:
    torch.manual_seed(0)
    return ReconstructionTask(build_model(tiny_config("image").model_copy(update={"likelihood": likelihood})), weights)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.kind)
def test_likelihood_falls_in_training_and_the_model_that_is_saved_codes_pictures(config, tmp_path):
    data = OnePicture((2, 3, 16, 16))
    loop = LoopConfig(
        steps=60,
        log_every=1,
        validate_every=60,
        average_decay=0,
        device="cpu",
        precision="fp32",
        optimizer=OptimizerConfig(learning_rate=1e-2, warmup_steps=0),
    )
    run = RunFolder(tmp_path / "run", resume=False)
    train(
        _task(config),
        fabric=build_fabric(loop),
        data=data,
        validation=[data.batch(0)],
        config=loop,
        run=run,
        recipe=Config(),
    )
    *trained, validated = read_metrics(run)
    nats = [line["nll"] for line in trained]
    assert sum(nats[-5:]) / 5 < nats[0] - 0.3
    if config.kind == "logit_laplace":
        assert not any(name.endswith("bits_per_dim") for name in validated)
    else:
        assert validated["bits_per_dim"] == pytest.approx(validated["nll"] / math.log(2))
        assert validated["code_bits_per_dim"] == pytest.approx(2 * 5 / (3 * 4 * 4))  # two codes of 32 for 4 x 4 pixels
        assert validated["bound_bits_per_dim"] == pytest.approx(
            validated["bits_per_dim"] + validated["code_bits_per_dim"]
        )
    model = load_model(run.path, device="cpu")
    signal = torch.zeros(1, 3, 21, 13)
    decoded = model.decode(model.encode(signal), size=(21, 13))
    assert decoded.shape == signal.shape and float(decoded.abs().max()) <= 1


def test_a_model_without_a_likelihood_has_no_nll_and_one_with_it_may_train_on_its_picture_instead():
    with pytest.raises(UserError, match=r"'nll' needs a likelihood.*model\.likelihood\.kind=categorical"):
        _task(None)
    with pytest.raises(UserError, match="no reconstruction loss"):
        _task(CONFIGS[0], {"commitment": 0.25})
    with pytest.raises(UserError, match="its model commitment, nll"):
        _task(CONFIGS[0], {**WEIGHTS, "mell": 1.0})
    outcome = _task(CONFIGS[0], {"mse": 1.0, "commitment": 0.25})(torch.zeros(1, 3, 16, 16))
    assert "nll" not in outcome["losses"] and "bits_per_dim" not in outcome["stats"]
