"""``enrich run``, from files to rows, in processes of its own."""

import json
import signal
import subprocess
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from workplace import LOUD, Workplace, stop, wait_until

RAISING = """
import enrich

@enrich.hookimpl
@enrich.each
def enrich_tag(rendition):
    if rendition.path.name == "0001.png":
        raise ValueError("not this one")
    return [enrich.Tag("fine")]
"""

#: A number that JSON can hold, and Python's writer of it refuses.
REFUSED = """
import enrich

@enrich.hookimpl
@enrich.each
def enrich_data(rendition):
    return {"number": 10**5000 if rendition.path.name == "0001.png" else 1}
"""

SLOW = LOUD.replace("0.001", "0.05")


def result(done: subprocess.CompletedProcess[str], code: int) -> Any:
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


def counted(states: Mapping[str, int]) -> dict[str, int]:
    return {state: count for state, count in states.items() if count}


def test_a_folder_becomes_rows_and_a_second_run_does_nothing(place: Workplace) -> None:
    place.draw("dark.png", (9, 9, 9))
    place.draw("in/bright.png", (250, 250, 250))
    place.draw("in/copy.png", (250, 250, 250))
    (place.inbox / "notes.txt").write_text("no picture")
    done = result(place.enrich("run", "--json"), 0)
    assert counted(done["files"]) == {"present": 3, "ignored": 1}
    assert done["jobs"] == {"done": 2}
    tags = place.rows("SELECT path, tag, step, model FROM asset_tags ORDER BY path")
    inbox = str(place.inbox)
    assert [tuple(row.values()) for row in tags] == [
        (f"{inbox}/dark.png", "dark", "light", ""),
        (f"{inbox}/in/bright.png", "bright", "light", ""),
    ]
    place.check_counters()

    before = place.rows("SELECT * FROM annotations") + place.rows("SELECT * FROM jobs")
    progress = place.run()
    assert (counted(progress.files), progress.jobs, progress.missing) == ({"unchanged": 4}, {}, 0)
    assert place.rows("SELECT * FROM annotations") + place.rows("SELECT * FROM jobs") == before
    assert [row["ended_at"] is not None for row in place.rows("SELECT ended_at FROM runs")] == [True, True]

    status = result(place.enrich("status", "--json"), 0)
    assert status["assets"] == 2
    assert counted(status["files"]) == {"present": 3, "ignored": 1}
    light = {"pending": 0, "running": 0, "done": 2, "skipped": 0, "failed": 0, "stale": 0}
    light |= {"trouble": None, "paused_until": None}
    assert status["steps"] == [{"step": "light", **light}]


def test_show_a_path_and_an_asset(lite_place: Workplace) -> None:
    lite_place.draw("a.png", (250, 250, 250))
    lite_place.run()
    by_path = result(lite_place.enrich("show", "inbox/a.png", "--json"), 0)
    by_id = result(lite_place.enrich("show", "1", "--json"), 0)
    assert by_path.pop("file") == by_path["files"][0]
    assert by_path == by_id
    assert by_id["annotations"][0]["text"] == "bright"
    assert by_id["annotations"][0]["generator"]["plugin"] == "light"


def test_a_plugin_that_fails_is_mended_and_retried(place: Workplace) -> None:
    place.draw_many(3)
    place.plugin("light", RAISING)
    done = result(place.enrich("run", "--json"), 1)
    assert done["jobs"] == {"done": 2, "failed": 1}
    (failure,) = done["failures"]
    assert (failure["step"], failure["error_kind"]) == ("light", "plugin_failed")
    assert "ValueError: not this one" in failure["error"]

    assert place.run().jobs == {}, "a failure is not tried again unasked"
    place.plugin("light", RAISING.replace("0001.png", "none"))
    assert result(place.enrich("retry", "--json"), 0)["jobs"] == {"done": 1}
    assert place.column("SELECT count(*) FROM asset_tags") == [3]
    assert place.rows("SELECT * FROM failures") == []
    place.check_counters()


def test_a_result_the_catalog_refuses_fails_alone(place: Workplace) -> None:
    place.plugin("refused", REFUSED)
    place.config["steps"]["refused"] = {"plugin": "refused"}
    place.draw_many(5)
    progress = place.run()
    assert progress.jobs == {"done": 9, "failed": 1}
    (failure,) = place.rows("SELECT path, step, error FROM failures")
    assert (failure["path"], failure["step"]) == (str(place.inbox / "0001.png"), "refused")
    assert "cannot be recorded" in failure["error"]


