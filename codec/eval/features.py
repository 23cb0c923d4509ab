"""Frechet distance between originals and reconstructions, by the features of a network that the caller brings."""

from __future__ import annotations

import importlib
import os
import sys
from itertools import chain

import torch
from torch import nn

from codec.core.errors import UserError
from codec.eval.items import Item
from codec.metrics import FeatureGaussian, frechet_distance


class FeatureDistance:
    """Gathers the features of items, one signal at a time.

    Args:
        network: a signal `[1, channels, *space]` in [-1, 1] to features `[1, d]`; it is put in eval mode.
    """

    def __init__(self, network: nn.Module):
        self._network = network.eval()
        self._originals, self._reconstructions = FeatureGaussian(), FeatureGaussian()

    @torch.inference_mode()
    def add(self, item: Item) -> None:
        """Take in the features of an item's original and of its reconstruction.

        Raises:
            UserError: the network gives something else than one row of features.
        """
        tensors = chain(self._network.parameters(), self._network.buffers())
        device = next((tensor.device for tensor in tensors), torch.device("cpu"))
        for gathered, signal in ((self._originals, item.reference), (self._reconstructions, item.estimate)):
            try:
                gathered.add(self._network(signal[None].to(device)))
            except ValueError as error:
                raise UserError(f"the network of features does not fit {item.path.name}: {error}") from None

    def distance(self) -> float | None:
        """Squared Frechet distance (Heusel et al. 2017, eq. 6); None of fewer than two items."""
        return frechet_distance(self._originals, self._reconstructions) if self._originals.count > 1 else None


def load_network(place: str) -> nn.Module:
    """What the function named by `place`, "module:function", returns; modules in the current folder are found, too.

    Raises:
        UserError: there is no such module or function, or it does not return a torch module.
    """
    module_name, _, function_name = place.partition(":")
    if not module_name or not function_name:
        raise UserError(f"{place!r} does not name a function: wanted module:function")
    if (here := os.getcwd()) not in sys.path:
        sys.path.append(here)
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise UserError(f"cannot import {module_name!r} for {place}: {error}") from None
    network = getattr(module, function_name, lambda: None)()
    if not isinstance(network, nn.Module):
        raise UserError(f"{place} gives no torch.nn.Module: name a function that returns one")
    return network
