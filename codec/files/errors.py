"""What can be wrong with a file, one class each; every message is one line for the user."""

from __future__ import annotations

from codec.core.errors import UserError


class EmptyFileError(UserError):
    """The input holds no bytes."""


class ForeignFileError(UserError):
    """The input is not a .vqc file."""


class NewerVersionError(UserError):
    """The .vqc file has a version of the format that this release does not read."""


class TruncatedFileError(UserError):
    """The .vqc file ends before its last chunk does."""


class DamagedHeaderError(UserError):
    """The header's checksum or its content is wrong: nothing can be recovered."""


class DamagedChunkError(UserError):
    """A chunk's checksum or content is wrong; says which chunk, and where in the signal it is."""


class WrongModelError(UserError):
    """The .vqc file was written by another model than the one at hand."""


class UnknownModelError(UserError):
    """No model of the name in the .vqc file is installed."""


class WrongPriorError(UserError):
    """The prior at hand is not the one the .vqc file was coded with, or is for another model's codes."""


class UnknownPriorError(UserError):
    """No prior of the name in the .vqc file is installed."""


class WrongMediaError(UserError):
    """A picture given to a model of sound, sound to a model of pictures, or a signal of an unfit shape."""


class UnreadableMediaError(UserError):
    """The recording or picture to encode cannot be read."""


class OutputError(UserError):
    """The output cannot be written, or not in the format its name asks for."""


class SpliceError(UserError):
    """Parts of .vqc files that do not fit together, or cannot be cut there."""
