"""Blocks for one (time) or two (height, width) axes; each says which inputs its outputs depend on."""

from codec.nn.activation import build_activation
from codec.nn.attention import WindowAttention
from codec.nn.backbone import Backbone, Stage, build_decoder, build_encoder
from codec.nn.chain import Chain, input_span
from codec.nn.conv import Conv, UpsamplingConv
from codec.nn.norm import ChannelNorm
from codec.nn.residual import ResidualUnit

__all__ = [
    "Backbone",
    "Chain",
    "ChannelNorm",
    "Conv",
    "ResidualUnit",
    "Stage",
    "UpsamplingConv",
    "WindowAttention",
    "build_activation",
    "build_decoder",
    "build_encoder",
    "input_span",
]
