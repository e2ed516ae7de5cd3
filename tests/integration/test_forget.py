"""Forgotten is forgotten: no row, no late result, no word in the file."""

import json
import random
from pathlib import Path
from sqlite3 import SQLITE_ATTACH, SQLITE_DENY, SQLITE_OK
from typing import Any

import pytest
import sqlalchemy as sa
from catalog_kit import NOW, Catalog, file, picture, said, step
from workplace import Workplace, wait_until

from enrich.catalog import files, forget, report
from enrich.catalog.engine import create_engine
from enrich.catalog.record import JobResult

TABLES = ("tags", "embeddings", "annotations", "jobs", "files", "assets")

#: Says nothing before it is told to.
SLOW = """
import pathlib, time
import enrich

HERE = pathlib.Path(__file__).parent

@enrich.hookimpl
def enrich_data(renditions, context):
    (HERE / "begun").touch()
    while not (HERE / "go").exists():
        time.sleep(0.01)
    return [{"seen": True} for _ in renditions]
"""


@pytest.fixture
def described(catalog: Catalog) -> Catalog:
    """Two assets with all there can be, the first at two places; and a file that is none."""
    catalog.sync(step("caption"), step("embed"), step("later"))
    catalog.ingest(
        file("wombat.png", "one"), file("copy/wombat.png", "one"), file("b.png", "two"), file("c.txt")
    )
    for asset_id, words in ((1, "Quokka"), (2, "Zebra")):
        for _ in range(2):
            tags = ((f"{words}tag", 0.5),)
            catalog.annotate(asset_id, "caption", said("caption", text=f"{words} on a beach", tags=tags))
        catalog.annotate(asset_id, "embed", said("embedding", vector=words.encode() * 4))
    return catalog


def forgotten(catalog: Catalog, assets: list[int], file_ids: list[int] | None = None) -> forget.Forgotten:
    found = forget.forget(catalog.engine, assets, file_ids or [])
    assert report.miscounted(catalog.engine) == []
    return found


def counts(catalog: Catalog) -> dict[str, int]:
    return {table: catalog.column(f"SELECT count(*) FROM {table}")[0] for table in TABLES}


def test_an_asset_goes_with_all_its_rows(described: Catalog) -> None:
    before = counts(described)
    found = forgotten(described, [1, 1, 99])
    gone = {"tags": 2, "embeddings": 1, "annotations": 3, "jobs": 3, "files": 2, "assets": 1}
    assert dict(found.rows) == gone
    assert found.files == {
        "/pictures/wombat.png": ("/pictures", "present"),
        "/pictures/copy/wombat.png": ("/pictures", "present"),
    }
    assert counts(described) == {table: before[table] - gone[table] for table in TABLES}
    assert described.column("SELECT text FROM captions") == ["Zebra on a beach"]
    assert described.column("SELECT DISTINCT asset_id FROM jobs") == [2]
    assert report.find(described.engine, "/pictures/wombat.png") is None
    assert not forgotten(described, [1]).rows.total()


def test_a_file_goes_alone(described: Catalog) -> None:
    (file_id,) = described.column("SELECT id FROM files WHERE asset_id IS NULL")
    assert forgotten(described, [], [file_id]).rows == {"files": 1}
    assert described.column("SELECT count(*) FROM files") == [3]
    described.write(files.mark_missing, [1], NOW)
    assert forgotten(described, [], [1, 2]).rows["files"] == 2
    assert described.column("SELECT count(*) FROM assets") == [2]


def test_more_assets_than_a_statement_lists(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forget, "MAX_PARAMETERS", 3)
    catalog.sync(step("a"))
    catalog.ingest(*(file(f"{n}.png", str(n)) for n in range(10)))
    assert forgotten(catalog, list(range(1, 9))).rows["assets"] == 8
    assert catalog.column("SELECT asset_id FROM jobs ORDER BY id") == [9, 10]


