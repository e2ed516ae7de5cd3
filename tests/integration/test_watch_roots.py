"""Roots that go away and come back, under a daemon that watches them."""

import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from described import STEPS, bring, check_done_once, prepare
from watching import Watch, watching
from workplace import Workplace

#: A daemon in namespaces of its own: what is mounted there nobody else sees.
NAMESPACES = ("unshare", "--user", "--map-root-user", "--mount")


@pytest.fixture(autouse=True)
def prepared(request: pytest.FixtureRequest) -> None:
    prepare(request.getfixturevalue("lite_place" if "lite_place" in request.fixturenames else "place"))


def wait_done(watch: Watch, files: int) -> None:
    watch.wait_for("SELECT count(*) FROM files WHERE state = 'present'", files)
    watch.wait_for("SELECT count(*) FROM jobs WHERE state <> 'done'", 0)


def wait_offline(watch: Watch, reason: str) -> None:
    """Wait until the root is offline, for a reason, and then some more: nothing may become missing."""
    watch.wait_for("SELECT state FROM roots", "offline", 20)
    assert reason in watch.place.column("SELECT reason FROM roots")[0]
    before = watch.place.states()
    time.sleep(2.5)  # longer than it waits before it believes that something is gone
    assert watch.place.column("SELECT state FROM roots") == ["offline"]
    assert watch.place.states() == before
    assert "missing" not in before


def wait_online(watch: Watch) -> None:
    watch.wait_for("SELECT state FROM roots", "online", 20)
    assert watch.place.column("SELECT reason FROM roots") == [None]


def described(place: Workplace, assets: int) -> list[dict[str, Any]]:
    """Return all that was done for the first assets."""
    return [
        row
        for table in ("jobs", "annotations")
        for row in place.rows(f"SELECT * FROM {table} WHERE asset_id <= {assets} ORDER BY id")
    ]


def test_renamed_away_and_back(lite_place: Workplace) -> None:
    away = lite_place.folder / "away"
    with watching(lite_place) as watch:
        bring(lite_place, "some", 10)
        wait_done(watch, 10)
        before = described(lite_place, 10)
        os.rename(lite_place.inbox, away)
        wait_offline(watch, "is not there")
        assert "nothing below it is marked as missing" in watch.said
        shutil.move(away / "some" / "3.png", away / "moved.png")
        (away / "some" / "4.png").unlink()
        os.rename(away, lite_place.inbox)
        wait_online(watch)
        watch.wait_for("SELECT count(*) FROM files WHERE state = 'missing'", 2)
        wait_done(watch, 9)
        assert described(lite_place, 10) == before, "nothing is described again"
        bring(lite_place, "later", 3)
        wait_done(watch, 12)
        assert watch.stop()[0] == 0
    gone = lite_place.column("SELECT path FROM files WHERE state = 'missing' ORDER BY path")
    assert [os.path.basename(path) for path in gone] == ["3.png", "4.png"]
    lite_place.check_counters()


def test_another_folder_takes_its_place(lite_place: Workplace) -> None:
    """Events of the folder that was there first say nothing of the one that is there now."""
    with watching(lite_place) as watch:
        bring(lite_place, "some", 5)
        wait_done(watch, 5)
        other = lite_place.folder / "other"
        shutil.copytree(lite_place.inbox, other)
        os.rename(lite_place.inbox, lite_place.folder / "away")
        os.rename(other, lite_place.inbox)
        bring(lite_place, "in the other", 5)
        wait_done(watch, 10)
        time.sleep(3)  # until the other one is surely watched
        bring(lite_place, "later", 5)
        wait_done(watch, 15)
        assert watch.stop()[0] == 0
    check_done_once(lite_place, STEPS)


def test_emptied(lite_place: Workplace) -> None:
    with watching(lite_place) as watch:
        paths = [*bring(lite_place, "some", 10), *bring(lite_place, "more", 10), lite_place.draw("top.png")]
        wait_done(watch, 21)
        before = described(lite_place, 21)
        kept = paths[7].read_bytes()
        for entry in lite_place.inbox.iterdir():
            entry.unlink() if entry.is_file() else shutil.rmtree(entry)
        wait_offline(watch, "is empty, and was not")
        # The first file says that it is meant: what is not there now is gone.
        (lite_place.inbox / "back.png").write_bytes(kept)
        wait_online(watch)
        watch.wait_for("SELECT count(*) FROM files WHERE state = 'missing'", 21)
        wait_done(watch, 1)
        assert described(lite_place, 21) == before, "the same picture, at another path"
        assert watch.stop()[0] == 0
    assert lite_place.column("SELECT count(*) FROM files WHERE state = 'missing' AND missing_at IS NULL") == [
        0
    ]
    lite_place.check_counters()


