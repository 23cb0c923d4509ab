"""The report's tables in the terminal."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from codec.report.figures import TIMES, Exhibit, headings, missing_notes, rows

_WIDE = 116  # columns; below that settings and times make room for the figures


def print_exhibit(console: Console, exhibit: Exhibit) -> None:
    """Print the table of an exhibit, and why figures are missing."""
    wide = console.width >= _WIDE
    table = Table(
        title=f"{exhibit.title} ({exhibit.described})",
        title_justify="left",
        title_style="bold",
        header_style="dim",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    table.add_column("codec", no_wrap=True)
    if wide:
        table.add_column("setting", style="dim", no_wrap=True)
    *figures, encode, decode = headings(exhibit.is_audio)
    speed = "xRT" if exhibit.is_audio else "Mpx/s"
    times = [f"{encode} ({speed})", f"{decode} ({speed})"] if wide else [f"enc {speed}", f"dec {speed}"]
    for heading in [*figures, *times]:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows(exhibit):
        cells = [_plain(cell, wide) for cell in row.cells]
        cells = [row.remark, *cells] if wide else cells
        table.add_row(row.name, *cells, style="bold cyan" if row.ours else "")
    console.print()
    console.print(table)
    for note in [*exhibit.notes, *missing_notes(exhibit)]:
        console.print(note, style="dim", highlight=False, markup=False)


def _plain(cell: str, wide: bool) -> str:
    """A cell without the unit its heading names; where it is narrow, of a time only the speed."""
    figure, _, aside = cell.partition(" (")
    speed = aside.rstrip(")").removesuffix(" Mpx/s").removesuffix(TIMES)
    return f"{figure} ({speed})" if wide and speed else speed or figure
