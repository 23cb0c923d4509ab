"""How good models are on a corpus, and how good the classical codecs beside them."""

from codec.eval.interval import Interval, mean_interval
from codec.eval.items import Item, code_item, rival_items
from codec.eval.machine import machine_facts
from codec.eval.reconstruction import evaluate
from codec.eval.rivals import RivalFailure, RivalResult, image_rivals, speech_rivals
from codec.eval.table import evaluation_table

__all__ = [
    "Interval",
    "Item",
    "RivalFailure",
    "RivalResult",
    "code_item",
    "evaluate",
    "evaluation_table",
    "image_rivals",
    "machine_facts",
    "mean_interval",
    "rival_items",
    "speech_rivals",
]
