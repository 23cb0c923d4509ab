"""What a discriminator says of a batch."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Judgement:
    """One logit of any number of parts of each signal, and what led to them.

    Attributes:
        logits: of each of the discriminator's judges, `[b, ...]`.
        features: of each judge, its layers' outputs `[b, ...]`; empty where they are not to be matched.
    """

    logits: tuple[Tensor, ...]
    features: tuple[tuple[Tensor, ...], ...] = ()

    def halves(self) -> tuple[Judgement, Judgement]:
        """Of the first half of the batch, and of the second."""
        logits = [logit.chunk(2) for logit in self.logits]
        features = [[feature.chunk(2) for feature in judge] for judge in self.features]
        first, second = (
            Judgement(
                tuple(logit[half] for logit in logits),
                tuple(tuple(feature[half] for feature in judge) for judge in features),
            )
            for half in (0, 1)
        )
        return first, second
