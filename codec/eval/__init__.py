"""How good models are on a corpus, and how good the classical codecs beside them."""

from codec.eval.axes import AXES, Axes
from codec.eval.curve import Curve, bd_rate, curve_record
from codec.eval.features import FeatureDistance, load_network
from codec.eval.grid import write_grid
from codec.eval.interval import Interval, mean_interval
from codec.eval.items import Item, code_item, rival_items
from codec.eval.machine import machine_facts
from codec.eval.picture_codecs import picture_rivals
from codec.eval.recognition import Recogniser, find_recogniser
from codec.eval.reconstruction import evaluate
from codec.eval.rivals import RivalFailure, RivalResult
from codec.eval.selection import select
from codec.eval.speech_codecs import speech_rivals
from codec.eval.sweep import parse_rates, rate_distortion
from codec.eval.table import CURVE_TITLES, curve_rows, curve_tables, evaluation_table, point_rows

__all__ = [
    "AXES",
    "CURVE_TITLES",
    "Axes",
    "Curve",
    "FeatureDistance",
    "Interval",
    "Item",
    "Recogniser",
    "RivalFailure",
    "RivalResult",
    "bd_rate",
    "code_item",
    "curve_record",
    "curve_rows",
    "curve_tables",
    "evaluate",
    "evaluation_table",
    "find_recogniser",
    "load_network",
    "machine_facts",
    "mean_interval",
    "parse_rates",
    "picture_rivals",
    "point_rows",
    "rate_distortion",
    "rival_items",
    "select",
    "speech_rivals",
    "write_grid",
]