def test_what_is_found_out_too_late_is_refused(catalog: Catalog) -> None:
    (generator_id,) = catalog.sync(step("a")).values()

    def late(asset_id: int, job_id: int, attempts: int) -> list[JobResult]:
        quokka = (said("caption", text="Quokka"),)
        return catalog.record(
            JobResult(job_id, asset_id, "a", attempts, "done", generator_id, annotations=quokka)
        )

    catalog.ingest(file("a.png", "one"))
    (asset,) = catalog.claim()
    (job,) = asset.jobs
    forgotten(catalog, [asset.id])
    assert late(asset.id, job.id, job.attempts) == []
    # The same worker claims another asset: the old result must not be taken for that one's.
    catalog.ingest(file("b.png", "two"))
    (other,) = catalog.claim()
    assert late(asset.id, job.id, job.attempts) == []
    assert catalog.column("SELECT count(*) FROM annotations") == [0]
    assert catalog.finish(other)


def words_in(folder: Path, *words: str) -> set[str]:
    """The words that stand in any of SQLite's files."""
    found = b"".join(path.read_bytes() for path in folder.glob("catalog.db*"))
    return {word for word in words if word.encode() in found}


def _leave_what_is_deleted(connection: Any, record: object) -> None:
    connection.execute("PRAGMA secure_delete=OFF")  # as SQLite does unless it was built otherwise


WORDS = ("Quokka on a beach", "Quokkatag", "QuokkaQuokka", "wombat.png")


@pytest.mark.parametrize("database", ["sqlite"])
def test_no_word_of_it_is_left_in_the_file(described: Catalog, tmp_path: Path) -> None:
    assert words_in(tmp_path, *WORDS) == set(WORDS)
    described.engine.dispose()
    sa.event.listen(described.engine, "connect", _leave_what_is_deleted)
    assert not forgotten(described, [1]).unscrubbed
    assert words_in(tmp_path, *WORDS, "Zebra on a beach") == {"Zebra on a beach"}


@pytest.mark.parametrize("database", ["sqlite"])
def test_nor_where_its_rows_lay_once(catalog: Catalog, tmp_path: Path) -> None:
    """SQLite divides a page that is full, and leaves in its free space what moved elsewhere."""
    rng = random.Random(3)  # one of the seeds by which zeros in the place of deleted rows leave a caption
    names = [f"{number:03d}" for number in range(100)]
    for modified_ns in range(2):
        rng.shuffle(names)
        captions = {name: f"Quokka {name}" + " on a beach" * rng.randrange(2, 60) for name in names}
        catalog.ingest(
            *(
                file(f"{name}.png", picture(name, embedded={"caption": words}), modified_ns=modified_ns)
                for name, words in captions.items()
            )
        )
    ids = {row["image_hash"]: row["id"] for row in catalog.rows("SELECT id, image_hash FROM assets")}
    gone, kept = names[::2], names[1::2]
    assert not forgotten(catalog, [ids[name] for name in gone]).unscrubbed
    said_of = {f"Quokka {name}" for name in names}
    assert words_in(tmp_path, *said_of) == {f"Quokka {name}" for name in kept}


@pytest.mark.parametrize("database", ["sqlite"])
def test_a_file_that_cannot_be_written_anew_is_told_of(described: Catalog) -> None:
    def refuse(connection: Any, record: object) -> None:
        # VACUUM attaches a file of its own: this one cannot.
        connection.set_authorizer(lambda action, *_: SQLITE_DENY if action == SQLITE_ATTACH else SQLITE_OK)

    described.engine.dispose()
    sa.event.listen(described.engine, "connect", refuse)
    assert "sqlite3 say VACUUM" in forgotten(described, [1]).unscrubbed
    assert described.column("SELECT id FROM assets") == [2]


@pytest.mark.parametrize("database", ["sqlite"])
def test_a_reader_puts_that_off_and_is_told_of(
    described: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forget, "SCRUB_SECONDS", 0.1)
    with described.engine.connect() as reader:
        assert reader.execute(sa.text("SELECT count(*) FROM assets")).scalar() == 2
        assert "-wal" in forgotten(described, [1]).unscrubbed
        assert reader.execute(sa.text("SELECT count(*) FROM assets")).scalar() == 2, "it reads undisturbed"
    described.engine.dispose()
    assert words_in(tmp_path, *WORDS) == set(), "the last one to leave empties the log"


