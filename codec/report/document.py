"""An HTML document that carries its style and its script, and asks the network for nothing."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from html import escape
from importlib.resources import files
from typing import Any

from codec.core.wording import counted
from codec.report.colour import colour_map

_POLICY = "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def document(title: str, main: str, *, after: str = "", style: str = "", script: str = "") -> str:
    """A page with `main` in its middle and `after` behind that; `style` and `script` add to what is common."""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<title>{escape(title)}</title>
<style>{asset("page.css")}:root {{ --ramp: {_ramp()} }}{style}</style>
</head>
<body>
<main>
{main}
</main>
{after}<script>{asset("page.js")}{script}</script>
</body>
</html>
"""


def machine_line(machine: dict[str, Any]) -> str:
    """What `machine_facts` says, and the time, as a sentence."""
    where = machine["gpu"] or f"{machine['processor']}, {counted(machine['threads'], 'thread')}"
    return f"Measured on {where}; PyTorch {machine['torch']}; {datetime.now():%d %B %Y, %H:%M}."


def paragraphs(lines: Iterable[str]) -> str:
    """A paragraph for every line of plain text."""
    return "".join(f"<p>{escape(line)}</p>" for line in lines)


def asset(name: str) -> str:
    """The text of a file of styles or scripts that lies beside this one."""
    return files("codec.report").joinpath(name).read_text(encoding="utf-8")


def _ramp() -> str:
    """The colour map as a CSS gradient."""
    stops = ", ".join(f"rgb({r} {g} {b})" for r, g, b in colour_map()[::15].tolist())
    return f"linear-gradient(90deg, {stops})"
