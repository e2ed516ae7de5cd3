"""One root kept in this process: when it is scanned, what is said of it, and that it ends when told."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from catalog_kit import NOW, Catalog
from workplace import Workplace

from enrich import app, settings
from enrich import intake as intakes
from enrich import keeper as keepers
from enrich.catalog import engine as engines
from enrich.catalog import files
from enrich.catalog.engine import writing
from enrich.catalog.ownership import Ownership
from enrich.catalog.roots import RootReport
from enrich.errors import EnrichError
from enrich.keeper import Keeper
from enrich.lookout import Lookout
from enrich.scan import Candidate
from enrich.settings import Root
from enrich.sweep import Catalogued


class Kept:
    """A keeper of a root, what it said, and how often it looked through everything."""

    def __init__(self, catalog: Catalog, top: Path) -> None:
        self.catalog, self.top = catalog, top
        self.stop = threading.Event()
        self.said: list[RootReport] = []
        self.scans = 0
        self.offer: Callable[[Candidate], bool] = lambda candidate: True
        self.keeper: Keeper | None = None

    def start(self, **facts: object) -> None:
        root = Root.model_validate({"path": self.top, "rescan_seconds": 10_000, **facts})
        lookout = _Counting(
            root,
            own=self.catalog.engine.url.database or "",
            catalogued=Catalogued(self.catalog.engine, self.stop),
            offer=lambda candidate: self.offer(candidate),
            miss=lambda ids: self.catalog.write(files.mark_missing, ids, NOW),
        )
        lookout.kept = self
        self.keeper = Keeper(
            root,
            lookout,
            Ownership(self.catalog.engine, self.top),
            owner="one",
            tell=self.said.append,
            leave=lambda path: None,
            stop=self.stop,
        )
        self.keeper.start()

    def end(self, seconds: float) -> bool:
        self.stop.set()
        assert self.keeper is not None
        self.keeper.wake()
        return self.keeper.join(seconds)


class _Counting(Lookout):
    kept: Kept

    def scan(self) -> str | None:
        self.kept.scans += 1
        return super().scan()


@pytest.fixture
def database() -> str:
    return "sqlite"


@pytest.fixture
def kept(catalog: Catalog, tmp_path: Path) -> Iterator[Kept]:
    top = tmp_path / "top"
    top.mkdir()
    kept = Kept(catalog, top)
    yield kept
    assert kept.end(10)


def wait_until(condition: Callable[[], bool], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.01)


def test_ignored_folders_are_watched_and_not_counted(kept: Kept) -> None:
    """A NAS puts a folder of its own beside each file: that is no reason to begin anew all the time."""
    for number in range(keepers.MAX_LEFT_BEHIND + 20):
        (kept.top / "@eaDir" / str(number)).mkdir(parents=True)
    kept.start(ignore=["@eaDir"])
    wait_until(lambda: any(said.watches for said in kept.said))
    time.sleep(1)
    assert kept.scans <= 2


def test_it_ends_when_told_though_nobody_takes_what_it_finds(
    lite_place: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first scan of a large archive waits for room nearly all the time, for hours."""
    monkeypatch.setattr(intakes, "MAX_CANDIDATES", 4)
    lite_place.draw_many(50)
    lite_place.config |= {"roots": [{"path": "inbox", "settle_seconds": 1000}], "drain_seconds": 20}
    stop, stuck = threading.Event(), list[int]()
    started = time.monotonic()
    built = app.build(settings.load(lite_place._write_config()))
    try:
        built.watch(stop=stop, on_ready=threading.Timer(1, stop.set).start, on_stuck=lambda: stuck.append(1))
    finally:
        built.close()
    assert not stuck
    assert time.monotonic() - started < 15, "not all of drain_seconds"


def test_told_to_end_before_it_began(lite_place: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process has the catalog's lock: the daemon waits for it, but not when it is told to end."""
    monkeypatch.setattr(engines, "BUSY_TIMEOUT_SECONDS", 0.2)
    lite_place.config["drain_seconds"] = 1
    built = app.build(settings.load(lite_place._write_config()))
    stop, has_ended = threading.Event(), threading.Event()

    def watch() -> None:
        # To end in time is all that is asked: there is nothing to drain.
        with contextlib.suppress(EnrichError):
            built.watch(stop=stop)
        has_ended.set()

    watching = threading.Thread(target=watch)
    with writing(lite_place.engine).connect() as connection, connection.begin():
        watching.start()
        assert not has_ended.wait(1), "it waits"
        stop.set()
        is_in_time = has_ended.wait(10)
    watching.join(30)
    built.close()
    assert is_in_time