# The command


def test_forget_by_path_and_by_id(place: Workplace) -> None:
    first, second, third = place.draw_many(3)
    copy = place.inbox / "copy.png"
    copy.write_bytes(first.read_bytes())
    note = place.inbox / "note.txt"
    note.write_text("no picture")
    assert place.run().jobs == {"done": 3}
    second.unlink()
    (second_id,) = place.column(f"SELECT asset_id FROM files WHERE path = '{second}'")

    done = place.enrich("forget", first, second_id, note, "--json")
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert (len(shown["assets"]), shown["rows"]["assets"], shown["rows"]["files"]) == (2, 2, 4)
    assert sorted(shown["still_there"]) == sorted(map(str, (first, copy, note)))
    assert shown["is_scrubbed"] is True
    assert place.column("SELECT path FROM files") == [str(third)]
    place.check_counters()

    assert place.run().jobs == {"done": 1}, "it was still there, and is a new one"
    assert sorted(place.column("SELECT path FROM files")) == sorted(map(str, (first, copy, note, third)))
    assert min(place.column(f"SELECT asset_id FROM files WHERE path = '{first}'")) > 3


def test_forget_tells_people_what_comes_back(lite_place: Workplace) -> None:
    (path,) = lite_place.draw_many(1)
    lite_place.run()
    done = lite_place.enrich("forget", "inbox/0000.png")
    assert done.returncode == 0, done.stderr
    counted, warning, listed = done.stdout.splitlines()
    assert counted == "forgotten: 1 tags, 1 annotations, 1 jobs, 1 files, 1 assets"
    assert "taken in anew by the next scan" in warning
    assert listed.strip() == str(path)


def test_where_the_root_is_not_to_be_seen_the_catalog_is_believed(lite_place: Workplace) -> None:
    for path in lite_place.draw_many(2):
        lite_place.run()
        lite_place.inbox.rename(lite_place.folder / "elsewhere")
        shown = json.loads(lite_place.enrich("forget", path, "--json").stdout)
        assert shown["still_there"] == [str(path)]
        (lite_place.folder / "elsewhere").rename(lite_place.inbox)


def test_nothing_is_forgotten_if_a_name_is_unknown(lite_place: Workplace) -> None:
    (path,) = lite_place.draw_many(1)
    lite_place.run()
    done = lite_place.enrich("forget", path, "77", "none.png")
    assert (done.returncode, done.stdout) == (2, "")
    assert "nothing is known of 77, none.png; nothing was forgotten" in done.stderr
    assert lite_place.column("SELECT count(*) FROM assets") == [1]


def test_forgotten_while_a_worker_is_at_it(place: Workplace) -> None:
    place.plugin("slow", SLOW)
    place.config["steps"] = {"slow": {"plugin": "slow"}}
    (path,) = place.draw_many(1)
    with place.enriching("run") as process:
        wait_until((place.folder / "plugins" / "begun").exists, process)
        done = place.enrich("forget", path)
        assert done.returncode == 0, done.stderr
        (place.folder / "plugins" / "go").touch()
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert [table for table in TABLES if place.column(f"SELECT count(*) FROM {table}") != [0]] == []
    place.check_counters()


def test_every_connection_overwrites_what_is_deleted(lite_place: Workplace) -> None:
    def off(connection: Any, record: object) -> None:
        connection.execute("PRAGMA secure_delete=OFF")  # as SQLite is built by default, and not on Debian

    engine = create_engine(str(lite_place.engine.url))
    sa.event.listen(engine, "connect", off, insert=True)
    with engine.connect() as connection:
        assert connection.execute(sa.text("PRAGMA secure_delete")).scalar() == 1
    engine.dispose()
