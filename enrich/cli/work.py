"""``run``, ``retry`` and ``watch``: work, with its progress."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from enrich.cli.interrupts import interruptible, leave
from enrich.cli.logs import complain
from enrich.cli.output import print_json, print_table, seconds, visible
from enrich.cli.setup import Setup, setup_options

if TYPE_CHECKING:
    from enrich.app import App
    from enrich.oneshot import Progress

#: Failures shown after a run; `enrich status` shows them all.
SHOWN_FAILURES = 10


@click.command("run")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@setup_options
@click.pass_obj
def run_command(setup: Setup, paths: tuple[Path, ...], as_json: bool) -> int:
    """Ingest and enrich PATHS (default: the roots), work off the queue, and exit."""
    return _work(setup, as_json, lambda app, stop, tick: app.run(paths, stop=stop, tick=tick))


@click.command("retry")
@click.option("--step", help="Only this step's jobs.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@setup_options
@click.pass_obj
def retry_command(setup: Setup, step: str | None, as_json: bool) -> int:
    """Try failed files and jobs again, from their first attempt."""
    return _work(setup, as_json, lambda app, stop, tick: app.retry(step, stop=stop, tick=tick))


@click.command("watch")
@setup_options
@click.pass_obj
def watch_command(setup: Setup) -> int:
    """Look after the roots until SIGTERM or SIGINT: take in what arrives, work off the queue.

    A first signal finishes what was begun, within drain_seconds; a second one ends at once. Nothing is
    lost by either.
    """
    from enrich.app import build
    from enrich.recycling import Recycling

    stop = threading.Event()
    recycling = Recycling(stop)
    app = build(setup.settings(), bundled_only=setup.bundled_only, recycling=recycling)

    with interruptible(stop) as recycling.signals:
        try:
            app.watch(
                stop=stop, on_ready=lambda: _say_ready(app), on_stuck=lambda: leave(0, recycling=recycling)
            )
        finally:
            app.close()
    if recycling.is_due():
        recycling.start_anew()
    return 0


def _say_ready(app: App) -> None:
    if sys.stderr.isatty():  # a service manager is told otherwise, and logs are not interrupted
        roots = ", ".join(visible(str(root.path)) for root in app.settings.roots)
        click.echo(f"watching {roots}; stop with Ctrl-C", err=True)


def _work(setup: Setup, as_json: bool, work: Callable[[App, threading.Event, Any], Progress]) -> int:
    from enrich.app import build

    app = build(setup.settings(), bundled_only=setup.bundled_only)
    stop = threading.Event()
    started = time.monotonic()
    try:
        with interruptible(stop) as interrupted, _bar(app) as tick:
            progress = work(app, stop, tick)
        _report(app, progress, time.monotonic() - started, as_json)
    finally:
        app.close()
    if interrupted:
        complain("interrupted; what is left stays pending")
        return 130
    return 1 if progress.failed else 0


@contextlib.contextmanager
def _bar(app: App) -> Iterator[Callable[[Progress], None]]:
    """Show progress with rate and time left, on a terminal only."""
    if not sys.stderr.isatty():
        yield lambda progress: None
        return
    from rich import progress as rich_progress
    from rich.console import Console

    from enrich.catalog import report

    columns = (
        rich_progress.TextColumn("{task.description}"),
        rich_progress.BarColumn(),
        rich_progress.MofNCompleteColumn(),
        rich_progress.TextColumn("{task.fields[rate]}"),
        rich_progress.TimeRemainingColumn(),
    )
    with rich_progress.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("looking for files", total=None, rate="")
        looked_at = 0.0

        def tick(progress: Progress) -> None:
            nonlocal looked_at
            if time.monotonic() - looked_at < 1:
                return
            looked_at = time.monotonic()
            done = sum(count for state, count in progress.jobs.items() if state != "pending")
            found = sum(progress.files.values())
            what = f"{found} files{', looking for more' if progress.is_scanning else ''}; jobs"
            speed = bar.tasks[0].speed
            bar.update(
                task,
                description=what,
                completed=done,
                total=done + report.open_jobs(app.engine),
                rate=f"{speed:.1f}/s" if speed else "",
            )

        yield tick


def _report(app: App, progress: Progress, elapsed_seconds: float, as_json: bool) -> None:
    from enrich.catalog import report

    failures = report.failures(app.engine, SHOWN_FAILURES + 1) if progress.failed else []
    if as_json:
        print_json(
            {
                "files": dict(progress.files),
                "jobs": dict(progress.jobs),
                "missing": progress.missing,
                "offline": progress.offline,
                "elapsed_seconds": round(elapsed_seconds, 3),
                "failures": failures[:SHOWN_FAILURES],
            }
        )
        return
    click.echo(
        f"files: {_counts(progress.files) or 'none'}"
        + (f"; {progress.missing} now missing" if progress.missing else "")
        + f"\njobs: {_counts(progress.jobs) or 'none'}\nin {seconds(elapsed_seconds)}"
    )
    paused_at = report.status(app.engine)["paused_at"]
    if paused_at is not None:
        click.echo(f"paused since {paused_at:%Y-%m-%d %H:%M:%S} UTC: jobs wait until you say: enrich resume")
    for path in progress.offline:
        click.echo(f"offline: {visible(str(path))} is gone or was emptied; nothing was marked as missing")
    if failures:
        columns = ("path", "step", "error_kind", "error")
        print_table(
            columns, [[row[name] for name in columns] for row in failures[:SHOWN_FAILURES]], title="failed"
        )
        if len(failures) > SHOWN_FAILURES:
            click.echo("more of them: enrich status; try them again: enrich retry")


def _counts(counted: dict[str, int]) -> str:
    names = {"pending": "to be tried again"}
    return ", ".join(
        f"{count} {names.get(state, state)}" for state, count in sorted(counted.items()) if count
    )
