"""``status --follow``: the state of the catalog, kept up to date until a signal comes."""

from __future__ import annotations

import datetime as dt
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from enrich.cli.interrupts import interruptible
from enrich.cli.output import as_table, print_json_line, visible
from enrich.cli.state import headline, line, sections
from enrich.errors import CatalogError, CatalogMissing

if TYPE_CHECKING:
    import sqlalchemy as sa

__all__ = ["follow"]

#: A state of the catalog, and why there is no newer one.
Show = Callable[[Mapping[str, Any] | None, str | None], None]


def follow(engine: sa.Engine, interval_seconds: float, *, as_json: bool) -> int:
    """Show the state again and again; return the exit code once SIGINT or SIGTERM came."""
    stop = threading.Event()
    with interruptible(stop) as came:
        if not as_json and sys.stdout.isatty():
            _redraw(engine, interval_seconds, stop)
        else:
            _look(engine, interval_seconds, stop, _Changes(as_json=as_json))
    return 130 if came[0] == signal.SIGINT else 0


def _look(engine: sa.Engine, interval_seconds: float, stop: threading.Event, show: Show) -> None:
    """Show the state until told to stop; a catalog that does not answer is asked again."""
    from enrich.catalog import report

    status: Mapping[str, Any] | None = None
    while not stop.is_set():
        trouble = None
        try:
            status = report.status(engine)
        except (CatalogError, CatalogMissing) as error:
            trouble = str(error)
        show(status, trouble)
        stop.wait(interval_seconds)


def _redraw(engine: sa.Engine, interval_seconds: float, stop: threading.Event) -> None:
    from rich.console import Console, Group, RenderableType
    from rich.live import Live
    from rich.text import Text

    with Live(console=Console(markup=False, highlight=False), auto_refresh=False) as live:

        def show(status: Mapping[str, Any] | None, trouble: str | None) -> None:
            now = dt.datetime.now(dt.UTC)
            parts: list[RenderableType] = [Text(f"{now:%H:%M:%S} UTC; Ctrl-C ends this", style="dim")]
            if trouble is not None:
                parts.append(Text(f"{visible(trouble)}; looking again", style="bold red"))
            if status is not None:
                parts.append(Text(headline(status)))
                parts += [
                    as_table(section.columns, section.rows, title=section.title, is_terminal=True)
                    for section in sections(status, now)
                ]
            live.update(Group(*parts), refresh=True)

        _look(engine, interval_seconds, stop, show)


class _Changes:
    """Prints a line whenever the state is another one than before."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._before: object = None

    def __call__(self, status: Mapping[str, Any] | None, trouble: str | None) -> None:
        if trouble is not None or status is None:
            seen: object = trouble
        else:
            seen = _lasting(status) if self._as_json else line(status)
        if seen == self._before:
            return
        self._before = seen
        now = dt.datetime.now(dt.UTC)
        if self._as_json:
            print_json_line({"at": now, "error": trouble, **((not trouble and status) or {})})
        else:
            said = seen if trouble is None else f"{visible(trouble)}; looking again"
            click.echo(f"{now:%H:%M:%S} {said}")


def _lasting(status: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state without what changes although nothing happens."""
    roots = [{**root, "updated_at": None, "scanned_at": None} for root in status["roots"]]
    return {**status, "roots": roots}
