"""The queue: who gets which job, and who may say what became of it."""

import datetime as dt
import os
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from catalog_kit import NOW, ROOT, Catalog, file, make_due, picture, said, step

from enrich.catalog import files, queue, report
from enrich.catalog.engine import writing
from enrich.catalog.queue import CRASH_ATTEMPTS, WORKER_DIED, ClaimedAsset
from enrich.catalog.record import JobResult
from enrich.lease import is_gone, worker_name


def later(seconds: float) -> dt.datetime:
    return NOW + dt.timedelta(seconds=seconds)


def fill(catalog: Catalog, count: int, *steps: object) -> None:
    catalog.sync(*(steps or (step("a"), step("b"))))
    catalog.ingest(*(file(f"{number:03}.png", f"hash {number:03}") for number in range(count)))


def shown(assets: list[ClaimedAsset]) -> list[tuple[int, list[str]]]:
    return [(asset.id, sorted(job.step for job in asset.jobs)) for asset in assets]


def test_an_asset_is_claimed_with_all_its_due_jobs(catalog: Catalog) -> None:
    catalog.sync(step("a"), step("b"))
    catalog.ingest(
        file("z.png", picture("one", media_type="image/webp", embedded={"title": "x"})), file("a.png", "two")
    )
    catalog.ingest(file("y.png", picture("one", media_type="image/webp", embedded={"title": "x"})))
    first, second = catalog.claim()
    assert (first.path, first.media_type, first.embedded) == (ROOT / "y.png", "image/webp", {"title": "x"})
    assert [(job.step, job.attempts) for job in first.jobs] == [("a", 1), ("b", 1)]
    assert second.path == ROOT / "a.png"
    rows = catalog.rows("SELECT DISTINCT state, worker, attempts FROM jobs")
    assert rows == [{"state": "running", "worker": "one", "attempts": 1}]
    assert catalog.claim("two") == []


def test_urgent_steps_first_then_the_oldest_assets(catalog: Catalog) -> None:
    fill(catalog, 4, step("a"), step("b", priority=10), step("c", priority=-10))
    every = ["a", "b", "c"]
    for asset in catalog.claim(names=["b"], limit=2):
        catalog.finish(asset)
    assert shown(catalog.claim(names=every, limit=1)) == [(3, every)], "its b is the oldest urgent job"
    assert shown(catalog.claim(names=every, limit=2)) == [(1, ["a", "c"]), (4, every)]
    assert shown(catalog.claim(names=["c"])) == [(2, ["c"])]
    assert shown(catalog.claim(names=every)) == [(2, ["a"])]


def test_only_the_steps_asked_for(catalog: Catalog) -> None:
    fill(catalog, 2)
    assert shown(catalog.claim(names=["b"])) == [(1, ["b"]), (2, ["b"])]
    assert catalog.claim(names=[]) == []


def test_later_steps_are_told_what_was_said(catalog: Catalog) -> None:
    fill(catalog, 1)
    (asset,) = catalog.claim(names=["a"])
    assert asset.said == ()
    rows = (
        said("caption", text="A dog.", confidence=0.5),
        said("caption", page=1, text="Page two."),
        said("caption", item="x", is_empty=True),
    )
    catalog.finish(asset, annotations=rows)
    (asset,) = catalog.claim(names=["b"])
    assert asset.said == (queue.Said("a", "", "caption", "A dog.", None, 0.5),)


def test_a_retry_is_not_due_before_its_time(catalog: Catalog) -> None:
    fill(catalog, 1, step("a"))
    (asset,) = catalog.claim()
    catalog.finish(asset, "pending", retry_at=later(60), error_kind="plugin_failed", error="busy")
    assert catalog.claim(now=later(59)) == []
    with catalog.engine.connect() as connection:
        assert queue.seconds_to_next(connection, ["a"], later(18)) == 42
        assert queue.seconds_to_next(connection, ["a"], later(99)) == 0
        assert queue.seconds_to_next(connection, ["b"], NOW) is None
    (asset,) = catalog.claim(now=later(60))
    assert [job.attempts for job in asset.jobs] == [2]
    assert catalog.column("SELECT retry_at FROM jobs") == [None]


def test_nothing_is_due_of_an_asset_without_a_file(catalog: Catalog) -> None:
    fill(catalog, 1)
    catalog.write(files.mark_missing, [1], NOW)
    assert catalog.claim() == []
    with catalog.engine.connect() as connection:
        assert queue.seconds_to_next(connection, ["a", "b"], NOW) is None


def test_claimers_at_once_never_share_a_job(catalog: Catalog) -> None:
    fill(catalog, 90)
    start = threading.Barrier(4)

    def work(worker: str) -> list[int]:
        start.wait()
        ids: list[int] = []
        while True:
            with writing(catalog.engine).begin() as connection:
                assets = queue.claim(
                    connection, worker=worker, steps=["a", "b"], limit=4, lease_seconds=60, now=NOW
                )
            if not assets:
                return ids
            ids += [job.id for asset in assets for job in asset.jobs]

    with ThreadPoolExecutor(4) as pool:
        claimed = Counter(job for ids in pool.map(work, "wxyz") for job in ids)
    assert len(claimed) == 180
    assert set(claimed.values()) == {1}
    assert catalog.column("SELECT DISTINCT attempts FROM jobs") == [1]
    assert report.miscounted(catalog.engine) == []


