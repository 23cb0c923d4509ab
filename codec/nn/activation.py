"""Pointwise nonlinearities."""

from __future__ import annotations

from typing import Literal

from torch import nn

ActivationName = Literal["relu", "elu"]


def build_activation(name: ActivationName, *, inplace: bool = False) -> nn.Module:
    """The nonlinearity called `name`; `inplace` where nobody else needs what it gets."""
    return {"relu": nn.ReLU, "elu": nn.ELU}[name](inplace=inplace)
