"""The `codec` command: its verbs, and how a person's mistakes are told apart from bugs."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import typer

import codec
from codec.cli import alignment, corpora, demo, evaluation, files, models, recipes, splice, tokens, units
from codec.core.errors import UserError

app = typer.Typer(
    name="codec",
    help="Turn audio and images into small files of discrete codes, and back.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for verb in (files.encode, files.decode, files.info, models.models, recipes.train, corpora.prep, demo.demo):
    app.command()(verb)
app.command("eval")(evaluation.evaluate)
app.command("slice")(splice.cut)
app.command()(splice.concat)
app.command()(alignment.align)
for verb in (tokens.tokenize, tokens.detokenize):
    app.command()(verb)
app.add_typer(recipes.app, name="recipes")
app.add_typer(units.app, name="units")

_MISTAKE, _INTERRUPTED = 2, 130
_UsageError: Any = typer.BadParameter.__base__  # Typer names no public class for it
_PERSON_CAN_MEND = {
    errno.ENOENT,
    errno.EACCES,
    errno.EPERM,
    errno.EISDIR,
    errno.ENOTDIR,
    errno.ENAMETOOLONG,
    errno.ELOOP,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EROFS,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (by default this process's own) and return its exit code.

    0: done. 2: a mistake the person can mend, told in one line on stderr. 130: interrupted. 143: terminated.
    Anything else is a bug, and keeps its traceback.
    """
    try:
        with _termination_unwinds():
            code = app(args=arguments, prog_name="codec", standalone_mode=False)
        sys.stdout.flush()
    except _UsageError as error:
        return _usage_mistake(error)
    except UserError as error:
        return _mistake(str(error))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads any more: nothing to say
        return 0
    except OSError as error:
        if error.errno not in _PERSON_CAN_MEND:
            raise
        return _mistake(f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror))
    except (KeyboardInterrupt, typer.Abort):
        code = _INTERRUPTED
    if code == _INTERRUPTED:  # newer Typers return this themselves
        print("codec: interrupted", file=sys.stderr)
    return code if isinstance(code, int) else 0


@contextmanager
def _termination_unwinds() -> Iterator[None]:
    """SIGTERM ends the process by `finally` clauses, as Ctrl-C does: half-written files go away."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _usage_mistake(error: Any) -> int:
    if type(error).__name__ == "NoArgsIsHelpError":
        print(error.format_message())
        return _MISTAKE
    command = error.ctx.command_path if error.ctx else "codec"
    return _mistake(f"{error.format_message().rstrip('.')} (see {command} --help)")


def _mistake(message: str) -> int:
    print("codec: " + " ".join(message.split()), file=sys.stderr)
    return _MISTAKE


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"codec {codec.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    pass
