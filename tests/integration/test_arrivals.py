"""Every way a file can arrive, leave or change, under a running ``enrich watch``."""

import os
import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import arrivals
import PIL.Image
import pytest
from arrivals import Brought, Site, bring, merged, possible_ways, sha256_by_path
from watching import Watch, watching
from workplace import Workplace

from enrich.catalog.clean import unescape_path

#: The full form: a writer of 5 s, and 2,500 new folders.
IS_SOAK = os.environ.get("ENRICH_SOAK") == "1"

SETTLE_SECONDS = 2.0 if IS_SOAK else 1.0
#: Where no writer pauses.
QUICK_SECONDS = 0.2

#: Longer than any test: what is found, is found by events, and by the scans that lost events ask for.
NEVER_SECONDS = 10_000

STEPS = ("light", "second")

#: Everything a rescan finds, it finds within this.
POLL_SECONDS = 2.0


@pytest.fixture
def site(place: Workplace) -> Site:
    return site_of(place)


def site_of(place: Workplace) -> Site:
    (place.folder / "scratch").mkdir()
    place.config["steps"] = {name: {"plugin": "light"} for name in STEPS}
    root = {"path": "inbox", "settle_seconds": QUICK_SECONDS, "rescan_seconds": NEVER_SECONDS}
    place.config["roots"] = [root]
    if IS_SOAK:
        return Site(place.inbox, place.folder / "scratch", slow_seconds=5, pause_seconds=0.8, folders=2_500)
    return Site(place.inbox, place.folder / "scratch")


def files_of(place: Workplace) -> dict[Path, dict[str, Any]]:
    """Return the rows of all files that are not missing, by path."""
    rows = place.rows("SELECT path, state, sha256, asset_id FROM files WHERE state <> 'missing'")
    return {unescape_path(row["path"]): row for row in rows}


def wait_catalogued(watch: Watch, count: int, seconds: float = 60) -> None:
    """Wait until so many files are there and all their jobs are done."""
    watch.wait_for("SELECT count(*) FROM files WHERE state = 'present'", count, seconds)
    watch.wait_for("SELECT count(*) FROM jobs WHERE state <> 'done'", 0, seconds)


def check_each_once(place: Workplace, brought: Brought) -> None:
    """Each file is there as it is now, each picture is one asset, and was described once."""
    place.check_counters()
    found = files_of(place)
    assert {path: row["sha256"] for path, row in found.items()} == sha256_by_path(brought)
    assert {row["state"] for row in found.values()} == {"present"}
    pictures = len(set(brought.values()))
    assert place.column("SELECT count(*) FROM assets") == [pictures], "no half file became an asset"
    assert len({row["asset_id"] for row in found.values()}) == pictures
    assert place.rows("SELECT state, attempts, count(*) AS n FROM jobs GROUP BY state, attempts") == [
        {"state": "done", "attempts": 1, "n": pictures * len(STEPS)}
    ]
    said = place.rows("SELECT asset_id, step, count(*) AS n FROM annotations GROUP BY asset_id, step")
    assert len(said) == pictures * len(STEPS)
    assert {row["n"] for row in said} == {1}, "none twice, superseded ones included"


@pytest.mark.parametrize("mode", ["auto", "poll"])
def test_every_way_at_once(place: Workplace, site: Site, mode: str) -> None:
    place.config["roots"][0] |= {"mode": mode, "settle_seconds": SETTLE_SECONDS}
    if mode == "poll":
        place.config["roots"][0] |= {"rescan_seconds": POLL_SECONDS}
    with watching(place) as watch:
        brought = merged(bring(site, possible_ways()))
        wait_catalogued(watch, len(brought))
        assert watch.stop() == (0, "")
    check_each_once(place, brought)
    assert place.column("SELECT mode FROM roots") == ["poll" if mode == "poll" else "events"]


@pytest.mark.skipif(not arrivals.has_rsync(), reason="rsync is not installed")
def test_rsync(lite_place: Workplace) -> None:
    """Among all ways too, where it is installed; here, so that it is said where it is not."""
    site = site_of(lite_place)
    lite_place.config["roots"][0] |= {"settle_seconds": SETTLE_SECONDS}
    with watching(lite_place) as watch:
        brought = arrivals.rsynced(site)
        wait_catalogued(watch, 1)
        assert watch.stop() == (0, "")
    check_each_once(lite_place, brought)
    assert lite_place.column("SELECT count(*) FROM files") == [1], "its temporary name was never taken"


