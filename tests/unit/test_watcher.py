"""Live events of real folders: what is named, and what is said when some were lost."""

import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from enrich.errors import FileUnreadable
from enrich.watcher import Watcher, is_limit_reached

Told = tuple[str, bool, bool]


class Watched:
    """A folder under watch, and what was told of it."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.told: list[Told] = []
        self.lost = 0
        self.watchers: list[Watcher] = []

    def start(self, root: Path | None = None, *, follow_symlinks: bool = False) -> Watcher:
        watcher = Watcher(
            root or self.top, follow_symlinks=follow_symlinks, on_path=self._note, on_overflow=self._lose
        )
        self.watchers.append(watcher)
        watcher.start()
        return watcher

    def _note(self, path: str, is_folder: bool, has_left: bool) -> None:
        self.told.append((path, is_folder, has_left))

    def _lose(self) -> None:
        self.lost += 1

    def wait_for(self, name: str, is_folder: bool = False, has_left: bool = False) -> None:
        wait_until(lambda: (str(self.top / name), is_folder, has_left) in self.told, self)

    @property
    def paths(self) -> set[str]:
        return {path for path, _, _ in self.told}


def wait_until(condition: Callable[[], bool], watched: Watched) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, watched.told
        time.sleep(0.01)


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    top = tmp_path / "top"
    (top / "in" / "deep").mkdir(parents=True)
    watched = Watched(top)
    yield watched
    for watcher in watched.watchers:
        watcher.stop()


def test_files_that_come_change_and_go(watched: Watched, tmp_path: Path) -> None:
    watched.start()
    (watched.top / "in" / "written.png").write_bytes(b"x")
    watched.wait_for("in/written.png")
    (tmp_path / "moved.png").write_bytes(b"x")
    os.rename(tmp_path / "moved.png", watched.top / "in" / "deep" / "moved.png")
    watched.wait_for("in/deep/moved.png")
    os.link(watched.top / "in" / "written.png", watched.top / "linked.png")
    watched.wait_for("linked.png")
    os.rename(watched.top / "linked.png", watched.top / "renamed.png")
    watched.wait_for("linked.png", has_left=True)
    watched.wait_for("renamed.png")
    watched.told.clear()
    with (watched.top / "renamed.png").open("ab") as file:
        file.write(b"y")
    watched.wait_for("renamed.png")
    (watched.top / "renamed.png").unlink()
    watched.wait_for("renamed.png", has_left=True)
    os.rename(watched.top / "in" / "written.png", tmp_path / "out.png")
    watched.wait_for("in/written.png", has_left=True)


def test_folders_that_come_and_go(watched: Watched, tmp_path: Path) -> None:
    watcher = watched.start()
    assert watcher.watches() == 3
    (watched.top / "new").mkdir()
    watched.wait_for("new", is_folder=True)
    wait_until(lambda: watcher.watches() == 4, watched)
    (watched.top / "new" / "one.png").write_bytes(b"x")
    watched.wait_for("new/one.png")
    os.rename(watched.top / "in", tmp_path / "out")
    watched.wait_for("in", is_folder=True, has_left=True)
    shutil.copytree(tmp_path / "out", tmp_path / "tree")
    os.rename(tmp_path / "tree", watched.top / "tree")
    watched.wait_for("tree", is_folder=True)
    shutil.rmtree(watched.top / "new")
    watched.wait_for("new", is_folder=True, has_left=True)


def test_looking_at_files_is_no_event(watched: Watched) -> None:
    path = watched.top / "in" / "one.png"
    path.write_bytes(b"x")
    watched.start()
    for _ in range(20):
        path.read_bytes()
        os.listdir(path.parent)
        os.utime(path)
    (watched.top / "last.png").write_bytes(b"x")
    watched.wait_for("last.png")
    assert watched.paths == {str(watched.top / "last.png")}


def test_names_that_are_no_text(watched: Watched) -> None:
    watched.start()
    name = os.fsdecode(b"\xff odd\n.png")
    (watched.top / "in" / name).write_bytes(b"x")
    watched.wait_for(f"in/{name}")


def test_a_root_that_is_a_link_is_told_under_its_own_name(watched: Watched, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(watched.top)
    watcher = watched.start(link)
    assert watcher.watches() == 3
    (watched.top / "in" / "one.png").write_bytes(b"x")
    wait_until(lambda: bool(watched.told), watched)
    assert watched.paths == {str(link / "in" / "one.png")}


@pytest.mark.parametrize("is_followed", [False, True], ids=["not followed", "followed"])
def test_a_linked_folder_is_watched_if_told(watched: Watched, tmp_path: Path, is_followed: bool) -> None:
    (tmp_path / "outside" / "deep").mkdir(parents=True)
    (watched.top / "linked").symlink_to(tmp_path / "outside")
    watcher = watched.start(follow_symlinks=is_followed)
    assert watcher.watches() == (5 if is_followed else 3)
    (tmp_path / "outside" / "deep" / "one.png").write_bytes(b"x")
    if is_followed:
        watched.wait_for("linked/deep/one.png")
    (watched.top / "last.png").write_bytes(b"x")
    watched.wait_for("last.png")
    assert (str(watched.top / "linked" / "deep" / "one.png") in watched.paths) == is_followed


def test_an_overflow_is_told_while_it_watches(watched: Watched) -> None:
    """It has no event; a warning of watchdog's is all there is. test_flood has real ones."""
    log = logging.getLogger("watchdog.observers.inotify_c")
    log.warning("inotify queue overflow")
    assert watched.lost == 0
    watcher = watched.start()
    log.warning("inotify queue overflow")
    log.warning("something else")
    log.info("overflow of words")
    assert watched.lost == 1
    watcher.stop()
    log.warning("inotify queue overflow")
    assert watched.lost == 1


def test_nothing_is_told_after_the_end(watched: Watched) -> None:
    watcher = watched.start()
    assert watcher.is_alive
    watcher.stop()
    assert not watcher.is_alive
    (watched.top / "one.png").write_bytes(b"x")
    time.sleep(0.1)
    assert watched.told == []
    watcher.stop()


def test_a_root_that_is_removed_ends_it(watched: Watched) -> None:
    watcher = watched.start()
    shutil.rmtree(watched.top)
    wait_until(lambda: not watcher.is_alive, watched)
    watcher.stop()


def test_a_folder_that_cannot_be_watched(watched: Watched) -> None:
    before = threading.active_count(), set(os.listdir("/proc/self/fd"))
    with pytest.raises(FileUnreadable, match="cannot be watched: No such file"):
        watched.start(watched.top / "gone")
    assert (threading.active_count(), set(os.listdir("/proc/self/fd"))) == before, "nothing is left behind"


def test_several_watchers_count_for_themselves(watched: Watched, tmp_path: Path) -> None:
    for number in range(4):
        (tmp_path / "others" / str(number) / "a" / "b").mkdir(parents=True)
    first = watched.start()
    starting = [
        threading.Thread(target=watched.start, args=(tmp_path / "others" / str(number),))
        for number in range(4)
    ]
    for thread in starting:
        thread.start()
    for thread in starting:
        thread.join()
    assert first.watches() == 3
    assert [watcher.watches() for watcher in watched.watchers] == [3] * 5
    assert not is_limit_reached(watched.top)
    assert [watcher.watches() for watcher in watched.watchers] == [3] * 5


def test_who_never_started_can_be_asked_and_stopped(watched: Watched) -> None:
    watcher = Watcher(watched.top, follow_symlinks=False, on_path=watched._note, on_overflow=watched._lose)
    assert (watcher.is_alive, watcher.watches()) == (False, None)
    watcher.stop()
