"""The moving parts, put together and taken apart in order: what `run` and `watch` have in common."""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import socket
import threading
from collections import Counter as Tally
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from enrich import __version__
from enrich.breaker import Breaker
from enrich.catalog import steps as catalog_steps
from enrich.catalog.steps import ItemRow, StepRow
from enrich.catalog.writer import PATIENCE_SECONDS, Writer
from enrich.errors import CatalogError
from enrich.intake import Intake
from enrich.lease import worker_name
from enrich.observers import Observers
from enrich.originals import DecoderPool
from enrich.outbox import CatalogOutbox, make_courier
from enrich.pipeline import Pipeline
from enrich.reading import Reader
from enrich.recorder import Recorder
from enrich.rendition import DecodeBudget
from enrich.worker import Worker

if TYPE_CHECKING:
    import sqlalchemy as sa

    from enrich.host import BoundStep, Host
    from enrich.outbound import Courier
    from enrich.rendition import Opener
    from enrich.settings import Settings

__all__ = ["Listeners", "Parts", "assemble"]

log = logging.getLogger(__name__)

#: What all decoders of a process may need at one moment.
DECODE_BYTES = 1_000_000_000
#: How long observers may take at the end for what waits for them.
OBSERVERS_SECONDS = 10.0
#: And how long webhooks may, that are due then.
COURIER_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Parts:
    """What takes in and works off; started and stopped by whoever asked for it."""

    writer: Writer
    intake: Intake
    worker: Worker
    courier: Courier


@dataclass(frozen=True, slots=True)
class Listeners:
    """Who is told of progress: of files by state, of jobs by state and broken files, of doubted files."""

    on_written: Callable[[Tally[str]], None] = lambda states: None
    on_recorded: Callable[[Tally[str], int], None] = lambda counted, broken_files: None
    on_doubt: Callable[[Path], None] = lambda path: None


@contextlib.contextmanager
def assemble(
    settings: Settings,
    engine: sa.Engine,
    host: Host,
    steps: Sequence[BoundStep],
    *,
    kind: Literal["run", "watch", "retry"],
    listeners: Listeners,
    given_up: threading.Event | None = None,
) -> Iterator[Parts]:
    """Put the parts together; take them apart afterwards.

    Parameters
    ----------
    settings : Settings
        The configuration.
    engine : sqlalchemy.Engine
        The catalog.
    host : Host
        The plugins.
    steps : sequence of BoundStep
        The steps, in order.
    kind : str
        What the run is said to be.
    listeners : Listeners
        Who is told of progress.
    given_up : threading.Event or None
        A daemon's: a catalog that is away is waited for until it is set, and a step that fails for
        everyone is paused.
    """
    with contextlib.ExitStack() as stack:
        is_daemon = given_up is not None
        patience_seconds = float("inf") if is_daemon else PATIENCE_SECONDS
        writer = Writer(engine, patience_seconds=patience_seconds, given_up=given_up)
        stack.callback(writer.close)
        generator_ids, run_id = writer.write(lambda connection: _begin(connection, steps, kind))
        stack.callback(_end_run, writer, run_id)
        opener = host.open_original if host.implementing("enrich_open") else None
        decoder = _decoder(settings, opener)
        stack.callback(decoder.close)
        host.notify("enrich_startup")
        stack.callback(host.notify, "enrich_shutdown")
        courier = make_courier(settings, engine, writer)
        outbox = CatalogOutbox(settings, engine, writer, courier)
        # A daemon that is told to end leaves to its next start what it could not post yet.
        stack.callback(courier.stop if is_daemon else courier.finish, COURIER_SECONDS)
        courier.start()
        observers = Observers(host, outbox)
        stack.callback(observers.close, OBSERVERS_SECONDS)
        pipeline = Pipeline(host, steps, generator_ids, max_attempts=settings.max_attempts)
        breaker = Breaker([step.name for step in steps]) if is_daemon else None
        recorder = Recorder(
            writer,
            pipeline,
            worker=worker_name(),
            run_id=run_id,
            breaker=breaker,
            on_annotated=observers.of("enrich_annotated", "asset_id", "step"),
            on_recorded=listeners.on_recorded,
            on_doubt=listeners.on_doubt,
        )
        worker = _worker(settings, writer, pipeline, decoder, recorder, breaker, steps)
        intake = _intake(settings, writer, opener, observers, listeners, worker)
        yield Parts(writer, intake, worker, courier)


def _decoder(settings: Settings, opener: Opener | None) -> DecoderPool:
    budget = DecodeBudget(DECODE_BYTES)
    return DecoderPool(threads=settings.threads, max_pixels=settings.max_pixels, budget=budget, opener=opener)


def _worker(
    settings: Settings,
    writer: Writer,
    pipeline: Pipeline,
    decoder: DecoderPool,
    recorder: Recorder,
    breaker: Breaker | None,
    steps: Sequence[BoundStep],
) -> Worker:
    return Worker(
        worker_name(),
        writer,
        pipeline,
        decoder,
        recorder,
        steps=[step.name for step in steps],
        batch_size=settings.batch_size,
        lease_seconds=settings.lease_seconds,
        breaker=breaker,
    )


def _intake(
    settings: Settings,
    writer: Writer,
    opener: Opener | None,
    observers: Observers,
    listeners: Listeners,
    worker: Worker,
) -> Intake:
    def written(states: Tally[str]) -> None:
        listeners.on_written(states)
        worker.wake()

    return Intake(
        writer,
        Reader(max_pixels=settings.max_pixels, opener=opener),
        threads=settings.threads,
        on_asset=observers.of("enrich_asset_ingested", "asset_id", "path"),
        on_written=written,
    )


def _begin(
    connection: sa.Connection, steps: Sequence[BoundStep], kind: Literal["run", "watch", "retry"]
) -> tuple[dict[str, int], int]:
    now = dt.datetime.now(dt.UTC)
    generator_ids = catalog_steps.sync(connection, [_step_row(step) for step in steps], now)
    for step in steps:  # whatever ailed it, it is tried again
        catalog_steps.set_trouble(connection, step.name, None, None)
    host_name = socket.gethostname()
    run_id = catalog_steps.start_run(connection, kind, version=__version__, host=host_name, now=now)
    return generator_ids, run_id


def _end_run(writer: Writer, run_id: int) -> None:
    now = dt.datetime.now(dt.UTC)
    try:
        writer.write(lambda connection: catalog_steps.end_run(connection, run_id, now))
    except CatalogError as error:
        log.warning("the end of the run was not recorded: %s", error)


def _step_row(step: BoundStep) -> Any:
    made_by = step.generator
    return StepRow(
        step.name,
        step.priority,
        made_by.hook,
        made_by.plugin,
        made_by.plugin_revision,
        made_by.model,
        made_by.model_revision,
        made_by.options,
        made_by.options_digest,
        {name: ItemRow(item.options, item.options_digest) for name, item in step.items.items()},
    )
