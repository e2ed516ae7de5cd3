"""Files and assets: one picture is one asset, wherever it lies and whatever is written into it."""

import dataclasses
import datetime as dt
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from catalog_kit import NOW, ROOT, Catalog, file, picture, step

from enrich.catalog import files, report
from enrich.catalog.engine import writing


@pytest.fixture
def catalog(catalog: Catalog) -> Catalog:
    catalog.sync(step("a"), step("b"))
    return catalog


def states(catalog: Catalog) -> dict[str, int]:
    return {state: count for state, count in report.status(catalog.engine)["files"].items() if count}


def test_a_new_picture_is_an_asset_with_its_jobs(catalog: Catalog) -> None:
    (new,) = catalog.ingest(file("a.png", picture("one", camera="Box"), sha256="aa", sha1="bb"))
    assert (new.path, new.state, new.asset_id, new.is_new_asset) == (ROOT / "a.png", "present", 1, True)
    assert catalog.rows("SELECT image_hash, camera, width_px FROM assets") == [
        {"image_hash": "one", "camera": "Box", "width_px": 8}
    ]
    assert catalog.rows("SELECT asset_id, path, folder, state, sha256, sha1, attempts FROM files") == [
        {
            "asset_id": 1,
            "path": "/pictures/a.png",
            "folder": "/pictures",
            "state": "present",
            "sha256": "aa",
            "sha1": "bb",
            "attempts": 1,
        }
    ]
    assert catalog.column("SELECT step FROM jobs WHERE state = 'pending' ORDER BY step") == ["a", "b"]


def test_files_of_no_picture_have_no_asset(catalog: Catalog) -> None:
    catalog.ingest(file("notes.txt"), file("cut.png", state="failed", error_kind="broken", error="cut"))
    assert states(catalog) == {"ignored": 1, "failed": 1}
    assert catalog.column("SELECT count(*) FROM assets") == [0]
    assert catalog.column("SELECT count(*) FROM jobs") == [0]


def test_the_same_picture_twice_is_one_asset(catalog: Catalog) -> None:
    first, second = catalog.ingest(file("a.png", "one"), file("b.png", "one"))
    (third,) = catalog.ingest(file("c.png", "one"))
    assert {first.asset_id, second.asset_id, third.asset_id} == {1}
    assert [first.is_new_asset, second.is_new_asset, third.is_new_asset] == [True, False, False]
    assert states(catalog) == {"present": 3}
    assert catalog.column("SELECT count(*) FROM jobs") == [2]


def test_the_same_path_twice_in_a_batch_is_one_file(catalog: Catalog) -> None:
    catalog.ingest(file("a.png", "one"), file("a.png", "two"))
    assert states(catalog) == {"present": 1}
    assert catalog.column("SELECT image_hash FROM assets JOIN files ON asset_id = assets.id") == ["two"]


def test_replaced_content_moves_the_file_to_another_asset(catalog: Catalog) -> None:
    catalog.ingest(file("a.png", "one"), file("b.png", "one"))
    (replaced,) = catalog.ingest(file("a.png", "two", size_bytes=11))
    assert replaced.is_new_asset
    rows = catalog.rows("SELECT path, asset_id, size_bytes FROM files ORDER BY path")
    assert [tuple(row.values()) for row in rows] == [("/pictures/a.png", 2, 11), ("/pictures/b.png", 1, 9)]
    assert catalog.column("SELECT count(*) FROM jobs") == [4]
    catalog.ingest(file("a.png"))
    assert catalog.column("SELECT asset_id FROM files WHERE path = '/pictures/a.png'") == [None]
    assert states(catalog) == {"present": 1, "ignored": 1}


def test_a_metadata_edit_changes_what_is_embedded_and_nothing_else(catalog: Catalog) -> None:
    catalog.ingest(file("a.png", picture("one", camera="Box", embedded={"title": "old"}), sha256="aa"))
    for asset in catalog.claim():
        catalog.finish(asset)
    before = catalog.rows("SELECT * FROM jobs ORDER BY id")
    edited = picture("one", latitude=47.5, embedded={"title": "new"}, width_px=999)
    (again,) = catalog.ingest(file("a.png", edited, sha256="bb"))
    assert (again.asset_id, again.is_new_asset) == (1, False)
    shown = report.show(catalog.engine, "asset", 1)["asset"]
    assert (shown["embedded"], shown["latitude"], shown["camera"]) == ({"title": "new"}, 47.5, None)
    assert shown["width_px"] == 8, "the picture is the same"
    assert catalog.column("SELECT sha256 FROM files") == ["bb"]
    assert catalog.rows("SELECT * FROM jobs ORDER BY id") == before


def test_failing_again_counts_and_recovering_forgets(catalog: Catalog) -> None:
    failing = file("a.png", state="failed", error_kind="unreadable", error="no")
    for attempts in (1, 2, 3):
        catalog.ingest(failing)
        assert catalog.column("SELECT attempts FROM files") == [attempts]
    catalog.ingest(file("a.png", "one"))
    assert catalog.rows("SELECT attempts, error_kind, error, state FROM files") == [
        {"attempts": 1, "error_kind": None, "error": None, "state": "present"}
    ]


def test_missing_and_back(catalog: Catalog) -> None:
    catalog.ingest(file("a.png", "one"), file("b.png", "two"), file("c.txt"))
    ids = catalog.column("SELECT id FROM files WHERE path <> '/pictures/b.png'")
    assert catalog.write(files.mark_missing, ids, NOW) == 2
    assert catalog.write(files.mark_missing, ids, NOW) == 0, "they are missing already"
    assert states(catalog) == {"present": 1, "missing": 2}
    assert [asset.path for asset in catalog.claim()] == [ROOT / "b.png"], "nothing to read of the other"
    (back,) = catalog.ingest(file("elsewhere/a.png", "one"))
    assert (back.asset_id, back.is_new_asset) == (1, False)
    assert [asset.path for asset in catalog.claim()] == [ROOT / "elsewhere/a.png"]


