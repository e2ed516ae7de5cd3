"""The catalog's disk is full: the daemon says so, waits, and goes on when there is room.

A disk that is quickly full is a small tmpfs, which any user may mount in namespaces of their own. So
what the test does is done by this file as a script, within such namespaces.
"""

import errno
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from described import check_annotated_once, check_done_once, slow_plugin
from small_disk import check_inside, mount, needs_mounts
from watching import Watch, watching
from workplace import Workplace

STEPS = ("first", "second")

DISK_BYTES = 12_000_000


@needs_mounts
@pytest.mark.parametrize("name", ["filled_under_load", "killed_on_a_full_disk"])
def test_disk_is_full(tmp_path: Path, name: str) -> None:
    check_inside(__file__, name, tmp_path)


def filled_under_load(place: Workplace, disk: Path) -> None:
    with watching(place) as watch:
        for times in (1, 2):
            bring(place, f"before{times}", 20)
            watch.wait_until(lambda: "done" in place.states("jobs"))
            fill_up(disk)
            bring(place, f"after{times}", 60)
            wait_until_it_waits(watch, times)
            (disk / "ballast").unlink()
            watch.wait_until(lambda: watch.said.count("the catalog answers again") == times)  # noqa: B023  # called at once
        watch.wait_for("SELECT count(*) FROM files", 160)
        watch.wait_for("SELECT state FROM jobs GROUP BY state", ["done"])
        watch.wait_until(lambda: watch.told[-1] == "STATUS=watching 1 root", 10, "its status")
        code, said = watch.stop()
    assert code == 0
    assert "Traceback" not in said
    check_done_once(place, STEPS)
    assert place.column("SELECT DISTINCT attempts FROM jobs") == [1], "nobody is to blame"


def killed_on_a_full_disk(place: Workplace, disk: Path) -> None:
    with watching(place) as watch:
        bring(place, "before", 20)
        watch.wait_until(lambda: "done" in place.states("jobs"))
        fill_up(disk)
        bring(place, "after", 60)
        wait_until_it_waits(watch, 1)
    check_annotated_once(place)
    with watching(place, is_awaited=False) as watch:
        watch.wait_until(lambda: "disk is full" in watch.said or "READY=1" in watch.told)
        (disk / "ballast").unlink()
        watch.wait_for("SELECT count(*) FROM files", 80)
        watch.wait_for("SELECT state FROM jobs GROUP BY state", ["done"])
        assert watch.stop()[0] == 0
    check_done_once(place, STEPS)


def bring(place: Workplace, name: str, count: int) -> None:
    for number in range(count):
        place.draw(f"{name}/{number}.png", (number, len(name), ord(name[-1])))


def fill_up(disk: Path) -> None:
    """Write until nothing more fits."""
    with (disk / "ballast").open("wb", buffering=0) as ballast:
        try:
            while ballast.write(bytes(4096)):
                pass
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise


def wait_until_it_waits(watch: Watch, times: int) -> None:
    watch.wait_until(lambda: watch.said.count("waiting for it, nothing is lost") == times, 30)
    assert "the catalog's disk is full" in watch.said
    watch.wait_until(lambda: "disk is full" in watch.told[-1], 10, "its status")
    time.sleep(1)
    assert watch.process.poll() is None, f"it ended: {watch.said}"
    brought = len(list(watch.place.inbox.rglob("*.png")))
    assert watch.place.states("jobs")["done"] < brought * len(STEPS), "it had work to do"


def _main(scenario: Callable[[Workplace, Path], None], folder: Path) -> None:
    disk = mount(folder, DISK_BYTES)
    (folder / "place").mkdir()
    place = Workplace(folder / "place", f"sqlite:///{disk}/catalog.db")
    place.plugin("slow", slow_plugin(0.002))
    place.config |= {"steps": {name: {"plugin": "slow"} for name in STEPS}, "batch_size": 8}
    place.config["roots"] = [{"path": "inbox", "settle_seconds": 0.1, "rescan_seconds": 10_000}]
    scenario(place, disk)


if __name__ == "__main__":
    _main(globals()[sys.argv[1]], Path(sys.argv[2]))
