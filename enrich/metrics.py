"""What Prometheus reads of the daemon: a text file for node_exporter, or a port that serves it.

The home of prometheus_client. Numbers of the catalog (files, jobs, roots) are the catalog's, so two
daemons on one catalog say the same; numbers of the process begin with ``enrich_process_``.
"""

from __future__ import annotations

import datetime as dt
import logging
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server, write_to_textfile
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from enrich import __version__
from enrich.errors import ConfigError

__all__ = ["Metrics"]

log = logging.getLogger(__name__)

Read = Callable[[], Mapping[str, Any]]

#: Prometheus gives up after 10 seconds unless told otherwise; an answer without the catalog's
#: numbers is worth more than none.
READ_SECONDS = 5.0

_FILE_STATES = ("present", "missing", "ignored", "failed")
_JOB_STATES = ("pending", "running", "done", "skipped", "failed")


class Metrics:
    """The daemon's numbers, in Prometheus's words.

    Parameters
    ----------
    read : callable
        Returns ``{"status": what report.status returns, or None where the catalog does not answer,
        "process": numbers of this process by name}``. It is called once for each reading, in a
        thread of its own, and may hang or raise: the answer is then ``enrich_catalog_up 0``, and no
        metric of the catalog.
    read_seconds : float
        How long a reader waits for ``read``.
    """

    def __init__(self, read: Read, *, read_seconds: float = READ_SECONDS) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Numbers(_Reading(read, read_seconds)))
        self._stop_server: Callable[[], None] | None = None
        self._is_written = True

    def write(self, path: Path) -> None:
        """Replace a text file in one piece; that it cannot be written is logged once, and not raised."""
        try:
            write_to_textfile(str(path), self._registry)
        except OSError as error:
            if self._is_written:
                log.warning("metrics: %s cannot be written, it is tried on: %s", path, error)
            self._is_written = False
        else:
            if not self._is_written:
                log.warning("metrics: %s is written again", path)
            self._is_written = True

    def serve(self, host: str, port: int) -> int:
        """Serve /metrics from a thread until ``close``; return the port (0 takes any that is free).

        Raises
        ------
        ConfigError
            The port is taken, or the address is not this machine's. Not retryable.
        """
        try:
            server, thread = start_http_server(port, host, self._registry)
        except OSError as error:
            raise ConfigError(
                f"metrics: {host}:{port} cannot be served: {error.strerror or error}"
            ) from error

        def stop() -> None:
            server.shutdown()
            server.server_close()
            thread.join()

        self._stop_server = stop
        return int(server.server_port)

    def close(self) -> None:
        """Stop serving."""
        stop, self._stop_server = self._stop_server, None
        if stop is not None:
            stop()


class _Reading:
    """Calls ``read`` with patience: readers that come while it hangs wait for the same call."""

    def __init__(self, read: Read, seconds: float) -> None:
        self._read = read
        self._seconds = seconds
        self._lock = threading.Lock()
        self._latest: Future[list[Metric]] | None = None
        self._is_said = False

    def take(self) -> list[Metric]:
        with self._lock:
            if self._latest is None or self._latest.done():
                self._latest = Future()
                # A daemon thread, because an executor's would keep a process that ends waiting for it.
                threading.Thread(target=self._run, args=(self._latest,), name="metrics", daemon=True).start()
            latest = self._latest
        try:
            return latest.result(self._seconds)
        except TimeoutError:
            return list(_of_nothing())

    def _run(self, future: Future[list[Metric]]) -> None:
        try:
            future.set_result(list(_of_reading(self._read())))
        # Whatever it is, the process's own numbers are still wanted, and metrics stop no daemon.
        except Exception:
            if not self._is_said:
                log.exception("metrics: the catalog's numbers cannot be had")
            self._is_said = True
            future.set_result(list(_of_nothing()))
        else:
            self._is_said = False


class _Numbers(Collector):
    def __init__(self, reading: _Reading) -> None:
        self._reading = reading
        # The usual numbers of a process under a name of ours: node_exporter, which reads the text
        # file, has a process_resident_memory_bytes of its own.
        self._process = ProcessCollector(namespace="enrich", registry=None)

    def collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily("enrich_build", "The version.", {"version": __version__})
        numbers = {metric.name: metric for metric in self._reading.take()}
        # What the client library measures goes before what we are told: no name may come twice.
        numbers.update((metric.name, metric) for metric in self._process.collect())
        yield from numbers.values()