def test_a_heartbeat_keeps_the_lease(catalog: Catalog) -> None:
    fill(catalog, 1, step("a"))
    catalog.claim(lease_seconds=60)
    assert catalog.write(queue.heartbeat, "one", 60, later(50)) == 1
    assert catalog.write(queue.heartbeat, "other", 60, later(50)) == 0
    assert catalog.write(queue.leases) == {"one": later(110)}
    assert catalog.write(queue.reclaim, ["other"], later(100)) == 0
    assert catalog.write(queue.reclaim, ["one"], later(111)) == 1


def test_a_late_result_is_refused(catalog: Catalog) -> None:
    fill(catalog, 1, step("a"))
    (mine,) = catalog.claim("slow")
    catalog.write(queue.reclaim, ["slow"], later(61))
    late = {"worker": "slow", "annotations": [said("caption", text="late")]}
    assert catalog.finish(mine, **late) == [], "pending again"
    (theirs,) = catalog.claim("quick", now=later(62))
    assert catalog.finish(mine, **late) == [], "somebody else's"
    assert len(catalog.finish(theirs, worker="quick", annotations=[said("caption", text="quick")])) == 1
    assert catalog.finish(mine, **late) == [], "done"
    assert catalog.column("SELECT text FROM annotations") == ["quick"]


def test_an_earlier_attempt_of_the_same_worker_is_late_as_well(catalog: Catalog) -> None:
    fill(catalog, 1, step("a"))
    (first,) = catalog.claim()
    catalog.write(queue.reclaim, ["one"], later(61))
    (second,) = catalog.claim(now=later(62))
    assert catalog.finish(first, "failed", error_kind="x", error="x") == []
    assert len(catalog.finish(second)) == 1


def test_one_late_result_does_not_spoil_its_batch(catalog: Catalog) -> None:
    fill(catalog, 2, step("a"))
    one, two = catalog.claim()
    catalog.write(queue.reclaim, ["one"], later(61))
    (again,) = catalog.claim(limit=1, now=later(62))
    assert again.id == one.id
    written = catalog.record(
        *(
            JobResult(job.id, asset.id, "a", job.attempts, "done", 1, (said("data", data={"n": asset.id}),))
            for asset in (again, two)
            for job in asset.jobs
        )
    )
    assert [result.asset_id for result in written] == [one.id]
    assert catalog.column("SELECT asset_id FROM annotations") == [one.id]


def test_jobs_of_dead_workers_are_claimed_alone_and_last(catalog: Catalog) -> None:
    fill(catalog, 5, step("a", priority=50), step("b"))
    catalog.claim("dead", limit=2)
    assert catalog.write(queue.reclaim, ["dead"], NOW) == 4
    rows = catalog.rows("SELECT DISTINCT state, error_kind, worker, lease_expires_at FROM jobs WHERE id <= 4")
    assert rows == [{"state": "pending", "error_kind": WORKER_DIED, "worker": None, "lease_expires_at": None}]
    claims = [shown(catalog.claim()) for _ in range(4)]
    assert claims == [
        [(3, ["a", "b"]), (4, ["a", "b"]), (5, ["a", "b"])],
        [(1, ["a", "b"])],
        [(2, ["a", "b"])],
        [],
    ]


def test_a_job_that_kills_its_workers_is_given_up(catalog: Catalog) -> None:
    fill(catalog, 1, step("a"))
    for _ in range(CRASH_ATTEMPTS - 1):
        assert len(catalog.claim("dead")) == 1
        assert catalog.write(queue.reclaim, ["dead"], NOW) == 1
    assert len(catalog.claim("dead")) == 1
    assert catalog.write(queue.reclaim, ["dead"], NOW) == 0
    (row,) = catalog.rows("SELECT state, error_kind, error, attempts FROM jobs")
    assert (row["state"], row["error_kind"], row["attempts"]) == ("failed", WORKER_DIED, CRASH_ATTEMPTS)
    assert "enrich retry" in row["error"]
    assert catalog.write(queue.retry, None, [], NOW) == 1
    assert catalog.rows("SELECT state, error_kind, error, attempts FROM jobs") == [
        {"state": "pending", "error_kind": None, "error": None, "attempts": 0}
    ]


