"""From latents, one for every unit, back to frames of a spectrum, in the voice of a speaker."""

from __future__ import annotations

from pydantic import PositiveInt
from torch import Tensor, nn

from codec.core.config import Config
from codec.nn.conv import Conv, UpsamplingConv
from codec.nn.convnext import ConvNeXtBlock, FrameLinear, FrameNorm


class FrameDecoderConfig(Config):
    """A decoder of frames.

    Attributes:
        width: channels between its layers, and of a speaker.
        kernel: frames that each layer looks at, at its dilation, odd.
        dilations: of its layers, all at the rate of the frames.
    """

    width: PositiveInt = 256
    kernel: PositiveInt = 7
    dilations: tuple[PositiveInt, ...] = (1, 2, 4, 1)


class FrameDecoder(nn.Module):
    """Latents `[b, latent_dim, n]` and numbers of speakers `[b]` to frames `[b, num_features, n * stride]`.

    What a speaker's number stands for is learnt, and added to every frame.
    """

    def __init__(
        self, config: FrameDecoderConfig, *, latent_dim: int, stride: int, num_speakers: int, num_features: int
    ):
        super().__init__()
        width = config.width
        self.start = nn.Sequential(
            Conv(latent_dim, width, 3, ndim=1),
            nn.GELU(),
            UpsamplingConv(width, width, 2 * stride, ndim=1, stride=stride),
        )
        self.speakers = nn.Embedding(num_speakers, width)
        nn.init.zeros_(self.speakers.weight)  # random ones drown the latents at first
        layers = (ConvNeXtBlock(width, kernel=config.kernel, dilation=d, scale=0.3) for d in config.dilations)
        self.layers = nn.Sequential(*layers, FrameNorm(width), FrameLinear(width, num_features))

    def forward(self, latents: Tensor, speakers: Tensor) -> Tensor:
        return self.layers(self.start(latents) + self.speakers(speakers)[..., None])
