"""What is peculiar to a pyramid of codes."""

import pytest
import torch
from pydantic import ValidationError

from codec.models import VQVAE2, ImageMedia, Level, VQVAE2Config
from codec.models.tiny import tiny_pyramid_config
from codec.models.vqvae2 import COARSER, FINEST
from codec.nn import Backbone, Stage
from codec.quantize.ema import EMAQuantizer
from codec.train import ReconstructionTask


def test_the_defaults_are_the_papers_two_levels_for_256_pixels():
    model = VQVAE2(VQVAE2Config(media=ImageMedia(), chunk=32))
    assert sum(parameter.numel() for parameter in model.parameters()) == pytest.approx(1.39e6, rel=0.005)
    assert [(grid.codebook_size, 256 // grid.downsample_factor) for grid in model.levels] == [(512, 32), (512, 64)]
    assert model.config.latent_dim == 64 and [quantizer.decay for quantizer in model.quantizers] == [0.99, 0.99]


def test_three_levels_of_1024_pixels_are_32_64_and_128():
    stages = (Stage(stride=2, width=64), *FINEST.encoder.stages)
    finest = Level(encoder=FINEST.encoder.model_copy(update={"stages": stages}))
    model = VQVAE2(VQVAE2Config(media=ImageMedia(), chunk=32, levels=(COARSER, COARSER, finest)))
    assert [1024 // grid.downsample_factor for grid in model.levels] == [32, 64, 128]


def test_finer_codes_depend_on_coarser_ones():
    """Another coarse codebook, the same features: the fine latents see what the coarse codes decode to."""
    torch.manual_seed(0)
    model = VQVAE2(tiny_pyramid_config().model_copy(update={"level_dropout": 0.0}))
    signal = torch.rand(2, 3, 64, 64) * 2 - 1
    model.train()(signal)
    model.eval()
    seen = []
    coarse, fine = model.quantizers
    fine.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    model(signal)
    assert isinstance(coarse, EMAQuantizer)
    coarse.codebook.mul_(-1)
    model(signal)
    assert not torch.allclose(*seen)


def test_samples_that_go_without_a_level_are_invisible_to_it_and_decode_as_its_prefix():
    torch.manual_seed(0)
    model = VQVAE2(tiny_pyramid_config(3).model_copy(update={"level_dropout": 1.0}))
    signal = torch.rand(8, 3, 32, 32) * 2 - 1
    model.train()(signal)
    result = model(signal)
    coarsest, middle, finest = (level.codes.flatten(1) for level in result.levels)
    assert int(coarsest.min()) >= 0
    assert torch.equal(finest, torch.full_like(finest, -1))
    without_middle = (middle == -1).all(1)
    assert torch.equal(without_middle, (middle == -1).any(1)) and 0 < int(without_middle.sum()) < 8
    row = int(without_middle.nonzero()[0])
    assert not result.levels[1].latents[row].any()
    with torch.no_grad():
        alone = model._decode_window((result.levels[0].codes[row : row + 1],))
    # the training step moved the codebook after the lookup, by 1 % of the way at most
    torch.testing.assert_close(result.outputs[row : row + 1], alone, rtol=0, atol=0.05)
    assert all(int(level.codes.min()) >= 0 for level in model.eval()(signal).levels)


def test_a_prefix_of_a_model_that_was_trained_for_it_gives_a_sensible_picture():
    """Without the dropout the coarsest level alone is no better than one flat grey."""
    torch.manual_seed(0)
    config = tiny_pyramid_config().model_copy(update={"level_dropout": 0.3})
    task = ReconstructionTask(VQVAE2(config), {"mse": 1.0, "commitment": 0.25}).train()
    optimizer = torch.optim.AdamW(task.parameters(), lr=3e-3)
    axis = torch.linspace(-3, 3, 64)
    waves = torch.stack([(axis[:, None] * k).sin() * (axis - k).cos() for k in (0.5, 1.0, 1.5, 2.0)])
    signal = 0.8 * waves[:, None].expand(-1, 3, -1, -1)
    for _ in range(100):
        task.total(task(signal)["losses"]).backward()
        optimizer.step()
        optimizer.zero_grad()
    model = task.model.eval()
    codes = model.encode(signal)
    coarse, both = (float((model.decode(codes, num_levels=count) - signal).square().mean()) for count in (1, 2))
    assert both < coarse < 0.25 * float(signal.var())


def test_a_level_may_have_a_quantizer_of_its_own():
    assert [grid.codebook_size for grid in VQVAE2(tiny_pyramid_config(3)).levels] == [32, 32, 16]


def test_impossible_pyramids_are_refused():
    backbone = Backbone(stages=(Stage(stride=2, width=4),))
    with pytest.raises(ValidationError, match="at least 2"):
        VQVAE2Config(media=ImageMedia(), chunk=8, levels=(Level(encoder=backbone),))
    with pytest.raises(ValidationError, match="downsamples by 2, the decoder upsamples by 3"):
        Level(encoder=backbone, decoder=Backbone(stages=(Stage(stride=3, width=4),)))
