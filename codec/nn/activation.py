"""Pointwise nonlinearities."""

from __future__ import annotations

from typing import Literal

from torch import nn

ActivationName = Literal["relu", "elu"]


def build_activation(name: ActivationName) -> nn.Module:
    """The nonlinearity called `name`."""
    return {"relu": nn.ReLU, "elu": nn.ELU}[name]()
