"""From configuration to quantizer: the one place that knows every kind."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from codec.core.config import Config, parse_config
from codec.core.errors import UserError
from codec.quantize.base import Quantizer
from codec.quantize.binary import BinaryQuantizer, BSQConfig, BSQQuantizer, LFQConfig, LFQQuantizer, to_sphere
from codec.quantize.bounded import BoundedResidualQuantizer
from codec.quantize.codebook import CodebookConfig
from codec.quantize.ema import EMAConfig, EMAQuantizer
from codec.quantize.fsq import CellQuantizer, FSQConfig, FSQQuantizer, RoundingQuantizer, build_bound
from codec.quantize.gradient import GradientConfig, GradientQuantizer
from codec.quantize.grouped import GroupedQuantizer
from codec.quantize.gumbel import GumbelConfig, GumbelQuantizer
from codec.quantize.ibq import IBQConfig, IBQQuantizer
from codec.quantize.multihead import MultiHeadQuantizer
from codec.quantize.residual import ResidualQuantizer
from codec.quantize.rows import RowQuantizer
from codec.quantize.simvq import SimVQConfig, SimVQQuantizer

OneCodebook = EMAConfig | GradientConfig | SimVQConfig | IBQConfig | GumbelConfig | FSQConfig | LFQConfig | BSQConfig
OneCodebookConfig = Annotated[OneCodebook, Field(discriminator="kind")]


class ResidualConfig(Config):
    """A residual stack.

    Attributes:
        num_codebooks: stages.
        codebook: what each stage is.
        dropout: probability that a training sample keeps only some of the stages.
        dropout_bias: such a sample keeps the share u^dropout_bias of them, u uniform: above 1, mostly few.
        shared: whether all stages look up in one codebook (Lee et al. 2022).
        paths: how many choices of codes are followed from stage to stage to encode; 1 takes each stage's nearest.
        bit_weight: squared error of latents (over all channels) that a bit less is worth to the search of `paths`.
        rate_weight: the same at each rate for what it is: 1 is what the next codebook takes off that error per bit.
            Wants the codes counted after training (`ResidualQuantizer.count_searched`).
    """

    settings = frozenset({"num_codebooks", "dropout", "dropout_bias", "paths", "bit_weight", "rate_weight"})
    kind: Literal["residual"] = "residual"
    num_codebooks: int = Field(default=4, ge=1)
    codebook: OneCodebookConfig = Field(default_factory=EMAConfig)
    dropout: float = Field(default=0.0, ge=0.0, le=1.0)
    dropout_bias: float = Field(default=1.0, gt=0.0)
    shared: bool = False
    paths: int = Field(default=1, ge=1, le=64)
    bit_weight: float = Field(default=0.0, ge=0.0)
    rate_weight: float = Field(default=0.0, ge=0.0)

    @model_validator(mode="after")
    def _bias_is_of_dropout(self) -> ResidualConfig:
        if self.dropout_bias != 1 and not self.dropout:
            raise ValueError("dropout_bias says how many stages dropout keeps: set dropout, or leave it out")
        return self

    @model_validator(mode="after")
    def _paths_lead_through_entries(self) -> ResidualConfig:
        if self.paths == 1:
            for name in ("bit_weight", "rate_weight"):
                if getattr(self, name):
                    raise ValueError(f"{name} weighs the choices of several paths: set paths, or leave it out")
            return self
        if self.bit_weight and self.rate_weight:
            raise ValueError("bit_weight and rate_weight say the same in two ways: leave one out")
        if self.rate_weight and self.shared:
            raise ValueError("rate_weight looks at what each stage's own codebook is worth, shared ones: leave one out")
        book = self.codebook
        if not isinstance(book, CodebookConfig) or book.codebook_dim is not None or book.lookup != "euclidean":
            raise ValueError("paths lead through entries as wide as the latents, nearest by distance: leave it out")
        return self

    @model_validator(mode="after")
    def _scalars_have_nothing_to_share(self) -> ResidualConfig:
        if self.shared and isinstance(self.codebook, FSQConfig | LFQConfig | BSQConfig):
            raise ValueError(f"shared: the stages of {self.codebook.kind!r} have no codebook to share, leave it out")
        return self


class GroupedConfig(Config):
    """Groups of channels.

    Attributes:
        num_groups: equal parts of the latents' channels.
        group: what each group is.
    """

    kind: Literal["grouped"] = "grouped"
    num_groups: int = Field(default=2, ge=1)
    group: Annotated[OneCodebook | ResidualConfig, Field(discriminator="kind")] = Field(default_factory=EMAConfig)

    @field_validator("group")
    @classmethod
    def _rates_are_not_weighed_in_groups(cls, group: OneCodebook | ResidualConfig) -> OneCodebook | ResidualConfig:
        if isinstance(group, ResidualConfig) and group.rate_weight:
            raise ValueError("group.rate_weight: codes of groups are not counted, leave it out")
        return group


class MultiHeadConfig(Config):
    """Heads that look up in one codebook.

    Attributes:
        num_heads: equal parts of the latents' channels.
        codebook: what they share.
    """

    kind: Literal["multihead"] = "multihead"
    num_heads: int = Field(default=2, ge=1)
    codebook: OneCodebookConfig = Field(default_factory=EMAConfig)


AnyConfig = OneCodebook | ResidualConfig | GroupedConfig | MultiHeadConfig
QuantizerConfig = Annotated[AnyConfig, Field(discriminator="kind")]

KINDS: dict[str, type[Config]] = {
    "ema": EMAConfig,
    "gradient": GradientConfig,
    "simvq": SimVQConfig,
    "ibq": IBQConfig,
    "gumbel": GumbelConfig,
    "fsq": FSQConfig,
    "lfq": LFQConfig,
    "bsq": BSQConfig,
    "residual": ResidualConfig,
    "grouped": GroupedConfig,
    "multihead": MultiHeadConfig,
}


def build_quantizer(config: AnyConfig, dim: int) -> Quantizer:
    """The quantizer that `config` describes, for latents of `dim` channels.

    Raises:
        UserError: the channels do not divide into the groups or heads asked for.
    """
    match config:
        case ResidualConfig():
            return _residual(config, dim)
        case GroupedConfig():
            part = _part(dim, config.num_groups, "num_groups")
            return GroupedQuantizer([build_quantizer(config.group, part) for _ in range(config.num_groups)])
        case MultiHeadConfig():
            part = _part(dim, config.num_heads, "num_heads")
            return MultiHeadQuantizer(_one_codebook(config.codebook, part, stage=0), num_heads=config.num_heads)
        case _:
            return _one_codebook(config, dim, stage=0)


def parse_quantizer(tree: dict[str, Any]) -> AnyConfig:
    """Read a plain tree such as `{"kind": "ema", "codebook_size": 512}`; UserError names every wrong key."""
    return parse_config(_Wrapped, {"quantizer": tree}).quantizer


class _Wrapped(Config):
    quantizer: QuantizerConfig


def _one_codebook(config: OneCodebook, dim: int, *, stage: int) -> RowQuantizer:
    """A quantizer of one code per position, as stage `stage` (from 0) of a residual stack."""
    match config:
        case EMAConfig():
            return EMAQuantizer(config, dim)
        case GradientConfig():
            return GradientQuantizer(config, dim)
        case SimVQConfig():
            return SimVQQuantizer(config, dim)
        case IBQConfig():
            return IBQQuantizer(config, dim)
        case GumbelConfig():
            return GumbelQuantizer(config, dim)
        case FSQConfig():
            return FSQQuantizer(config, dim)
        case LFQConfig():
            return LFQQuantizer(config, dim, stage=stage)
        case BSQConfig():
            return BSQQuantizer(config, dim)
        case _:
            raise UserError(
                f"a quantizer is built from a config, this is a {type(config).__name__}: parse_quantizer it"
            )


def _residual(config: ResidualConfig, dim: int) -> ResidualQuantizer:
    number = config.num_codebooks
    dropout = {"dropout": config.dropout, "dropout_bias": config.dropout_bias}
    match config.codebook:
        case FSQConfig() as fsq:
            finer = [CellQuantizer(fsq, stage) for stage in range(1, number)]
            stages = [RoundingQuantizer(fsq, len(fsq.levels)), *finer]
            return BoundedResidualQuantizer(stages, build_bound(fsq), dim=dim, **dropout)
        case BSQConfig() as bsq:
            bits = bsq.codebook_bits
            stages = [BinaryQuantizer(bsq, bits, level=2.0**-stage * bits**-0.5) for stage in range(number)]
            return BoundedResidualQuantizer(stages, to_sphere, dim=dim, **dropout)
        case codebook:
            own = 1 if config.shared else number
            stages = [_one_codebook(codebook, dim, stage=stage) for stage in range(own)]
            search = {"paths": config.paths, "bit_weight": config.bit_weight, "rate_weight": config.rate_weight}
            return ResidualQuantizer(stages, dim=dim, num_codebooks=number, **dropout, **search)


def _part(dim: int, number: int, key: str) -> int:
    if dim % number:
        raise UserError(f"{key} is {number}, which does not divide the {dim} channels of the latents")
    return dim // number
