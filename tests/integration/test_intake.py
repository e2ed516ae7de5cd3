"""The intake with a real catalog: each file once, when it is complete, whatever happens meanwhile."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from arrivals import draw_png
from catalog_kit import Catalog, step

from enrich import intake as intakes
from enrich.catalog.files import FileRecord
from enrich.catalog.writer import Writer
from enrich.errors import CatalogBusy
from enrich.intake import Intake
from enrich.reading import Reader, look
from enrich.scan import Candidate

Read = FileRecord | Candidate | None


class Scripted(Reader):
    """Reads for real, unless a file has something else in store: each of its turns once, in order."""

    def __init__(self) -> None:
        super().__init__(max_pixels=10**6)
        self.turns: dict[str, list[Callable[[Candidate], Read]]] = {}
        self.times: list[tuple[str, float, bool]] = []

    def read(self, candidate: Candidate, *, is_last_try: bool = True) -> Read:
        self.times.append((candidate.path.name, time.monotonic(), is_last_try))
        turns = self.turns.get(candidate.path.name)
        if turns:
            return turns.pop(0)(candidate)
        return super().read(candidate, is_last_try=is_last_try)

    def really(self, candidate: Candidate) -> Read:
        return super().read(candidate)

    @property
    def names(self) -> list[str]:
        return [name for name, _, _ in self.times]


class Site:
    """A folder, and an intake for it."""

    def __init__(self, catalog: Catalog, writer: Writer, top: Path) -> None:
        self.catalog, self.writer, self.top = catalog, writer, top
        self.reader = Scripted()
        self.assets: list[tuple[int, Path]] = []
        self.written: dict[str, int] = {}
        self.intake = Intake(
            writer,
            self.reader,
            threads=2,
            on_asset=lambda asset_id, path: self.assets.append((asset_id, path)),
            on_written=lambda states: self.written.update(states),
        )

    def draw(self, name: str, number: int) -> Path:
        path = self.top / name
        path.write_bytes(draw_png(number))
        return path

    def offer(self, *paths: Path, settle_seconds: float = 0) -> list[bool]:
        return [self.intake.offer(look(Candidate(self.top, path, None)), settle_seconds) for path in paths]

    def wait(self, seconds: float = 20) -> None:
        assert self.intake.wait_idle(seconds)
        assert self.intake.pending == 0

    def files(self) -> dict[str, str]:
        rows = self.catalog.rows("SELECT path, state FROM files ORDER BY path")
        return {Path(row["path"]).name: row["state"] for row in rows}

    def row(self, name: str) -> dict[str, Any]:
        (row,) = self.catalog.rows("SELECT * FROM files WHERE path = :path", path=str(self.top / name))
        return row


@pytest.fixture
def site(catalog: Catalog, tmp_path: Path) -> Iterator[Site]:
    catalog.sync(step("a"), step("b"))
    writer = Writer(catalog.engine)
    top = tmp_path / "top"
    top.mkdir()
    site = Site(catalog, writer, top)
    site.intake.start()
    yield site
    try:
        assert site.intake.stop(10)
    finally:
        writer.close()


@pytest.fixture
def database() -> str:
    """Most of this the database has no part in."""
    return "sqlite"


both = pytest.mark.parametrize("database", ["sqlite", "postgresql"])


@both
def test_each_file_is_read_once_and_becomes_rows_and_jobs(site: Site) -> None:
    paths = [site.draw(f"{number:03}.png", number % 200) for number in range(300)]
    # None is read before all were offered twice.
    assert site.offer(*paths, *paths, settle_seconds=2).count(True) == 300
    site.wait()
    assert sorted(site.reader.names) == [path.name for path in paths]
    assert site.files() == dict.fromkeys((path.name for path in paths), "present")
    assert len(site.assets) == 200, "each asset is told of once"
    assert {asset_id for asset_id, _ in site.assets} == set(site.catalog.column("SELECT id FROM assets"))
    assert site.catalog.column("SELECT count(*) FROM jobs WHERE state = 'pending'") == [400]


def test_a_file_that_is_written_slowly_is_read_when_it_is_complete(site: Site) -> None:
    content = draw_png(1, (64, 64))
    path = site.top / "slow.png"
    path.write_bytes(b"")
    site.offer(path, settle_seconds=0.4)
    written_at = 0.0
    with path.open("ab", buffering=0) as file:
        for start in range(0, len(content), 2000):
            file.write(content[start : start + 2000])
            written_at = time.monotonic()
            time.sleep(0.1)
    assert site.intake.pending == 1
    site.wait()
    assert [name for name, at, _ in site.reader.times if at >= written_at + 0.4] == ["slow.png"]
    assert len(site.reader.times) == 1
    assert site.row("slow.png")["size_bytes"] == len(content)


def test_an_old_file_waits_for_nothing(site: Site) -> None:
    path = site.draw("old.png", 1)
    time.sleep(0.3)
    started = time.monotonic()
    site.offer(path, settle_seconds=0.25)
    site.wait()
    assert site.reader.times[0][1] - started < 0.2


def test_a_file_that_went_away_is_forgotten(site: Site) -> None:
    path = site.draw("brief.png", 1)
    site.offer(path, settle_seconds=0.3)
    path.unlink()
    site.wait()
    assert site.files() == {}
    assert all(not settle._seen for settle in site.intake._settles.values()), "nothing is kept of it"
    site.draw("brief.png", 2)
    assert site.offer(path) == [True]
    site.wait()
    assert site.files() == {"brief.png": "present"}


def test_a_file_that_changed_while_it_was_read_settles_again(site: Site) -> None:
    path = site.draw("changed.png", 1)

    def change(candidate: Candidate) -> Read:
        site.draw("changed.png", 2)
        return look(candidate)

    site.reader.turns["changed.png"] = [change]
    time.sleep(0.3)
    site.offer(path, settle_seconds=0.25)
    site.wait()
    (_, first, _), (_, second, _) = site.reader.times
    assert second - first >= 0.25, "it is young again"
    assert site.catalog.column("SELECT count(*) FROM assets") == [1]


def test_a_failure_of_a_file_that_changed_meanwhile_is_no_failure(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copy ends right after it was read, half."""
    path = site.draw("half.png", 1)
    whole = path.read_bytes()
    path.write_bytes(whole[:50])

    def finish(candidate: Candidate) -> FileRecord:
        try:
            return record(candidate)
        finally:
            if path.stat().st_size < len(whole):
                path.write_bytes(whole)

    record = site.reader._record
    monkeypatch.setattr(site.reader, "_record", finish)
    site.offer(path)
    site.wait()
    assert site.files() == {"half.png": "present"}
    assert site.row("half.png")["attempts"] == 1


