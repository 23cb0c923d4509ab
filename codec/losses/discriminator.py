"""A judge of patches: convolutions that say of every overlapping patch of a picture how real it looks."""

from __future__ import annotations

from pydantic import PositiveInt
from torch import Tensor, nn

from codec.core.config import Config
from codec.losses.judgement import Judgement

SLOPE = 0.2
KERNEL = 4


class PatchDiscriminatorConfig(Config):
    """Size of the judge.

    Attributes:
        width: channels after the first layer; each further one doubles them, up to eight times.
        num_strided: layers of stride 2; 1, 2 and 3 of them judge patches of 16, 34 and 70 pixels per side.
    """

    width: PositiveInt = 64
    num_strided: PositiveInt = 3

    @property
    def smallest(self) -> int:
        """Pixels per side of the smallest picture that can be judged."""
        return 3 * 2**self.num_strided


class PatchDiscriminator(nn.Module):
    """PatchGAN (Isola et al. 2017, appendix 6.1.2): 4x4 convolutions, leaky ReLUs, and one logit per patch.

    Shapes: `[b, channels, height, width]` to logits `[b, 1, height / 8 - 2, width / 8 - 2]` with three strided layers.
    Normalisation is picture by picture, as in batches of one, which are the paper's; so nothing depends on the batch,
    and nothing is a running mean. Pictures must be `config.smallest` pixels or more per side.
    """

    has_features = False

    def __init__(self, config: PatchDiscriminatorConfig, *, channels: int):
        super().__init__()
        width = config.width
        layers: list[nn.Module] = [nn.Conv2d(channels, width, KERNEL, stride=2, padding=1), nn.LeakyReLU(SLOPE)]
        for index in range(1, config.num_strided + 1):
            stride = 2 if index < config.num_strided else 1
            wider = config.width * min(2**index, 8)
            layers.append(nn.Conv2d(width, wider, KERNEL, stride=stride, padding=1, bias=False))
            layers += [nn.InstanceNorm2d(wider, affine=True), nn.LeakyReLU(SLOPE)]
            width = wider
        self.layers = nn.Sequential(*layers, nn.Conv2d(width, 1, KERNEL, padding=1))
        for layer in self.layers:
            if isinstance(layer, nn.Conv2d):
                nn.init.normal_(layer.weight, std=0.02)

    def forward(self, pictures: Tensor) -> Judgement:
        return Judgement((self.layers(pictures),))
