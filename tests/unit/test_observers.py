"""Observers are told after the fact, each for itself, and nobody waits for them."""

import threading
import time
import types
from typing import Any

import pytest

import enrich
from enrich import observers
from enrich.host import Host
from enrich.host.discovery import Candidate
from enrich.observers import Observers


def host_of(**hooks: Any) -> Host:
    host = Host()
    for name, function in hooks.items():
        module = types.SimpleNamespace(enrich_annotated=enrich.hookimpl(function))
        plugin = types.ModuleType(name)
        plugin.enrich_annotated = module.enrich_annotated  # type: ignore[attr-defined]  # a module made here
        host.register(plugin, Candidate(name, "here", None, None, lambda plugin=plugin: plugin))
    return host


def test_each_is_told_everything_in_order() -> None:
    told: list[tuple[int, str]] = []

    def enrich_annotated(asset_id: int, step: str) -> None:
        told.append((asset_id, step))

    some = Observers(host_of(one=enrich_annotated))
    tell = some.of("enrich_annotated", "asset_id", "step")
    for number in range(100):
        tell(number, "tags")
    some.close(10)
    assert told == [(number, "tags") for number in range(100)]


def test_one_that_hangs_or_raises_concerns_nobody_else(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(observers, "MAX_WAITING", 5)
    go, told = threading.Event(), []

    def hang(asset_id: int) -> None:
        go.wait(60)

    def fail(asset_id: int) -> None:
        raise ZeroDivisionError("mine")

    def note(asset_id: int) -> None:
        told.append(asset_id)

    some = Observers(host_of(hangs=hang, fails=fail, notes=note))
    tell = some.of("enrich_annotated", "asset_id", "step")
    with caplog.at_level("WARNING"):
        for number in range(3):
            tell(number, "tags")
        for number in range(20):
            facts = {"asset_id": number, "step": "tags", "outbox": None}
            some._observers["hangs"].put("enrich_annotated", facts)
        some._observers["notes"].close(30)
        assert told == [0, 1, 2]
        some._observers["hangs"].close(0.1)
        go.set()
    assert "plugin hangs does not keep up" in caplog.text
    assert "plugin hangs was not told of" in caplog.text
    assert "mine" in caplog.text


def test_without_observers_there_is_no_thread() -> None:
    before = threading.active_count()
    some = Observers(Host())
    some.of("enrich_annotated", "asset_id", "step")(1, "tags")
    assert threading.active_count() == before
    some.close(1)


def test_to_tell_takes_no_time_and_the_end_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many of them hang, and however much waits for them."""
    monkeypatch.setattr(observers, "MAX_WAITING", 3)
    go = threading.Event()

    def hang(asset_id: int) -> None:
        go.wait(60)

    some = Observers(host_of(one=hang, two=hang, three=hang))
    tell = some.of("enrich_annotated", "asset_id", "step")
    started = time.monotonic()
    for number in range(1000):
        tell(number, "tags")
    assert time.monotonic() - started < 5
    some.close(0.5)
    assert time.monotonic() - started < 10
    go.set()


def test_one_plugin_has_one_thread_for_all_it_observes() -> None:
    told: list[str] = []
    names: set[str] = set()
    plugin = types.ModuleType("both")

    def note(what: str) -> None:
        told.append(what)
        names.add(threading.current_thread().name)

    @enrich.hookimpl
    def enrich_annotated(asset_id: int) -> None:
        note(f"annotated {asset_id}")

    @enrich.hookimpl
    def enrich_asset_ingested(asset_id: int) -> None:
        note(f"ingested {asset_id}")

    plugin.enrich_annotated = enrich_annotated  # type: ignore[attr-defined]  # a module made here
    plugin.enrich_asset_ingested = enrich_asset_ingested  # type: ignore[attr-defined]  # a module made here
    host = Host()
    host.register(plugin, Candidate("both", "here", None, None, lambda: plugin))
    some = Observers(host)
    ingested = some.of("enrich_asset_ingested", "asset_id", "path")
    annotated = some.of("enrich_annotated", "asset_id", "step")
    ingested(1, "a.png")
    annotated(1, "tags")
    ingested(2, "b.png")
    some.close(10)
    assert told == ["ingested 1", "annotated 1", "ingested 2"], "in the order it happened"
    assert names == {"observer both"}
