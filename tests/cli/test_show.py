"""What a person at a terminal sees of the progress."""

import io
import sys

import pytest

from codec.cli.show import progress_bar


def test_another_label_starts_another_bar_and_none_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(screen, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", screen)
    with progress_bar("reading corpus") as draw:
        assert draw is not None
        draw(3, 9, label="fetching a.tar (MB)")
        draw(5)
    said = screen.getvalue()
    assert "reading corpus" in said and "5/?" in said and "5/9" not in said


def test_nobody_is_told_where_nobody_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with progress_bar("reading corpus") as draw:
        assert draw is None