def test_release_is_as_if_never_claimed(catalog: Catalog) -> None:
    fill(catalog, 2, step("a"))
    catalog.claim("one", limit=1)
    catalog.claim("two", limit=1)
    assert sorted(catalog.write(queue.leases)) == ["one", "two"]
    assert catalog.write(queue.held, "one")
    assert catalog.write(queue.release, "one", NOW) == 1
    assert not catalog.write(queue.held, "one")
    rows = catalog.rows("SELECT state, attempts, worker, error_kind FROM jobs ORDER BY id")
    assert [tuple(row.values()) for row in rows] == [
        ("pending", 0, None, None),
        ("running", 1, "two", None),
    ]


def test_what_is_recorded_supersedes_what_was_said_before(catalog: Catalog) -> None:
    fill(catalog, 2)
    catalog.annotate(1, "a", said("answer", item="x", text="1"), said("answer", item="y", text="1"))
    catalog.annotate(2, "a", said("answer", item="x", text="2"))
    catalog.annotate(1, "b", said("caption", text="b"))
    catalog.annotate(1, "a", said("answer", item="x", text="3"))
    current = "SELECT asset_id, step, item, text FROM annotations WHERE superseded_at IS NULL ORDER BY id"
    assert [tuple(row.values()) for row in catalog.rows(current)] == [
        (2, "a", "x", "2"),
        (1, "b", "", "b"),
        (1, "a", "x", "3"),
    ]


def test_a_failure_leaves_what_was_said_before(catalog: Catalog) -> None:
    fill(catalog, 1, step("a"))
    catalog.annotate(1, "a", said("caption", text="A dog."))
    catalog.annotate(1, "a")
    assert catalog.column("SELECT text FROM captions") == [], "done, with nothing to say"
    catalog.annotate(1, "a", said("caption", text="A cat."))
    catalog.write(make_due, 1, "a")
    (asset,) = catalog.claim()
    catalog.finish(asset, "failed", error_kind="plugin_failed", error="it raised")
    assert catalog.column("SELECT text FROM captions") == ["A cat."]


def test_vectors_and_tags_have_tables_of_their_own(catalog: Catalog) -> None:
    fill(catalog, 1, step("a"))
    catalog.annotate(
        1, "a", said("embedding", vector=b"\0\0\x80?" + bytes(8)), said("tags", item="t", tags=[("x", 1.0)])
    )
    assert catalog.rows("SELECT asset_id, dimensions, vector FROM embeddings") == [
        {"asset_id": 1, "dimensions": 3, "vector": b"\0\0\x80?" + bytes(8)}
    ]
    assert catalog.column("SELECT annotation_id FROM tags") == catalog.column(
        "SELECT id FROM annotations WHERE kind = 'tags'"
    )


def test_retry_takes_failed_and_unreadable_jobs_of_a_step_or_all(catalog: Catalog) -> None:
    fill(catalog, 4)
    one, two, three, four = catalog.claim()
    catalog.finish(one, "failed", error_kind="plugin_failed", error="it raised")
    catalog.finish(two, "skipped", reason="unreadable")
    catalog.finish(three, "skipped", reason="outside_domain")
    catalog.finish(four)
    assert catalog.write(queue.retry, "a", [], NOW) == 1
    assert catalog.write(queue.retry, None, ["unreadable"], NOW) == 3
    assert catalog.write(queue.retry, None, ["unreadable"], NOW) == 0
    assert shown(catalog.claim()) == [(1, ["a", "b"]), (2, ["a", "b"])]
    assert catalog.column("SELECT DISTINCT attempts FROM jobs") == [1]
    assert catalog.column("SELECT state FROM jobs WHERE asset_id > 2 ORDER BY id") == [
        "skipped",
        "skipped",
        "done",
        "done",
    ]


def test_a_worker_is_gone_when_its_process_is() -> None:
    command = "from enrich.lease import worker_name; print(worker_name(), flush=True); input()"
    process = subprocess.Popen(
        [sys.executable, "-c", command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdin is not None
    with process.stdin, process.stdout:
        name = process.stdout.readline().strip()
        assert not is_gone(name)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert is_gone(name), "a zombie works no more"
        process.wait()
        assert is_gone(name)


def test_nobody_is_declared_dead_from_afar() -> None:
    host, space, pid, started = worker_name().rsplit("/", 3)
    assert not is_gone(worker_name())
    assert is_gone(f"{host}/{space}/{pid}/{int(started) + 1}"), "the number was given to another process"
    assert not is_gone(f"elsewhere/{space}/{pid}/1")
    assert not is_gone(f"{host}/1{space}/{pid}/1"), "another container under the same name"
    assert not is_gone("one")


@pytest.mark.parametrize("state", ["done", "skipped", "failed", "pending"])
def test_a_finished_job_is_nobodys(catalog: Catalog, state: str) -> None:
    fill(catalog, 1, step("a"))
    (asset,) = catalog.claim()
    catalog.finish(asset, state, reason="why" if state == "skipped" else None)
    (row,) = catalog.rows("SELECT state, reason, worker, lease_expires_at, generator_id FROM jobs")
    generator_id = 1 if state in ("done", "skipped") else None
    reason = "why" if state == "skipped" else None
    assert tuple(row.values()) == (state, reason, None, None, generator_id)
