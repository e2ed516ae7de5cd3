"""What the system allows the daemon, and what the daemon allows itself.

Where no watches are left, or there is no inotify at all, it says so and every file arrives all the same.
"""

import shutil
import subprocess
import time

import arrivals
import pytest
from arrivals import Site
from watching import watching
from workplace import Workplace

FOLDERS = 40

#: Within a user namespace of its own a process may set limits that hold for it alone.
NAMESPACE = ("unshare", "--user", "--map-root-user", "sh", "-c")


def limited(name: str, limit: int) -> list[str]:
    """Return a command that becomes the one appended to it, with such a limit of inotify."""
    return [*NAMESPACE, f'echo {limit} > /proc/sys/user/{name} && exec "$@"', "sh"]


def _can_limit() -> bool:
    if shutil.which("unshare") is None:
        return False
    command = [*limited("max_inotify_watches", 10), "true"]
    return subprocess.run(command, capture_output=True).returncode == 0


@pytest.fixture
def site(lite_place: Workplace) -> Site:
    (lite_place.folder / "scratch").mkdir()
    for number in range(FOLDERS):
        (lite_place.inbox / f"{number:02}").mkdir()
    lite_place.config["roots"] = [{"path": "inbox", "settle_seconds": 0.2, "rescan_seconds": 2}]
    return Site(lite_place.inbox, lite_place.folder / "scratch", folders=20)


@pytest.mark.skipif(not _can_limit(), reason="this system gives no user namespaces to limit")
@pytest.mark.parametrize(
    ("name", "limit", "mode"),
    [
        ("max_inotify_watches", 10, "events"),
        ("max_inotify_watches", 0, "poll"),
        ("max_inotify_instances", 0, "poll"),
    ],
    ids=["too few watches", "no watches", "no inotify"],
)
def test_every_file_arrives_all_the_same(
    lite_place: Workplace, site: Site, name: str, limit: int, mode: str
) -> None:
    with watching(lite_place, before=limited(name, limit)) as watch:
        brought = {}
        for folder in sorted(site.inbox.iterdir()):
            path = folder / "picture.png"
            path.write_bytes(content := site.picture())
            brought[path] = content
        # New folders meet the limit too.
        brought |= arrivals.copied_folders(site)
        watch.wait_for("SELECT count(*) FROM files WHERE state = 'present'", len(brought))
        watch.wait_for("SELECT count(*) FROM jobs WHERE state <> 'done'", 0)
        # Only a second scan tells a limit from a folder that was made a moment ago.
        watch.wait_until(
            lambda: "inotify" in watch.said, what="what is short, by the name that is to be raised"
        )
        code, said = watch.stop()
    assert code == 0
    assert "Traceback" not in said
    (root,) = lite_place.rows("SELECT mode, state, folders, watches FROM roots")
    assert (root["mode"], root["state"]) == (mode, "online")
    assert (root["watches"] or 0) < root["folders"]
    assert set(lite_place.column("SELECT sha256 FROM files")) == set(
        arrivals.sha256_by_path(brought).values()
    )
    lite_place.check_counters()


def test_a_large_tree_costs_little(lite_place: Workplace) -> None:
    """The figures are measured by benchmarks/watch.py; here only what no busy machine can excuse."""
    for number in range(2_000):
        (lite_place.inbox / f"{number // 100:02}" / f"{number:04}").mkdir(parents=True)
    lite_place.config["roots"] = [{"path": "inbox", "settle_seconds": 1}]
    lite_place.config["steps"] = {"colors": {"plugin": "colors"}, "quality": {"plugin": "quality"}}
    with watching(lite_place) as watch:
        assert watch.ready_seconds < 20
        # Itself, 20 folders, and 2,000 in them; each has its watch.
        watch.wait_for("SELECT folders FROM roots", 2_021)
        assert lite_place.column("SELECT watches FROM roots") == [2_021]
        before = watch.cpu_seconds
        time.sleep(4)
        assert watch.cpu_seconds - before < 1, "it does something while nothing happens"
        for number in range(3):
            path = lite_place.inbox / "07" / "0777" / f"{number}.png"
            path.write_bytes(arrivals.draw_png(number, (64, 64)))
            watch.wait_for("SELECT count(*) FROM files", number + 1, 20)
        watch.wait_for("SELECT count(*) FROM jobs WHERE state = 'done'", 6)
        assert watch.peak_resident_bytes < 150e6, "promised, before any model"
        assert watch.stop() == (0, "")


def test_folders_that_were_moved_out_are_let_go(lite_place: Workplace) -> None:
    """Otherwise a folder that work passes through would use up the system's watches over months."""
    lite_place.config["roots"] = [{"path": "inbox", "settle_seconds": 0.2, "rescan_seconds": 1}]
    outside = lite_place.folder / "done"
    with watching(lite_place) as watch:
        for number in range(200):
            (lite_place.inbox / "job" / f"{number:03}").mkdir(parents=True)
        watch.wait_for("SELECT watches FROM roots WHERE folders = 202", 202)
        (lite_place.inbox / "job").rename(outside)
        watch.wait_for("SELECT watches FROM roots WHERE folders = 1", 1)
        (lite_place.inbox / "picture.png").write_bytes(arrivals.draw_png(1))
        watch.wait_for("SELECT count(*) FROM files", 1)
        assert watch.stop() == (0, "")