def test_missing_says_since_when(catalog: Catalog) -> None:
    catalog.ingest(file("a.png", "one"), file("b.png", "two"))
    since = report.show(catalog.engine, "file", 1)["file"]["missing_at"]
    assert since is None
    catalog.write(files.mark_missing, [1], NOW)
    catalog.write(files.mark_missing, [1], NOW + dt.timedelta(hours=1))
    assert report.show(catalog.engine, "file", 1)["file"]["missing_at"] == NOW, "the first time"
    assert report.show(catalog.engine, "file", 2)["file"]["missing_at"] is None
    catalog.ingest(file("a.png", "one"))
    assert report.show(catalog.engine, "file", 1)["file"]["missing_at"] is None


def test_known_at_paths(catalog: Catalog) -> None:
    odd = os.fsdecode(b"\xe9\\.png")
    catalog.ingest(file("a.png", "one"), file("in/b.png", "two"), file(odd, "three"))
    wanted = [ROOT / "in/b.png", ROOT / odd, ROOT / "none.png", *(ROOT / str(n) for n in range(20_000))]
    with catalog.engine.connect() as connection:
        found = files.known_at(connection, wanted)
        assert files.known_at(connection, []) == {}
        of_folder = files.known(connection, ["/pictures/in"])["/pictures/in"]
    assert set(found) == {ROOT / "in/b.png", ROOT / odd}
    assert found[ROOT / "in/b.png"] == of_folder["/pictures/in/b.png"]


def test_examples_are_old_and_new_ones_that_are_present(catalog: Catalog) -> None:
    catalog.ingest(*(file(f"{n}.png", str(n)) for n in range(10)), file("note.txt"))
    catalog.ingest(dataclasses.replace(file("else/x.png", "x"), root=ROOT / "else"))
    catalog.write(files.mark_missing, [1, 10], NOW)
    with catalog.engine.connect() as connection:
        names = [path.name for path in files.examples(connection, ROOT, 5)]
        assert names == ["1.png", "2.png", "3.png", "8.png", "7.png"]
        assert len(files.examples(connection, ROOT, 100)) == 8, "none twice"
        assert files.examples(connection, ROOT / "nowhere", 5) == []


def test_a_folder_of_sixty_six_thousand_goes_missing(catalog: Catalog) -> None:
    """More than a statement takes parameters: PostgreSQL counts them in 16 bits."""
    catalog.ingest(file("a.png", "one"))
    assert catalog.write(files.mark_missing, range(66_000), NOW) == 1


def test_an_original_that_cannot_be_decoded_fails_all_its_files(catalog: Catalog) -> None:
    catalog.ingest(file("a.png", "one"), file("b.png", "one"), file("c.png", "two"))
    ids = catalog.column("SELECT id FROM files WHERE path = '/pictures/b.png'")
    catalog.write(files.mark_missing, ids, NOW)
    assert catalog.write(files.fail_original, 1, "broken", "cut off") == 1
    assert states(catalog) == {"present": 1, "missing": 1, "failed": 1}
    assert catalog.write(files.fail_original, 1, "broken", "cut off") == 0


def test_known_and_folders_below(catalog: Catalog) -> None:
    catalog.ingest(file("a.png", "one"), file("in/b.png", "two"), file("in%_/c.png", "x"), file("ink/d.png"))
    with catalog.engine.connect() as connection:
        found = files.known(connection, ["/pictures/in", "/pictures/none"])
        assert {folder: list(rows) for folder, rows in found.items()} == {
            "/pictures/in": ["/pictures/in/b.png"]
        }
        assert files.folders_below(connection, ROOT / "in") == {"/pictures/in"}
        assert files.folders_below(connection, ROOT / "in%_") == {"/pictures/in%_"}
        assert len(files.folders_below(connection, ROOT)) == 4


def test_writers_that_ingest_the_same_pictures_at_once(catalog: Catalog) -> None:
    start = threading.Barrier(4)

    def ingest(worker: int) -> int:
        start.wait()
        new = 0
        for number in range(15):
            records = [file(f"{worker}-{number}.png", f"hash {number}"), file("same.png", f"hash {number}")]
            with writing(catalog.engine).begin() as connection:
                new += sum(item.is_new_asset for item in files.ingest(connection, records, NOW))
        return new

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(ingest, range(4))) == 15
    assert report.miscounted(catalog.engine) == []
    assert catalog.column("SELECT count(*) FROM jobs") == [30]
    assert states(catalog) == {"present": 61}


def test_counters_can_be_checked_while_others_write(catalog: Catalog) -> None:
    stop = threading.Event()

    def flip() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            with writing(catalog.engine).begin() as connection:
                files.ingest(connection, [file(f"{number}.png", f"hash {number}")], NOW)

    thread = threading.Thread(target=flip)
    thread.start()
    try:
        assert [report.miscounted(catalog.engine) for _ in range(30)] == [[]] * 30
    finally:
        stop.set()
        thread.join()


def test_a_wrong_counter_is_found(catalog: Catalog) -> None:
    catalog.ingest(file("a.png", "one"))
    with writing(catalog.engine).begin() as connection:
        connection.execute(sa.text("UPDATE files SET state = 'missing'"))
    assert report.miscounted(catalog.engine) == [
        "counter files missing (generator 0): says 0, is 1",
        "counter files present (generator 0): says 1, is 0",
    ]