@pytest.mark.parametrize("moment", ["reading", "batch", "commit", "look"])
def test_a_file_that_is_offered_again_on_its_way_is_read_again_if_it_changed(
    site: Site, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Whenever its hint comes: while it is read, waits for its commit, or is looked at after that."""
    path = site.draw("one.png", 1)
    changed = []

    def change() -> None:
        if not changed:
            changed.append(True)
            site.draw("one.png", 2)
            assert site.offer(path) == [False]

    def read(candidate: Candidate) -> Read:
        record = site.reader.really(candidate)
        if moment == "reading":
            change()
        elif moment == "look":
            site.offer(path)  # doubted without reason, so it is looked at
        return record

    def ingest(records: list[FileRecord]) -> Any:
        if moment == "batch":
            change()
        ingested = really_ingest(records)
        if moment == "commit":
            change()
        return ingested

    def look_and_change(candidate: Candidate) -> Candidate:
        found = look(candidate)
        if moment == "look":
            change()
        return found

    really_ingest = site.intake._ingest
    monkeypatch.setattr(site.intake, "_ingest", ingest)
    monkeypatch.setattr(intakes, "look", look_and_change)
    site.reader.turns["one.png"] = [read]
    site.offer(path)
    site.wait()
    assert changed
    assert site.row("one.png")["changed_ns"] == path.stat().st_ctime_ns
    assert site.reader.names == ["one.png", "one.png"]


def test_a_file_that_is_back_before_its_absence_was_noticed(site: Site) -> None:
    """Removed and written anew, as some programs save: the hint comes while it seems to be gone."""
    path = site.draw("saved.png", 1)

    def be_gone(candidate: Candidate) -> Read:
        path.unlink()
        gone = site.reader.really(candidate)
        site.draw("saved.png", 2)
        assert site.offer(path) == [False]
        return gone

    site.reader.turns["saved.png"] = [be_gone]
    site.offer(path)
    site.wait()
    assert site.files() == {"saved.png": "present"}


def test_a_file_offered_again_in_vain_is_read_once(site: Site) -> None:
    path = site.draw("one.png", 1)

    def read(candidate: Candidate) -> Read:
        assert site.offer(path) == [False]
        return site.reader.really(candidate)

    site.reader.turns["one.png"] = [read]
    site.offer(path)
    site.wait()
    assert site.reader.names == ["one.png"]


def test_trouble_that_passes_costs_time_only(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intakes, "TROUBLE_SECONDS", 0.01)
    path, other = site.draw("share.png", 1), site.draw("other.png", 2)
    trouble = [lambda candidate: replace(candidate, trouble="Input/output error")] * 3
    site.reader.turns["share.png"] = list(trouble)
    site.offer(path, other)
    site.wait()
    assert site.files() == {"share.png": "present", "other.png": "present"}
    times = [at for name, at, _ in site.reader.times if name == "share.png"]
    waits = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert [wait >= 0.01 * 4**n for n, wait in enumerate(waits)] == [True] * 3


def test_trouble_that_stays_is_recorded_at_the_last_try(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intakes, "TROUBLE_SECONDS", 0.0)

    def fail(candidate: Candidate) -> Read:
        if site.reader.times[-1][2]:
            status = candidate.stat
            assert status is not None
            times = (status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
            return FileRecord(site.top, candidate.path, status.st_size, *times, "failed", error="no")
        return replace(candidate, trouble="Input/output error")

    path = site.draw("share.png", 1)
    site.reader.turns["share.png"] = [fail] * 100
    site.offer(path)
    site.wait()
    assert [is_last for _, _, is_last in site.reader.times] == [False] * intakes.TROUBLE_TRIES + [True]
    assert site.files() == {"share.png": "failed"}


def test_a_file_that_never_stops_changing_is_left_to_the_next_scan(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(intakes, "PATIENCE_SECONDS", 0.3)
    path, other = site.draw("log.png", 1), site.draw("other.png", 2)
    stop = threading.Event()

    def write() -> None:
        while not stop.wait(0.01):
            with path.open("ab") as file:
                file.write(b"!")

    thread = threading.Thread(target=write)
    thread.start()
    try:
        site.offer(path, other, settle_seconds=0.1)
        site.wait()
    finally:
        stop.set()
        thread.join()
    assert site.files() == {"other.png": "present"}
    assert "never stops changing" in caplog.text
    assert site.offer(path) == [True]


@both
def test_a_bad_record_spoils_no_others(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """Its file is a recorded failure, or at the very least a word in the log."""
    paths = [site.draw(f"{number}.png", number) for number in range(10)]

    def with_facts(**facts: object) -> Callable[[Candidate], Read]:
        def read(candidate: Candidate) -> Read:
            record = site.reader.really(candidate)
            assert isinstance(record, FileRecord)
            assert record.asset is not None
            return replace(record, asset={**record.asset, **facts})

        return read

    def with_state(candidate: Candidate) -> Read:
        record = site.reader.really(candidate)
        assert isinstance(record, FileRecord)
        return replace(record, asset=None, sha256=object())  # type: ignore[arg-type]  # what is wrong with it

    site.reader.turns["3.png"] = [with_facts(width_px=None)]
    site.reader.turns["5.png"] = [with_facts(taken_at="one day")]
    site.reader.turns["7.png"] = [with_state]
    site.offer(*paths)
    site.wait()
    expected = {f"{number}.png": "present" for number in range(10) if number != 7}
    assert site.files() == {**expected, "3.png": "failed", "5.png": "failed"}
    assert "its facts cannot be recorded" in site.row("3.png")["error"]
    assert "7.png" in caplog.text
    assert site.intake.is_alive


def test_a_record_with_a_number_that_no_database_holds(site: Site) -> None:
    """SQLite's driver says so by an OverflowError, which is no error of a database."""
    paths = [site.draw(f"{number}.png", number) for number in range(3)]

    def read(candidate: Candidate) -> Read:
        record = site.reader.really(candidate)
        assert isinstance(record, FileRecord)
        assert record.asset is not None
        return replace(record, asset={**record.asset, "orientation": 2**70})

    site.reader.turns["1.png"] = [read]
    site.offer(*paths)
    site.wait()
    assert site.files() == {"0.png": "present", "1.png": "failed", "2.png": "present"}


def test_a_reader_that_raises_does_not_hold_up_the_end(site: Site) -> None:
    def fail(candidate: Candidate) -> Read:
        raise ZeroDivisionError("a bug in the reader itself")

    paths = [site.draw(f"{number}.png", number) for number in range(3)]
    site.reader.turns["1.png"] = [fail]
    site.offer(*paths)
    end = time.monotonic() + 10
    while len(site.files()) < 2 and time.monotonic() < end:
        time.sleep(0.05)
    assert site.intake.stop(5)


def test_whoever_offers_too_much_waits(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()

    def wait(candidate: Candidate) -> Read:
        go_on.wait(20)
        return site.reader.really(candidate)

    paths = [site.draw(f"{number}.png", number) for number in range(6)]
    site.reader.turns = {path.name: [wait] for path in paths}
    site.intake._room = threading.Semaphore(4)
    offering = threading.Thread(target=site.offer, args=paths)
    offering.start()
    offering.join(0.7)
    assert offering.is_alive()
    assert site.intake.pending == 4
    assert site.offer(paths[0]) == [False], "what is known needs no room"
    go_on.set()
    offering.join(10)
    site.wait()
    assert len(site.files()) == 6


def test_told_to_stop_it_finishes_what_it_reads_and_frees_who_waits(site: Site) -> None:
    go_on = threading.Event()

    def wait(candidate: Candidate) -> Read:
        go_on.wait(20)
        return site.reader.really(candidate)

    paths = [site.draw(f"{number}.png", number) for number in range(6)]
    site.reader.turns = {path.name: [wait] for path in paths[:2]}
    site.intake._room = threading.Semaphore(4)
    site.offer(*paths[:2])
    site.offer(*paths[2:4], settle_seconds=1000)
    answers: list[bool] = []
    offering = threading.Thread(target=lambda: answers.extend(site.offer(paths[4])))
    offering.start()
    end = time.monotonic() + 10
    while len(site.reader.times) < 2 and time.monotonic() < end:
        time.sleep(0.01)
    assert not site.intake.stop(0.2), "it still reads"
    offering.join(5)
    assert answers == [False]
    go_on.set()
    assert site.intake.stop(10)
    assert site.files() == {"0.png": "present", "1.png": "present"}, "the next scan finds the others"
    assert site.intake.wait_idle(0)


def test_a_catalog_that_gave_up_ends_it_and_says_why(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(records: object) -> object:
        raise CatalogBusy("the catalog does not answer")

    monkeypatch.setattr(site.intake, "_ingest", refuse)
    site.offer(site.draw("one.png", 1))
    assert site.intake.wait_idle(10)
    with pytest.raises(CatalogBusy, match="does not answer"):
        site.intake.stop(10)
    assert not site.intake.is_alive
    site.intake._trouble = None


def test_one_that_was_never_started_stops_at_once(catalog: Catalog) -> None:
    writer = Writer(catalog.engine)
    try:
        intake = Intake(writer, Reader(max_pixels=1), threads=1)
        assert intake.stop(0)
        assert not intake.is_alive
    finally:
        writer.close()
