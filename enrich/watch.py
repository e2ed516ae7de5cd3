"""``enrich watch``, put together."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from enrich.assembly import Listeners, Parts, assemble
from enrich.catalog import files, report, roots
from enrich.catalog.ownership import Ownership
from enrich.catalog.roots import RootReport
from enrich.daemon import STOPPING_SECONDS, Daemon
from enrich.doubts import Doubts
from enrich.errors import CatalogError
from enrich.keeper import Keeper
from enrich.lookout import Lookout
from enrich.metrics import Metrics
from enrich.reading import look
from enrich.settings import Root
from enrich.sweep import Catalogued
from enrich.systemd import Notifier

if TYPE_CHECKING:
    import sqlalchemy as sa

    from enrich.host import BoundStep, Host
    from enrich.scan import Candidate
    from enrich.settings import Settings

__all__ = ["watch"]


def watch(
    settings: Settings,
    engine: sa.Engine,
    host: Host,
    steps: Sequence[BoundStep],
    *,
    stop: threading.Event,
    on_ready: Callable[[], None],
    on_stuck: Callable[[], None],
    comes_back: Callable[[], bool] = lambda: False,
    numbers: Callable[[], Mapping[str, float]] = dict,
) -> None:
    """Look after the roots until ``stop`` is set, then drain; ``on_stuck`` is called if that took too long.

    ``comes_back`` tells whether the process starts anew after that, ``numbers`` are more ones of the process
    for the metrics.

    Raises
    ------
    EnrichError
        A part of the daemon ended by itself.
    """
    catalogued = Catalogued(engine, stop)
    doubts = Doubts(catalogued)
    listeners = Listeners(on_doubt=doubts.add)
    given_up, ended = threading.Event(), threading.Event()
    threading.Thread(
        target=_end_in_time,
        args=(stop, settings.drain_seconds, given_up, ended, on_stuck),
        name="end in time",
        daemon=True,
    ).start()
    with (
        contextlib.ExitStack() as stack,
        contextlib.closing(Metrics(lambda: _numbers(engine, parts, numbers))) as metrics,
        assemble(
            settings, engine, host, steps, kind="watch", listeners=listeners, given_up=given_up
        ) as parts,
    ):
        stack.callback(ended.set)
        if settings.metrics.port is not None:
            metrics.serve(settings.metrics.host, settings.metrics.port)
        file = settings.metrics.file
        keepers = [_keeper(root, engine, parts, catalogued, stop) for root in settings.roots]
        daemon = Daemon(
            parts,
            keepers,
            lambda seconds: doubts.look(
                lambda candidate: _offer(candidate, parts, settings.roots),
                lambda ids: _miss(parts, ids),
                seconds,
            ),
            notifier=Notifier.from_environment(os.environ, comes_back=comes_back),
            drain_seconds=settings.drain_seconds,
            write_metrics=None if file is None else lambda: metrics.write(file),
        )
        if not daemon.run(stop, on_ready):
            on_stuck()


def _end_in_time(
    stop: threading.Event,
    drain_seconds: float,
    given_up: threading.Event,
    ended: threading.Event,
    on_stuck: Callable[[], None],
) -> None:
    """Let nothing keep a process that was told to end: no catalog that is away, at its start or later."""
    stop.wait()
    if not ended.wait(drain_seconds):
        given_up.set()
        if not ended.wait(STOPPING_SECONDS):
            on_stuck()


def _keeper(
    root: Root, engine: sa.Engine, parts: Parts, catalogued: Catalogued, stop: threading.Event
) -> Keeper:
    lookout = Lookout(
        root,
        own=engine.url.database or "",
        catalogued=catalogued,
        offer=lambda candidate: parts.intake.offer(candidate, root.settle_seconds),
        miss=lambda ids: _miss(parts, ids),
        stop=stop,
    )

    def tell(said: RootReport) -> None:
        parts.writer.write(lambda connection: roots.record(connection, said, _now()))
        parts.worker.wake()  # what was offline may be there

    def leave(path: Path) -> None:
        parts.writer.write(lambda connection: roots.release(connection, path, parts.worker.name, _now()))

    return Keeper(
        root,
        lookout,
        Ownership(engine, root.path),
        owner=parts.worker.name,
        tell=tell,
        leave=leave,
        stop=stop,
    )


def _offer(candidate: Candidate, parts: Parts, configured: Sequence[Root]) -> None:
    root = next((root for root in configured if root.path == candidate.root), Root(path=candidate.root))
    parts.intake.offer(look(replace(candidate, is_followed=root.follow_symlinks)), root.settle_seconds)


def _miss(parts: Parts, file_ids: list[int]) -> int:
    return parts.writer.write(lambda connection: files.mark_missing(connection, file_ids, _now()))


def _numbers(
    engine: sa.Engine, parts: Parts, numbers: Callable[[], Mapping[str, float]]
) -> Mapping[str, Any]:
    """Return what the metrics say; the catalog's part is None while it does not answer."""
    process = {"intake_candidates": parts.intake.pending, **numbers()}
    try:
        return {"status": report.status(engine), "process": process}
    except CatalogError:
        return {"status": None, "process": process}


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
