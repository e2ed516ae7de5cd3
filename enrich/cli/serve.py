"""``serve``: the daemon and the HTTP API in one process."""

from __future__ import annotations

import logging
import threading

import click

from enrich.cli.interrupts import interruptible, leave
from enrich.cli.setup import Setup, setup_options

log = logging.getLogger("enrich.http")


@click.command("serve")
@click.option("--no-watch", is_flag=True, help="Answer HTTP only; look after no root.")
@click.option("--host", help="The address to listen at, instead of api.host.")
@click.option(
    "--port", type=click.IntRange(0, 65535), help="Its port, instead of api.port; 0 takes a free one."
)
@setup_options
@click.pass_obj
def serve_command(setup: Setup, no_watch: bool, host: str | None, port: int | None) -> int:
    """Offer the models over HTTP, and do what `enrich watch` does, in one process.

    A first signal finishes what was accepted, within drain_seconds; a second one ends at once. Async
    tasks that are not done go on at the next start.
    """
    if host is not None:
        setup.overrides["api.host"] = host
    if port is not None:
        setup.overrides["api.port"] = port
    settings = setup.settings()
    # A line for each request is wanted whatever else is not.
    log.setLevel(logging.INFO)
    from enrich.app import build
    from enrich.errors import ExtraMissing
    from enrich.recycling import Recycling

    try:
        from enrich.api.server import serve
    except ImportError as error:
        raise ExtraMissing(
            f"HTTP needs a package that is not installed ({error.name}): pip install 'enrich-dam[api]'"
        ) from error
    stop = threading.Event()
    recycling = Recycling(stop)
    is_watching = not no_watch and bool(settings.roots)
    app = build(settings, bundled_only=setup.bundled_only, recycling=recycling, needs_steps=is_watching)
    with interruptible(stop) as recycling.signals:
        try:
            serve(
                app,
                is_watching=is_watching,
                stop=stop,
                on_ready=_say_ready,
                on_stuck=lambda: leave(0, recycling=recycling),
            )
        finally:
            app.close()
    if recycling.is_due():
        recycling.start_anew()
    return 0


def _say_ready(url: str) -> None:
    # Logged, not printed: whoever reads the log as JSON wants nothing else there.
    log.info("serving %s", url)