def _of_nothing() -> Iterator[Metric]:
    yield _gauge("catalog_up", "Whether the catalog answers.", False)


def _of_reading(reading: Mapping[str, Any]) -> Iterator[Metric]:
    status = reading["status"]
    if status is None:
        yield from _of_nothing()
    else:
        yield _gauge("catalog_up", "Whether the catalog answers.", True)
        yield from _of_catalog(status)
        yield from _of_steps(status["steps"])
        yield from _of_roots(status["roots"])
    yield from _of_process(reading["process"])


def _of_catalog(status: Mapping[str, Any]) -> Iterator[Metric]:
    counted = {**dict.fromkeys(_FILE_STATES, 0), **status["files"]}
    yield _labelled("files", "Files by state.", ("state",), ((key,) for key in counted), counted.values())
    yield _gauge("assets", "Assets in the catalog.", status["assets"])
    yield _gauge("paused", "Whether claiming is paused by `enrich pause`.", status["paused_at"] is not None)


def _of_steps(steps: Iterable[Mapping[str, Any]]) -> Iterator[Metric]:
    steps = list(steps)
    names = [(step["step"],) for step in steps]
    yield _labelled(
        "jobs",
        "Jobs by step and state.",
        ("step", "state"),
        [(step["step"], state) for step in steps for state in _JOB_STATES],
        [step[state] for step in steps for state in _JOB_STATES],
    )
    yield _labelled(
        "stale_jobs",
        "Jobs whose annotations were made by another generator than the step's present one.",
        ("step",),
        names,
        [step["stale"] for step in steps],
    )
    yield _labelled(
        "step_paused",
        "Whether a step is paused because it failed for everyone.",
        ("step",),
        names,
        [step["paused_until"] is not None for step in steps],
    )


def _of_roots(roots: Iterable[Mapping[str, Any]]) -> Iterator[Metric]:
    roots = list(roots)
    names = [(root["path"],) for root in roots]

    def gauge(name: str, said: str, values: Iterable[Any]) -> Metric:
        return _labelled(name, said, ("root",), names, values)

    yield gauge("root_online", "Whether a root is there.", [root["state"] == "online" for root in roots])
    yield gauge("root_folders", "Folders of a root.", [root["folders"] for root in roots])
    yield gauge("root_watches", "Folders whose events are heard.", [root["watches"] for root in roots])
    yield gauge(
        "root_last_scan_timestamp_seconds",
        "When a root was last looked through.",
        [_timestamp(root["scanned_at"]) for root in roots],
    )
    for name, said in (
        ("events_seen", "Events of the file system that were heard."),
        ("events_lost", "How often events were lost; each time the root is looked through."),
        ("rescued", "Files found by a rescan, of which no event had told."),
    ):
        family = CounterMetricFamily(f"enrich_{name}", said, labels=("root",))
        for root in roots:
            family.add_metric((_clean(root["path"]),), root[name])
        yield family


def _of_process(numbers: Mapping[str, float]) -> Iterator[Metric]:
    for name, value in numbers.items():
        name = "enrich_process_" + re.sub(r"\W", "_", name, flags=re.ASCII)
        said = f"{name.removeprefix('enrich_process_').replace('_', ' ').capitalize()}."
        if name.endswith("_total"):
            yield CounterMetricFamily(name, said, value)
        else:
            yield GaugeMetricFamily(name, said, value)


def _gauge(name: str, said: str, value: float) -> Metric:
    return GaugeMetricFamily(f"enrich_{name}", said, float(value))


def _labelled(
    name: str,
    said: str,
    labels: tuple[str, ...],
    named: Iterable[tuple[str, ...]],
    values: Iterable[float | None],
) -> Metric:
    """Return a gauge of many values; what is not known is left out."""
    family = GaugeMetricFamily(f"enrich_{name}", said, labels=labels)
    for texts, value in zip(named, values, strict=True):
        if value is not None:
            family.add_metric([_clean(text) for text in texts], float(value))
    return family


def _timestamp(instant: dt.datetime | None) -> float | None:
    return None if instant is None else instant.timestamp()


def _clean(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()  # the text format is UTF-8
