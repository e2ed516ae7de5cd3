"""Results on stdout: tables for people, one JSON document for programs."""

from __future__ import annotations

import datetime as dt
import json
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["as_table", "joined", "print_json", "print_json_line", "print_table", "seconds", "visible"]

#: As many characters of a first column, which names what the row is about, are never cut.
NAME_COLUMNS = 24

#: Categories that move the cursor, hide or reorder text: control, format, surrogate, unassigned.
_INVISIBLE = {"Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp"}


def visible(text: str, keep: str = "") -> str:
    """Return ``text`` with control characters written out, so that a name cannot write on a terminal."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        c
        if c in keep or unicodedata.category(c) not in _INVISIBLE
        else c.encode("unicode_escape", "surrogatepass").decode()
        for c in text
    )


def print_json(document: Any) -> None:
    """Print one JSON document."""
    click.echo(json.dumps(document, indent=2, ensure_ascii=False, default=_plain))


def print_json_line(document: Any) -> None:
    """Print one JSON document on a line of its own, for whoever reads a stream of them."""
    click.echo(json.dumps(document, ensure_ascii=False, separators=(",", ":"), default=_plain))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str | None = None) -> None:
    """Print rows under their column names; cut to the terminal's width only on a terminal."""
    from rich.console import Console

    is_terminal = sys.stdout.isatty()
    console = Console(
        soft_wrap=not is_terminal, markup=False, highlight=False, width=None if is_terminal else 10_000
    )
    console.print(as_table(columns, rows, title=title, is_terminal=is_terminal))


def as_table(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str | None, is_terminal: bool
) -> Table:
    """Return rows under their column names, to be printed."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, title=title, title_justify="left", title_style="bold", pad_edge=False)
    cells = [[_cell(value) for value in row] for row in rows]
    for column in columns:
        table.add_column(column, overflow="ellipsis" if is_terminal else "fold", no_wrap=not is_terminal)
    if columns and is_terminal:
        # What a row is about stays legible where there is room for little else.
        longest = max((len(row[0]) for row in cells), default=0)
        table.columns[0].min_width = min(longest, NAME_COLUMNS)
    for row in cells:
        table.add_row(*row)
    return table


def joined(row: Mapping[str, Any]) -> list[Any]:
    """Return a row's values for a table, lists as one text."""
    return [", ".join(value) if isinstance(value, list) else value for value in row.values()]


def seconds(value: float) -> str:
    """Return a duration for people."""
    if value < 1:
        return f"{value * 1000:.0f} ms"
    if value < 120:
        return f"{value:.1f} s"
    if value < 2 * 3600:
        return f"{value / 60:.1f} min"
    return f"{value / 3600:.1f} h" if value < 48 * 3600 else f"{value / 86400:.1f} days"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dt.datetime):
        return value.isoformat(" ", "seconds")
    if isinstance(value, (Mapping, list)):
        return visible(json.dumps(value, ensure_ascii=False, default=_plain))
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    return visible(str(value).replace("\n", " ⏎ "))


def _plain(value: Any) -> Any:
    if isinstance(value, dt.datetime):
        return value.isoformat()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, bytes):
        return value.hex()
    if hasattr(value, "tolist"):
        return value.tolist()
    return str(value)
