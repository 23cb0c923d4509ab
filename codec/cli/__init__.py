"""The command line: one thin verb per file-sized topic, no logic of its own."""

from codec.cli.main import app, main

__all__ = ["app", "main"]
