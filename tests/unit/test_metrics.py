"""What Prometheus would read: parsed by its own client's parser, and fetched over real HTTP."""

import datetime as dt
import logging
import re
import socket
import threading
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from enrich import __version__
from enrich.errors import CatalogBusy, ConfigError
from enrich.metrics import Metrics

SCANNED_AT = dt.datetime(2030, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
ODD = '/p/"of\nall \\ kinds" \udcff'


def step(name: str, **values: Any) -> dict[str, Any]:
    counts = dict.fromkeys(("pending", "running", "done", "skipped", "failed", "stale"), 0)
    return {"step": name, **counts, "trouble": None, "paused_until": None, **values}


def root(path: str, **values: Any) -> dict[str, Any]:
    named = {"path": path, "state": "online", "reason": None, "mode": "events", "owner": "me"}
    counts = {"folders": 4, "watches": 3, "events_seen": 70, "events_lost": 2, "rescued": 5}
    return {**named, **counts, "scanned_at": SCANNED_AT, "updated_at": SCANNED_AT, **values}


STATUS: dict[str, Any] = {
    "assets": 9,
    "files": {"present": 11, "failed": 1},
    "steps": [step("ocr", pending=2, done=7, stale=1), step("tags", failed=3, paused_until=SCANNED_AT)],
    "roots": [root("/p"), root(ODD, state="offline", folders=None, watches=None, scanned_at=None)],
    "paused_at": None,
    "runs": [],
}


def reading(status: Mapping[str, Any] | None = STATUS, **process: float) -> Callable[[], Mapping[str, Any]]:
    return lambda: {"status": status, "process": process}


def parse(text: str) -> dict[str, float]:
    """Each sample's value, under its name and its labels' values: the step before the state."""
    return {
        " ".join(
            (sample.name, *(text for _, text in sorted(sample.labels.items(), reverse=True)))
        ): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def written(metrics: Metrics, folder: Path) -> str:
    metrics.write(folder / "enrich.prom")
    return (folder / "enrich.prom").read_text(encoding="utf-8")


@contextmanager
def serving(metrics: Metrics) -> Iterator[str]:
    port = metrics.serve("127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{port}/metrics"
    finally:
        metrics.close()


def fetch(url: str) -> dict[str, float]:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return parse(answer.read().decode())


def test_every_number_of_the_catalog_is_there(tmp_path: Path) -> None:
    odd = ODD.replace("\udcff", "\\udcff")
    numbers = parse(written(Metrics(reading()), tmp_path))
    of_catalog = {name: value for name, value in numbers.items() if not name.startswith("enrich_process_")}
    assert of_catalog == {
        f"enrich_build_info {__version__}": 1,
        "enrich_catalog_up": 1,
        "enrich_assets": 9,
        "enrich_paused": 0,
        "enrich_files present": 11,
        "enrich_files missing": 0,
        "enrich_files ignored": 0,
        "enrich_files failed": 1,
        "enrich_jobs ocr pending": 2,
        "enrich_jobs ocr running": 0,
        "enrich_jobs ocr done": 7,
        "enrich_jobs ocr skipped": 0,
        "enrich_jobs ocr failed": 0,
        "enrich_jobs tags pending": 0,
        "enrich_jobs tags running": 0,
        "enrich_jobs tags done": 0,
        "enrich_jobs tags skipped": 0,
        "enrich_jobs tags failed": 3,
        "enrich_stale_jobs ocr": 1,
        "enrich_stale_jobs tags": 0,
        "enrich_step_paused ocr": 0,
        "enrich_step_paused tags": 1,
        "enrich_root_online /p": 1,
        f"enrich_root_online {odd}": 0,
        "enrich_root_folders /p": 4,
        "enrich_root_watches /p": 3,
        "enrich_root_last_scan_timestamp_seconds /p": SCANNED_AT.timestamp(),
        "enrich_events_seen_total /p": 70,
        f"enrich_events_seen_total {odd}": 70,
        "enrich_events_lost_total /p": 2,
        f"enrich_events_lost_total {odd}": 2,
        "enrich_rescued_total /p": 5,
        f"enrich_rescued_total {odd}": 5,
    }


def test_a_pause_is_a_one(tmp_path: Path) -> None:
    metrics = Metrics(reading({**STATUS, "paused_at": SCANNED_AT}))
    assert parse(written(metrics, tmp_path))["enrich_paused"] == 1


def test_numbers_of_the_process_bear_its_name(tmp_path: Path) -> None:
    metrics = Metrics(reading(settling=3, reads_total=8, resident_memory_bytes=1, **{"odd name": 2.5}))
    numbers = parse(written(metrics, tmp_path))
    assert numbers["enrich_process_settling"] == 3
    assert numbers["enrich_process_reads_total"] == 8
    assert numbers["enrich_process_odd_name"] == 2.5
    # What the client library measures goes before what we are told: no name may come twice.
    assert numbers["enrich_process_resident_memory_bytes"] > 1_000_000
    assert numbers["enrich_process_cpu_seconds_total"] > 0


def test_names_are_as_prometheus_wants_them(tmp_path: Path) -> None:
    text = written(Metrics(reading(settling=3, reads_total=8)), tmp_path)
    families = list(text_string_to_metric_families(text))
    assert len({family.name for family in families}) == len(families)
    for family in families:
        assert re.fullmatch(r"enrich_[a-z0-9]+(_[a-z0-9]+)*", family.name)
        assert family.documentation.endswith(".")
        for sample in family.samples:
            assert sample.name.endswith("_total") == (family.type == "counter"), sample.name
            assert set(sample.labels) <= {"root", "step", "state", "version"}


def test_without_the_catalog_the_process_still_answers(tmp_path: Path) -> None:
    numbers = parse(written(Metrics(reading(None, settling=3)), tmp_path))
    assert numbers["enrich_catalog_up"] == 0
    assert numbers["enrich_process_settling"] == 3
    assert numbers["enrich_process_resident_memory_bytes"] > 0
    assert not any(name.startswith(("enrich_jobs", "enrich_files")) for name in numbers)


@pytest.mark.parametrize("answer", [CatalogBusy("restarting"), RuntimeError("a bug"), {"assets": 1}])
def test_numbers_that_cannot_be_had_are_said_once_and_stop_nobody(
    tmp_path: Path, answer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    answers = [answer, answer, STATUS, answer]

    def read() -> Mapping[str, Any]:
        status = answers.pop(0)
        if isinstance(status, Exception):
            raise status
        return reading(status)()

    metrics = Metrics(read)
    seen = [parse(written(metrics, tmp_path)) for _ in range(4)]
    assert [numbers["enrich_catalog_up"] for numbers in seen] == [0, 0, 1, 0]
    assert all("enrich_process_cpu_seconds_total" in numbers for numbers in seen)
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]


def test_a_catalog_that_hangs_hangs_nobody_and_is_asked_once(tmp_path: Path) -> None:
    answer, asked = threading.Event(), threading.Semaphore(0)

    def hang() -> Mapping[str, Any]:
        asked.release()
        assert answer.wait(30)
        return reading()()

    metrics = Metrics(hang, read_seconds=0.05)
    try:
        with serving(metrics) as url:
            assert fetch(url)["enrich_catalog_up"] == 0
            assert fetch(url)["enrich_catalog_up"] == 0
            assert parse(written(metrics, tmp_path))["enrich_catalog_up"] == 0
            assert asked.acquire(timeout=5)
            assert not asked.acquire(blocking=False)
    finally:
        answer.set()


def test_a_catalog_that_is_back_is_read_again() -> None:
    answers: list[Mapping[str, Any] | None] = [None, STATUS]
    with serving(Metrics(lambda: {"status": answers.pop(0), "process": {}})) as url:
        assert [fetch(url)["enrich_catalog_up"] for _ in range(2)] == [0, 1]


def test_the_port_is_served_until_it_is_closed() -> None:
    metrics = Metrics(reading())
    with serving(metrics) as url:
        assert fetch(url)["enrich_assets"] == 9
        port = int(url.split(":")[2].split("/")[0])
    metrics.close()  # a second time does nothing
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)


def test_a_port_that_is_taken_is_a_wrong_config() -> None:
    with serving(Metrics(reading())) as url:
        port = int(url.split(":")[2].split("/")[0])
        with pytest.raises(ConfigError, match=f"127.0.0.1:{port} cannot be served: .*in use"):
            Metrics(reading()).serve("127.0.0.1", port)


def test_a_file_is_replaced_in_one_piece(tmp_path: Path) -> None:
    status = {**STATUS}
    metrics, path = Metrics(reading(status)), tmp_path / "enrich.prom"
    metrics.write(path)
    with path.open() as reader:  # whoever reads while it is replaced reads the old one to its end
        status["assets"] = 10
        metrics.write(path)
        assert parse(reader.read())["enrich_assets"] == 9
    assert parse(path.read_text())["enrich_assets"] == 10
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_written_is_said_once_an_outage(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    metrics, folder = Metrics(reading()), tmp_path / "folder"
    path = folder / "enrich.prom"

    def said() -> list[str]:
        messages = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
        caplog.clear()
        return messages

    metrics.write(path)
    metrics.write(path)
    (message,) = said()
    assert str(path) in message
    folder.mkdir()
    metrics.write(path)
    metrics.write(path)
    assert len(said()) == 1
    path.unlink()
    path.mkdir()
    metrics.write(path)
    assert len(said()) == 1
    assert list(folder.iterdir()) == [path], "a temporary file was left"
