"""The report's tables in the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from codec.report.figures import Exhibit, headings, missing_notes, rows


_WIDE = 118  # columns; below that a time is shown as its speed alone


def print_exhibit(console: Console, exhibit: Exhibit) -> None:
    """Print the table of an exhibit, and why figures are missing."""
    narrow = console.width < _WIDE
    title = f"{exhibit.title} ({exhibit.described})"
    table = Table(title=title, title_justify="left", title_style="bold", header_style="dim", pad_edge=False)
    table.add_column("codec", no_wrap=True)
    for heading in headings(exhibit.is_audio):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows(exhibit):
        name = Text(row.name, style="bold" if row.ours else "")
        table.add_row(
            name.append(f"\n{row.remark}", style="dim"),
            *(_cell(cell, narrow) for cell in row.cells),
            style="cyan" if row.ours else "",
        )
    console.print()
    console.print(table)
    for note in [*exhibit.notes, *missing_notes(exhibit)]:
        console.print(note, style="dim", highlight=False, markup=False)


def _cell(text: str, narrow: bool) -> str:
    _, _, aside = text.partition(" (")
    return aside.rstrip(")") if narrow and aside else text