def test_while_nobody_watches(place: Workplace, site: Site) -> None:
    before = arrivals.oddly_named(site)
    with watching(place) as watch:
        wait_catalogued(watch, len(before))
        assert watch.stop() == (0, "")
    some = ["copied_with_times", "hard_linked", "moved_in_tree", "moved_within_a_file_system", "unpacked"]
    brought = merged(bring(site, {name: arrivals.WAYS[name] for name in some}))
    with watching(place) as watch:
        wait_catalogued(watch, len(before) + len(brought))
        assert watch.stop() == (0, "")
    check_each_once(place, before | brought)


@pytest.mark.parametrize("is_followed", [True, False], ids=["followed", "not followed"])
def test_symbolic_links(lite_place: Workplace, is_followed: bool) -> None:
    site = site_of(lite_place)
    lite_place.config["roots"][0] |= {"follow_symlinks": is_followed}
    with watching(lite_place) as watch:
        brought = arrivals.linked(site)
        if is_followed:
            wait_catalogued(watch, 2)
        else:
            watch.wait_for("SELECT error_kind FROM files", ["symlink"] * 2)
        code, said = watch.stop()
    assert code == 0
    assert "max_user_watches" not in said, "a link needs no more of them"
    if is_followed:
        check_each_once(lite_place, brought)
    else:
        assert lite_place.column("SELECT state FROM files") == ["ignored"] * 2
        assert set(files_of(lite_place)) == {site.inbox / "linked.png", site.inbox / "linked folder"}
        assert lite_place.column("SELECT count(*) FROM assets") == [0]


def test_a_writer_slower_than_the_settle_time_is_looked_at_again(lite_place: Workplace) -> None:
    """A pause beyond the settle time is the one thing that looks like an end; what follows mends it."""
    site = site_of(lite_place)
    path, content = site.inbox / "paused.png", site.picture(arrivals.LARGE)
    with watching(lite_place) as watch:
        path.write_bytes(content[:1000])
        watch.wait_for("SELECT count(*) FROM files", 1)
        with path.open("ab") as appending:
            appending.write(content[1000:])
        watch.wait_for("SELECT sha256 FROM files", list(sha256_by_path({path: content}).values()))
        wait_catalogued(watch, 1)
        assert watch.stop() == (0, "")
    assert lite_place.column("SELECT state FROM files") == ["present"]
    current = "SELECT count(*) FROM annotations WHERE superseded_at IS NULL AND NOT is_empty"
    assert lite_place.column(f"{current} AND asset_id = (SELECT asset_id FROM files)") == [len(STEPS)]


@contextmanager
def described(place: Workplace, site: Site) -> Iterator[tuple[Watch, list[Path]]]:
    """Watch a folder of nine described JPEGs in three folders; nothing may be described again."""
    paths = []
    for number in range(9):
        path = site.inbox / f"{number // 3}" / f"{number}.jpg"
        path.parent.mkdir(exist_ok=True)
        PIL.Image.frombytes("L", (20, 30), random.Random(number).randbytes(600)).save(path)
        paths.append(path)
    with watching(place) as watch:
        wait_catalogued(watch, 9)
        before = place.rows("SELECT * FROM jobs ORDER BY id, step")
        said = place.rows("SELECT * FROM annotations ORDER BY id")
        yield watch, paths
        assert watch.stop() == (0, "")
    assert place.rows("SELECT * FROM jobs ORDER BY id, step") == before
    assert place.rows("SELECT * FROM annotations ORDER BY id") == said
    place.check_counters()


def states(place: Workplace) -> dict[str, str]:
    """Return each file's state by its path below the inbox; only missing files have a time of it."""
    rows = place.rows("SELECT path, state, missing_at FROM files")
    assert all((row["state"] == "missing") == (row["missing_at"] is not None) for row in rows)
    return {os.path.relpath(row["path"], place.inbox): row["state"] for row in rows}


def wait_states(watch: Watch, expected: dict[str, str]) -> None:
    watch.wait_until(lambda: states(watch.place) == expected, 30, f"{expected}")


