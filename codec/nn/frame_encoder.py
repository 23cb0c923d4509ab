"""From features of speech to latents, one for every unit: a short look at the frames around, then layers per unit."""

from __future__ import annotations

from pydantic import PositiveInt
from torch import nn

from codec.core.config import Config
from codec.nn.chain import Chain
from codec.nn.conv import Conv
from codec.nn.convnext import ConvNeXtBlock, FrameLinear, FrameNorm


class FrameEncoderConfig(Config):
    """An encoder of frames.

    Attributes:
        width: channels between its layers.
        stride: frames for one latent.
        blocks: layers at the rate of the latents.
        kernel: latents that each of those looks at, odd.
    """

    width: PositiveInt = 256
    stride: PositiveInt = 2
    blocks: PositiveInt = 3
    kernel: PositiveInt = 1


def build_frame_encoder(config: FrameEncoderConfig, *, num_features: int, latent_dim: int) -> Chain:
    """`[b, num_features, frames]` to `[b, latent_dim, frames / stride]`, rounded up."""
    width = config.width
    return Chain(
        Conv(num_features, width, 5, ndim=1),
        nn.GELU(),
        Conv(width, width, 2 * config.stride, ndim=1, stride=config.stride),
        *(ConvNeXtBlock(width, kernel=config.kernel, scale=0.3) for _ in range(config.blocks)),
        FrameNorm(width),
        FrameLinear(width, latent_dim),
    )
