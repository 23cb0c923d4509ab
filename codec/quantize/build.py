"""From configuration to quantizer: the one place that knows every kind."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from codec.core.config import Config, parse_config
from codec.quantize.base import Quantizer
from codec.quantize.ema import EMAConfig, EMAQuantizer
from codec.quantize.gradient import GradientConfig, GradientQuantizer
from codec.quantize.residual import ResidualQuantizer

OneCodebookConfig = Annotated[EMAConfig | GradientConfig, Field(discriminator="kind")]


class ResidualConfig(Config):
    """A residual stack.

    Attributes:
        num_codebooks: stages.
        codebook: what each stage is.
        dropout: probability that a training sample keeps only some of the stages.
    """

    kind: Literal["residual"] = "residual"
    num_codebooks: int = Field(default=4, ge=1)
    codebook: OneCodebookConfig = Field(default_factory=EMAConfig)
    dropout: float = Field(default=0.0, ge=0.0, le=1.0)


QuantizerConfig = Annotated[EMAConfig | GradientConfig | ResidualConfig, Field(discriminator="kind")]

KINDS: dict[str, type[Config]] = {"ema": EMAConfig, "gradient": GradientConfig, "residual": ResidualConfig}


def build_quantizer(config: EMAConfig | GradientConfig | ResidualConfig, dim: int) -> Quantizer:
    """The quantizer that `config` describes, for latents of `dim` channels."""
    match config:
        case EMAConfig():
            return EMAQuantizer(config, dim)
        case GradientConfig():
            return GradientQuantizer(config, dim)
        case ResidualConfig():
            stages = [build_quantizer(config.codebook, dim) for _ in range(config.num_codebooks)]
            return ResidualQuantizer(stages, dropout=config.dropout)


class _Wrapped(Config):
    quantizer: QuantizerConfig


def parse_quantizer(tree: dict[str, Any]) -> EMAConfig | GradientConfig | ResidualConfig:
    """Read a plain tree such as `{"kind": "ema", "codebook_size": 512}`; UserError names every wrong key."""
    return parse_config(_Wrapped, {"quantizer": tree}).quantizer
