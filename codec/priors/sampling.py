"""Drawing codes from a prior, one group after the other."""

from __future__ import annotations

import torch
from torch import Tensor

from codec.core.errors import UserError
from codec.priors.base import Condition, NeuralPrior


@torch.inference_mode()
def sample(
    prior: NeuralPrior,
    size: tuple[int, ...],
    *,
    generator: torch.Generator,
    condition: Condition = Condition(),  # noqa: B008 (frozen)
    batch: int = 1,
    temperature: float = 1.0,
    top_k: int | None = None,
) -> Tensor:
    """Codes `[batch, q, *size]`, drawn from `prior` in time linear in their number.

    Args:
        generator: on the prior's device; decides every choice.
        temperature: divides the logits; below 1 makes likely codes likelier.
        top_k: draw among this many likeliest codes; all if None.

    Raises:
        UserError: a temperature or top_k that is not above 0, or a condition that is not what the prior wants.
    """
    if temperature <= 0 or (top_k is not None and top_k < 1):
        raise UserError(f"temperature is {temperature}, top_k {top_k}: wanted above 0, and 1 or more")
    order = list(prior.groups(size))
    state = prior.start(size, condition=condition, batch=batch)
    drawn: list[Tensor] = []
    for _ in order:
        logits, state = prior.step(state, drawn[-1] if drawn else None)
        drawn.append(_draw(logits.float() / temperature, top_k=top_k, generator=generator))
    codes = torch.empty_like(torch.cat(drawn, dim=1))
    codes[:, torch.cat(order).to(codes.device)] = torch.cat(drawn, dim=1)
    return codes.view(batch, -1, *size)


def _draw(logits: Tensor, *, top_k: int | None, generator: torch.Generator) -> Tensor:
    """Codes `[b, n]` from logits `[b, n, K]`: the first to ring, when each rings at a rate of its probability."""
    likeliest, codes = (logits, None) if top_k is None else logits.topk(min(top_k, logits.shape[-1]), dim=-1)
    waiting = torch.empty_like(likeliest).exponential_(generator=generator)
    first = (likeliest - waiting.log()).argmax(-1)
    return first if codes is None else codes.gather(-1, first.unsqueeze(-1)).squeeze(-1)
