"""`codec models`: what models there are."""

from __future__ import annotations

import json
from dataclasses import asdict

from codec.cli.options import AsJson


def models(as_json: AsJson = False) -> None:
    """List the bundled models."""
    from codec.checkpoint import list_models, list_units

    cards = [*list_models(), *list_units()]
    if as_json:
        print(json.dumps([asdict(card) for card in cards], indent=2))
        return
    for card in cards:
        size, about = f"{card.bytes / 1e6:.1f} MB", card.facts.get("description", "")
        print(f"{card.name:<17} {card.media['kind']:<6} {size:>8}  {card.fingerprint}  {about}".rstrip())