def test_missing_at_the_start(lite_place: Workplace) -> None:
    lite_place.inbox.rmdir()
    with watching(lite_place) as watch:
        watch.wait_for("SELECT state FROM roots", "offline", 10)
        assert lite_place.column("SELECT reason FROM roots") == ["is not there"]
        bring(lite_place, "some", 3)
        wait_done(watch, 3)
        wait_online(watch)
        assert watch.stop()[0] == 0
    check_done_once(lite_place, STEPS)


def _can_mount() -> bool:
    if shutil.which("unshare") is None or shutil.which("nsenter") is None:
        return False
    mounting = [*NAMESPACES, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return subprocess.run(mounting, capture_output=True).returncode == 0


can_mount = pytest.mark.skipif(
    not _can_mount(), reason="this system lets nobody mount in namespaces of their own"
)


def within(watch: Watch, *command: object) -> None:
    """Run a command in the daemon's namespaces."""
    enter = ["nsenter", "--target", watch.process.pid, "--user", "--mount", "--preserve-credentials"]
    subprocess.run([str(word) for word in (*enter, *command)], check=True, timeout=30)


@can_mount
@pytest.mark.parametrize("is_bound", [True, False], ids=["the same device", "another device"])
def test_mount_point_is_emptied(lite_place: Workplace, is_bound: bool) -> None:
    """A share that is unmounted leaves its empty mount point; it comes back with what others did there."""
    share = lite_place.folder / "share"
    share.mkdir()
    if is_bound:
        mount = ["mount", "--bind", str(share), str(lite_place.inbox)]
    else:
        mount = ["mount", "-t", "tmpfs", "tmpfs", str(lite_place.inbox)]
    with watching(
        lite_place, before=[*NAMESPACES, "sh", "-c", f'{" ".join(mount)} && exec "$@"', "sh"]
    ) as watch:
        inside = Path(f"/proc/{watch.process.pid}/root{lite_place.inbox}")
        originals = [lite_place.draw(f"../aside/{number}.png", (number, 1, 1)) for number in range(8)]
        for path in originals:
            shutil.copy(path, inside)
        wait_done(watch, 8)
        before = described(lite_place, 8)
        kept = lite_place.folder / "kept"
        kept.mkdir()
        if not is_bound:  # what is in a tmpfs is gone with its last mount
            within(watch, "mount", "--bind", lite_place.inbox, kept)
        within(watch, "umount", "--lazy", lite_place.inbox)
        wait_offline(watch, "is empty, and was not")
        within(watch, "mount", "--bind", share if is_bound else kept, lite_place.inbox)
        wait_online(watch)
        lite_place.draw("../aside/later.png", (99, 1, 1))
        shutil.copy(lite_place.folder / "aside" / "later.png", inside)
        wait_done(watch, 9)
        assert described(lite_place, 8) == before, "nothing is described again"
        assert watch.stop()[0] == 0
    assert lite_place.states() == {"present": 9}
    lite_place.check_counters()


@can_mount
def test_another_device_takes_its_place(lite_place: Workplace) -> None:
    """A disk mounted over the root, with pictures of its own: not what was there before."""
    with watching(lite_place, before=[*NAMESPACES]) as watch:
        bring(lite_place, "some", 6)
        wait_done(watch, 6)
        foreign = lite_place.draw("../aside/foreign.png", (5, 5, 5))
        aside = lite_place.folder / "disk"
        aside.mkdir()
        within(watch, "mount", "-t", "tmpfs", "tmpfs", aside)
        within(watch, "cp", foreign, aside)
        within(watch, "mount", "--move", aside, lite_place.inbox)
        wait_offline(watch, "is on another device than before, and holds none of its files")
        within(watch, "umount", "--lazy", lite_place.inbox)
        wait_online(watch)
        bring(lite_place, "later", 2)
        wait_done(watch, 8)
        assert watch.stop()[0] == 0
    check_done_once(lite_place, STEPS)