def test_moves_and_renames_while_watched(place: Workplace, site: Site) -> None:
    with described(place, site) as (watch, paths):
        os.rename(paths[0], paths[0].with_name("renamed.jpg"))
        os.rename(site.inbox / "1", site.inbox / "other folder")
        shutil.move(paths[6], site.inbox / "moved.jpg")
        shutil.copy2(paths[7], site.inbox / "copied.jpg")
        was = {"0/0.jpg": "missing", "1/3.jpg": "missing", "1/4.jpg": "missing", "1/5.jpg": "missing"}
        stayed = {"0/1.jpg": "present", "0/2.jpg": "present", "2/7.jpg": "present", "2/8.jpg": "present"}
        came = ("0/renamed.jpg", "other folder/3.jpg", "other folder/4.jpg", "other folder/5.jpg")
        came += ("moved.jpg", "copied.jpg")
        wait_states(watch, {**was, "2/6.jpg": "missing", **stayed, **dict.fromkeys(came, "present")})
        os.rename(site.inbox / "other folder", site.inbox / "1")
        back = {"1/3.jpg": "present", "1/4.jpg": "present", "1/5.jpg": "present", "0/0.jpg": "missing"}
        gone = dict.fromkeys(came[1:4], "missing")
        here = dict.fromkeys((came[0], *came[4:]), "present")
        wait_states(watch, {**back, "2/6.jpg": "missing", **stayed, **gone, **here})
    assert place.column("SELECT count(*) FROM assets") == [9]


def test_deletions_while_watched(place: Workplace, site: Site) -> None:
    with described(place, site) as (watch, paths):
        paths[0].unlink()
        shutil.rmtree(site.inbox / "1")
        gone = dict.fromkeys(("0/0.jpg", "1/3.jpg", "1/4.jpg", "1/5.jpg"), "missing")
        stayed = dict.fromkeys(("0/1.jpg", "0/2.jpg", "2/6.jpg", "2/7.jpg", "2/8.jpg"), "present")
        wait_states(watch, gone | stayed)
        since = place.column("SELECT DISTINCT missing_at FROM files WHERE state = 'missing'")
        assert all(since)
    assert place.column("SELECT count(*) FROM assets") == [9], "nothing is deleted by itself"


def test_metadata_edits_while_watched(place: Workplace, site: Site) -> None:
    with described(place, site) as (watch, paths):
        before = place.column("SELECT sha256 FROM files ORDER BY path")
        for number, path in enumerate(paths):
            exif = PIL.Image.Exif()
            exif[0x010E] = f"number {number}"
            segment, jpeg = exif.tobytes(), path.read_bytes()
            mark = b"\xff\xe1" + (len(segment) + 2).to_bytes(2, "big")
            path.write_bytes(jpeg[:2] + mark + segment + jpeg[2:])
        expected = [row for _, row in sorted(sha256_by_path({p: p.read_bytes() for p in paths}).items())]
        watch.wait_for("SELECT sha256 FROM files ORDER BY path", expected)
        assert not set(before) & set(expected)
    assert place.column("SELECT count(*) FROM assets") == [9]
    assert set(states(place).values()) == {"present"}


def test_replaced_in_place_is_new_content_at_the_same_path(place: Workplace, site: Site) -> None:
    path = site.inbox / "picture.png"
    first, second, third = (site.picture() for _ in range(3))
    path.write_bytes(first)
    with watching(place) as watch:
        wait_catalogued(watch, 1)
        rows = files_of(place)
        path.write_bytes(second)
        watch.wait_for("SELECT count(*) FROM assets", 2)
        wait_catalogued(watch, 1)  # nothing can be said of a picture any more that was replaced
        aside = site.waiting("picture.png", third)
        os.replace(aside, path)
        watch.wait_for("SELECT count(*) FROM assets", 3)
        wait_catalogued(watch, 1)
        assert watch.stop() == (0, "")
    (row,) = files_of(place).values()
    assert row["sha256"] == sha256_by_path({path: third})[path]
    assert row["asset_id"] != rows[path]["asset_id"]
    assert place.column("SELECT count(*) FROM files") == [1], "the same file"
    current = "SELECT count(*) FROM annotations WHERE superseded_at IS NULL"
    assert place.column(current) == [3 * len(STEPS)], "what was said of the earlier pictures stays"
    place.check_counters()
