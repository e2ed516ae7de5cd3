"""What Prometheus reads of the HTTP side: requests, work, batches, queues."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

__all__ = ["CONTENT_TYPE", "Numbers"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)

#: What is read when somebody asks: a gauge's (or a counter's, ``_total``) name, and values by labels.
Reading = tuple[str, str, tuple[str, ...], Mapping[tuple[str, ...], float]]


class Numbers:
    """Counts, in a registry of its own; may be told from any thread."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._readings = _Readings()
        self._registry.register(self._readings)
        # Under a name of ours: node_exporter has a process_resident_memory_bytes of its own.
        ProcessCollector(namespace="enrich", registry=self._registry)
        self._requests = Counter(
            "enrich_http_requests", "Requests answered.", ("dialect", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "enrich_http_request_seconds",
            "From a request's head to its answer's end.",
            ("dialect",),
            registry=self._registry,
            buckets=_SECONDS,
        )
        self._failures = Counter(
            "enrich_http_failures",
            "Requests refused or failed, by cause.",
            ("dialect", "kind"),
            registry=self._registry,
        )
        self._work = Histogram(
            "enrich_work_seconds",
            "Work for requests, by what was asked of which model.",
            ("kind", "model"),
            registry=self._registry,
            buckets=_SECONDS,
        )
        self._work_failures = Counter(
            "enrich_work_failures", "Work that failed, by cause.", ("kind", "cause"), registry=self._registry
        )

    def add(self, read: Callable[[], Iterator[Reading]]) -> None:
        """Ask ``read`` for more numbers whenever somebody reads; what it raises leaves its numbers out."""
        self._readings.sources.append(read)

    def answered(self, dialect: str, status: int, kind: str | None, seconds: float) -> None:
        """Count a request that was answered; ``kind`` is why it failed."""
        self._requests.labels(dialect, str(status)).inc()
        self._seconds.labels(dialect).observe(seconds)
        if kind is not None:
            self._failures.labels(dialect, kind).inc()

    def worked(self, dialect: str, kind: str, model: str, status: str, seconds: float) -> None:
        """Count what a model did; models that nobody has are not told apart, for anyone can name some."""
        if status == "success":
            self._work.labels(kind, model).observe(seconds)
        else:
            self._work_failures.labels(kind, status).inc()

    def text(self) -> bytes:
        """Return all numbers in Prometheus's text format."""
        return generate_latest(self._registry)


class _Readings(Collector):
    def __init__(self) -> None:
        self.sources: list[Callable[[], Iterator[Reading]]] = []

    def collect(self) -> Iterator[Metric]:
        for read in self.sources:
            try:
                found = list(read())
            # Numbers are a look from outside: what cannot be read now is missing, and nothing else.
            except Exception:  # noqa: BLE001, S112
                continue
            for name, said, labels, values in found:
                family = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
                metric = family(name, said, labels=labels)
                for key, value in values.items():
                    metric.add_metric(list(key), value)
                yield metric
