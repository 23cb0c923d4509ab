"""Networks of other people, as torch.export writes them.

Of such a file torch evaluates more than tensors: what is pickled, and the lengths of tensors, which are expressions.
"""

from __future__ import annotations

import ast
import hashlib
import io
import json
import logging
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from codec.core.errors import UserError

_PLAIN_RECORDS = re.compile(
    r"models/model\.json|data/(weights|constants)/((weight|tensor)_\d+|model_(weights|constants)_config\.json)"
    r"|data/sample_inputs/model\.pt|extra/.*|archive_format|archive_version|version|byteorder|\.data/.*"
)
_PLAIN_EXPRESSION = re.compile(r"[\w +*/()<>=!,.'-]+", re.ASCII)
_ARITHMETIC = (ast.Expression, ast.BinOp, ast.UnaryOp, ast.Compare, ast.operator, ast.unaryop, ast.cmpop)
_VALUES = (ast.Constant, ast.Name, ast.Load, ast.keyword)
_FUNCTIONS = """
Symbol Integer Float Rational Add Mul Pow Max Min Mod Abs And Or Not Equality Unequality LessThan GreaterThan
StrictLessThan StrictGreaterThan FloorDiv CeilDiv CleanDiv IntTrueDiv FloatTrueDiv ModularIndexing PythonMod
PowByNatural FloatPow LShift RShift Where Identity ToFloat CeilToInt FloorToInt TruncToInt TruncToFloat
RoundToInt RoundDecimal IsNonOverlappingAndDenseIndicator
"""
"""What torch writes lengths with."""


def load_program(path: Path, *, sha256: str | None = None) -> nn.Module:
    """What `torch.export.save` wrote to `path`, if it has no pickled object, and no expression but of arithmetic.

    Args:
        sha256: of the file, if it must be that one; of another nothing is evaluated.

    Raises:
        UserError: it is no such file, or not that one, or torch cannot load it.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    found = hashlib.sha256(content).hexdigest()
    if sha256 not in (None, found):
        raise UserError(f"{path} has SHA-256 {found}, not {sha256}: it is another program")
    _check(path, content)
    try:
        with _unlogged("torch.export"):  # it would tell the traceback
            return torch.export.load(io.BytesIO(content)).module(check_guards=False)  # guards would be run as code
    except Exception:  # it may hold anything
        problem = "it is damaged, or another version wrote it: export it with this one"
        raise UserError(f"torch {torch.__version__} cannot load {path}: {problem}") from None


@contextmanager
def _unlogged(name: str) -> Iterator[None]:
    logger = logging.getLogger(name)
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def _check(path: Path, content: bytes) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            plain = _is_plain(archive)
            root = archive.namelist()[0].partition("/")[0]
            expressions = list(_expressions(json.loads(archive.read(f"{root}/models/model.json"))))
    except Exception:  # it may hold anything
        raise UserError(f"{path} is no program: write it with torch.export.save") from None
    if not plain:
        raise UserError(f"{path} holds pickled objects, which may run anything: export a model of plain tensors")
    for expression in expressions:
        if not _is_arithmetic(expression):
            raise UserError(f"{path} has a length {expression!r:.80}, which is no arithmetic and may run anything")


def _is_plain(archive: zipfile.ZipFile) -> bool:
    """Whether reading a .pt2 archive unpickles nothing but tensors."""
    names = [name.partition("/")[2] for name in archive.namelist()]
    root = archive.namelist()[0].partition("/")[0]
    payloads = [
        payload
        for part in ("weights", "constants")
        for payload in json.loads(archive.read(f"{root}/data/{part}/model_{part}_config.json"))["config"].values()
    ]
    try:
        torch.load(io.BytesIO(archive.read(f"{root}/data/sample_inputs/model.pt")), weights_only=True)
    except Exception:  # the loader would then unpickle what is there
        return False
    return (
        len(set(names)) == len(names)
        and all(_PLAIN_RECORDS.fullmatch(name) for name in names)
        and all(re.fullmatch(r"(weight|tensor)_\d+", payload["path_name"]) for payload in payloads)
        and not any(payload["use_pickle"] for payload in payloads)
    )


def _expressions(tree: Any) -> Iterator[Any]:
    """What stands under "expr_str" anywhere in `tree`."""
    if isinstance(tree, dict):
        if "expr_str" in tree:
            yield tree["expr_str"]
        tree = list(tree.values())
    if isinstance(tree, list):
        for part in tree:
            yield from _expressions(part)


def _is_arithmetic(text: Any) -> bool:
    """Whether an expression has numbers, names and the functions that torch writes lengths with, and nothing else."""
    if not isinstance(text, str) or not _PLAIN_EXPRESSION.fullmatch(text) or "__" in text:
        return False
    try:
        nodes = list(ast.walk(ast.parse(text, mode="eval")))
    except (SyntaxError, RecursionError, MemoryError):
        return False
    allowed = _FUNCTIONS.split()
    called = [node.func for node in nodes if isinstance(node, ast.Call)]
    return all(isinstance(name, ast.Name) and name.id in allowed for name in called) and all(
        isinstance(node, (*_ARITHMETIC, *_VALUES, ast.Call)) for node in nodes
    )