def test_named_paths_only(lite_place: Workplace) -> None:
    first = lite_place.draw("a.png", (1, 1, 1))
    lite_place.draw("b.png", (2, 2, 2))
    lite_place.draw("in/c.png", (3, 3, 3))
    elsewhere = lite_place.folder / "elsewhere.png"
    first.rename(elsewhere)
    progress = lite_place.run(elsewhere, lite_place.inbox / "in")
    assert (progress.files["present"], progress.jobs) == (2, {"done": 2})
    rows = lite_place.rows("SELECT root, path FROM files ORDER BY id")
    assert {(row["root"], row["path"]) for row in rows} == {
        (str(lite_place.folder), str(elsewhere)),
        (str(lite_place.inbox), str(lite_place.inbox / "in/c.png")),
    }
    assert lite_place.run(elsewhere).files == {}, "it is as it was"
    (lite_place.inbox / "in/c.png").unlink()
    assert lite_place.run(lite_place.inbox / "in").missing == 0, "a folder that is empty at once is offline"
    assert lite_place.run().missing == 1


@pytest.mark.parametrize(
    ("change", "arguments", "code", "message"),
    [
        ({}, ["run", "nowhere"], 2, "no such file or folder"),
        ({"steps": {"x": {"plugin": "nobody"}}}, ["run"], 3, "steps.x.plugin: no plugin nobody"),
        ({"catalog": "postgresql://nobody@127.0.0.1:9/none"}, ["run"], 3, "is `catalog` right"),
        ({}, ["show", "2"], 2, "nothing is known of 2"),
    ],
)
def test_what_cannot_be_run_says_why(
    lite_place: Workplace, change: dict[str, object], arguments: list[str], code: int, message: str
) -> None:
    lite_place.config |= change
    done = lite_place.enrich(*arguments)
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_drains(lite_place: Workplace, number: signal.Signals) -> None:
    lite_place.plugin("slow", SLOW)
    lite_place.config |= {"steps": {"slow": {"plugin": "slow"}}, "batch_size": 4}
    lite_place.draw_many(60)
    with lite_place.enriching("run") as process:
        wait_until(lambda: len(lite_place.said()) >= 6, process)
        code, errors = stop(process, number)
    assert code == 130, errors
    assert "interrupted" in errors
    states = lite_place.states("jobs")
    assert set(states) == {"done", "pending"}, "nothing is left running"
    assert states["done"] == len(lite_place.said()) < 60, "what was begun was recorded"
    assert lite_place.column("SELECT DISTINCT attempts FROM jobs WHERE state = 'pending'") == [0]
    assert lite_place.column("SELECT ended_at IS NULL FROM runs") == [False]
    lite_place.check_counters()
    lite_place.plugin("slow", LOUD)
    lite_place.run()
    assert lite_place.states("jobs") == {"done": len(lite_place.column("SELECT id FROM assets"))}
    assert set(Counter(lite_place.said()).values()) == {1}, "no work was done twice"


def test_a_root_that_went_away_is_offline(place: Workplace) -> None:
    place.config["roots"].append({"path": "other", "settle_seconds": 0})
    place.draw("a.png")
    (place.folder / "other").mkdir()
    place.draw("../other/b.png", (1, 2, 3))
    place.run()

    place.inbox.rename(place.folder / "unplugged")
    place.draw("../other/c.png", (4, 5, 6))
    done = result(place.enrich("run", "--json"), 1)
    assert done["offline"] == [str(place.inbox)]
    assert (done["missing"], done["jobs"]) == (0, {"done": 1}), (
        "the other root is looked through all the same"
    )

    place.inbox.mkdir()
    progress = place.run()
    assert (progress.offline, progress.missing) == ([place.inbox], 0), "an empty mount point"
    assert place.states() == {"present": 3}

    place.inbox.rmdir()
    (place.folder / "unplugged").rename(place.inbox)
    progress = place.run()
    assert (progress.offline, progress.failed, progress.jobs) == ([], 0, {})


def test_a_new_and_empty_root_is_no_trouble(lite_place: Workplace) -> None:
    progress = lite_place.run()
    assert (progress.failed, progress.files["unchanged"]) == (0, 0)


def test_every_real_file_is_accounted_for(lite_place: Workplace, eval_data: Path) -> None:
    folders = [eval_data / name for name in ("photos", "exif", "formats", "text", "big")]
    lite_place.config["max_attempts"] = 1
    progress = lite_place.run(*folders)
    on_disk = {str(path) for folder in folders for path in folder.rglob("*") if not path.is_dir()}
    catalogued = lite_place.rows("SELECT path, state, error, asset_id FROM files")
    assert {row["path"] for row in catalogued} == on_disk
    assert sum(count for state, count in progress.files.items() if state != "unchanged") == len(on_disk)
    assert all(row["error"] for row in catalogued if row["state"] == "failed")
    assert all(row["asset_id"] for row in catalogued if row["state"] == "present")
    assert set(lite_place.states("jobs")) <= {"done", "skipped"}

    shown = {
        row["path"]: row
        for row in lite_place.rows("SELECT path, orientation FROM files JOIN assets ON assets.id = asset_id")
    }
    truth = map(json.loads, (eval_data / "truth.jsonl").read_text(encoding="utf-8").splitlines())
    expected = {
        str(eval_data / row["path"]): row["expected"] for row in truth if row["kind"] == "orientation"
    }
    assert expected
    found = {path: shown[path]["orientation"] for path in expected}
    assert found == {path: value or None for path, value in expected.items()}
