"""How the demo is told: chapters that say how long they took, and promises that must be kept."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import click

from enrich.cli.output import seconds

__all__ = ["Unkept", "chapter", "promise", "shortened"]

_CELL = 48


class Unkept(Exception):
    """What enrich promises did not happen."""


def promise(is_kept: bool, broken: str) -> None:
    """Go on if a promise was kept; ``broken`` says what was found instead.

    Raises
    ------
    Unkept
        It was not.
    """
    if not is_kept:
        raise Unkept(broken)


@contextmanager
def chapter(title: str) -> Iterator[None]:
    """Say what happens now, and how long it took."""
    click.echo(f"\n{title} ...", nl=False)
    started = time.perf_counter()
    try:
        yield
    except BaseException:
        click.echo()  # whatever is said of it has a line of its own
        raise
    click.echo(f" {seconds(time.perf_counter() - started)}")


def shortened(text: str | None) -> str:
    """Return a text as a cell of a table."""
    text = " / ".join((text or "").splitlines())
    return text if len(text) <= _CELL else text[: _CELL - 3] + "..."
