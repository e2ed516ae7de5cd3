"""Tasks of the task array: taken in once, run once while a lease holds, never lost, told together."""

import datetime as dt
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from catalog_kit import NOW, Catalog
from workplace import wait_until

from enrich.catalog import deliveries, keys, tasks, uploads
from enrich.catalog.engine import writing

EXPIRES = NOW + dt.timedelta(hours=1)
URL = "https://example.org/hook?token=secret"


def after(seconds: float) -> dt.datetime:
    return NOW + dt.timedelta(seconds=seconds)


def accept(
    catalog: Catalog, task_uuid: str, key_id: int | None = None, **facts: Any
) -> tasks.Accepted | tasks.Known | tasks.Conflict:
    plain: dict[str, Any] = {"task_type": "imageCaption", "body_digest": "d", "body": {"n": 1}}
    more: dict[str, Any] = {"task_key": task_uuid.lower(), "is_async": True, "now": NOW}
    return catalog.write(tasks.accept, key_id=key_id, task_uuid=task_uuid, **{**plain, **more, **facts})


def accepted(catalog: Catalog, task_uuid: str, key_id: int | None = None, **facts: Any) -> tasks.TaskRow:
    taken = accept(catalog, task_uuid, key_id, **facts)
    assert isinstance(taken, tasks.Accepted)
    return taken.task


def claim(
    catalog: Catalog, worker: str = "w", *, now: dt.datetime = NOW, limit: int = 10
) -> list[tasks.TaskRow]:
    return catalog.write(tasks.claim, worker=worker, limit=limit, lease_seconds=60, now=now)


def finish(catalog: Catalog, task: tasks.TaskRow, **facts: Any) -> bool:
    plain: dict[str, Any] = {"worker": "w", "attempts": task.attempts, "state": "success"}
    more: dict[str, Any] = {"result": {"text": "A dog."}, "cost": 0.0013, "now": NOW, "expires_at": EXPIRES}
    return catalog.write(tasks.finish, task.id, **{**plain, **more, **facts})


@pytest.fixture
def two_keys(catalog: Catalog) -> tuple[int, int]:
    limits: dict[str, Any] = {"minute_limit": None, "hour_limit": None, "credits": None}
    one, two = (
        catalog.write(keys.create, name, scopes=["infer"], now=NOW, **limits)[0].id for name in ("one", "two")
    )
    return one, two


def test_a_task_from_its_acceptance_to_its_end(catalog: Catalog) -> None:
    new = accepted(catalog, "AB", webhook_url=URL)
    assert (new.state, new.task_uuid, new.task_key, new.attempts) == ("accepted", "AB", "ab", 0)
    assert catalog.write(tasks.open_count) == 1
    (taken,) = claim(catalog)
    assert (taken.id, taken.state, taken.worker, taken.attempts) == (new.id, "running", "w", 1)
    assert (taken.body, taken.webhook_url) == ({"n": 1}, URL)
    assert catalog.write(tasks.workers) == {"w"}
    assert finish(catalog, taken)
    done = catalog.write(tasks.find, None, "ab", NOW)
    assert done is not None
    assert (done.state, done.result, done.cost) == ("success", {"text": "A dog."}, 0.0013)
    assert (done.finished_at, done.expires_at, done.lease_expires_at) == (NOW, EXPIRES, None)
    assert catalog.write(tasks.open_count) == 0
    assert catalog.write(tasks.workers) == set()


def test_what_is_not_needed_any_more_is_gone_at_the_end(catalog: Catalog) -> None:
    accepted(catalog, "a", webhook_url=URL)
    (taken,) = claim(catalog)
    assert "secret" not in repr(taken)
    finish(catalog, taken)
    assert catalog.rows("SELECT body, webhook_url FROM api_tasks") == [
        {"body": None, "webhook_url": "https://example.org/hook"}
    ]


@pytest.mark.parametrize("is_keyed", [True, False])
def test_the_same_task_again_is_known_and_another_one_a_conflict(
    catalog: Catalog, two_keys: tuple[int, int], is_keyed: bool
) -> None:
    mine = two_keys[0] if is_keyed else None
    new = accepted(catalog, "AB", mine)
    assert accept(catalog, "ab", mine) == tasks.Known(new)
    assert accept(catalog, "AB", mine, body_digest="e") == tasks.Conflict(new)
    (taken,) = claim(catalog)
    finish(catalog, taken)
    known = accept(catalog, "AB", mine)
    assert isinstance(known, tasks.Known)
    assert known.task.result == {"text": "A dog."}
    assert isinstance(accept(catalog, "AB", mine, body_digest="e"), tasks.Conflict)
    assert catalog.column("SELECT count(*) FROM api_tasks") == [1]


def test_each_key_has_its_own_tasks(catalog: Catalog, two_keys: tuple[int, int]) -> None:
    rows = {key: accepted(catalog, "AB", key, body_digest=str(key)) for key in (*two_keys, None)}
    for key, row in rows.items():
        assert catalog.write(tasks.find, key, "ab", NOW) == row
        assert catalog.write(tasks.find, key, "none", NOW) is None


def test_the_database_itself_keeps_a_task_from_being_there_twice(
    catalog: Catalog, two_keys: tuple[int, int]
) -> None:
    for key in (two_keys[0], None):
        accepted(catalog, "a", key)
        columns = "task_uuid, task_key, task_type, body_digest, state, is_async, created_at, attempts"
        statement = f"INSERT INTO api_tasks (key_id, {columns}) SELECT key_id, {columns} FROM api_tasks"
        with pytest.raises(sa.exc.IntegrityError), writing(catalog.engine).begin() as connection:
            connection.execute(sa.text(statement))


def test_a_task_that_is_run_at_once_is_nobody_elses(catalog: Catalog) -> None:
    mine = accepted(catalog, "a", worker="request", lease_seconds=30, is_async=False)
    assert (mine.state, mine.attempts, mine.worker) == ("running", 1, "request")
    assert claim(catalog, now=after(29.9)) == []
    (again,) = claim(catalog, now=after(30))
    assert (again.id, again.attempts) == (mine.id, 2)
    assert not finish(catalog, mine, worker="request"), "it came too late"
    assert finish(catalog, again)


def test_the_oldest_come_first_and_a_lease_holds(catalog: Catalog) -> None:
    ids = [accepted(catalog, str(n)).id for n in range(5)]
    assert [row.id for row in claim(catalog, "one", limit=3)] == ids[:3]
    assert [row.id for row in claim(catalog, "two", limit=3)] == ids[3:]
    assert claim(catalog, "three") == []
    assert catalog.write(tasks.extend, "one", 60, after(50)) == 3
    assert [row.id for row in claim(catalog, "three", now=after(60))] == ids[3:]
    assert [row.id for row in claim(catalog, "three", now=after(110))] == ids[:3]


def test_an_end_is_written_once_and_by_who_holds_it(catalog: Catalog) -> None:
    accepted(catalog, "a", webhook_url=URL)
    (first,) = claim(catalog)
    (second,) = claim(catalog, now=after(60))
    assert second.attempts == 2, "the same worker, after a long sleep"
    assert not finish(catalog, first, result={"text": "late"}, webhook="late")
    assert not finish(catalog, second, worker="other", webhook="foreign")
    assert catalog.column("SELECT count(*) FROM deliveries") == [0]
    assert finish(catalog, second, webhook="{}")
    assert not finish(catalog, second, webhook="twice")
    assert catalog.column("SELECT body FROM deliveries") == ["{}"]


def test_the_end_and_its_webhook_are_one_transaction(
    catalog: Catalog, two_keys: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    key_id = two_keys[0]
    accepted(catalog, "a", key_id, webhook_url=URL)
    (taken,) = claim(catalog)

    def fails(*_: object, **__: object) -> int:
        raise OSError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(deliveries, "add", fails)
        with pytest.raises(OSError, match="full"):
            finish(catalog, taken, webhook="{}")
    assert catalog.column("SELECT state FROM api_tasks") == ["running"]
    assert finish(catalog, taken, webhook="{}")
    (delivery,) = catalog.write(deliveries.claim, limit=9, now=NOW, lease_seconds=9)
    assert (delivery.url, delivery.key_id, delivery.task_id) == (URL, key_id, taken.id)


def test_without_an_address_nothing_is_told(catalog: Catalog) -> None:
    accepted(catalog, "a")
    accepted(catalog, "b", webhook_url=URL)
    first, second = claim(catalog)
    assert finish(catalog, first, webhook="{}")
    assert finish(catalog, second, state="error", result={"code": "x"}, cost=None)
    assert catalog.column("SELECT count(*) FROM deliveries") == [0]
    assert catalog.column("SELECT state FROM api_tasks ORDER BY id") == ["success", "error"]


def test_given_back_is_as_if_never_claimed(catalog: Catalog) -> None:
    accepted(catalog, "a")
    accepted(catalog, "b", worker="other", lease_seconds=60)
    claim(catalog)
    assert catalog.write(tasks.release, "w") == 1
    (again,) = claim(catalog)
    assert (again.task_uuid, again.attempts) == ("a", 1)
    assert catalog.write(tasks.extend, "w", 60, NOW) == 1


def test_what_a_worker_has_not_in_hand_any_more_is_let_go(catalog: Catalog) -> None:
    accepted(catalog, "a")
    accepted(catalog, "b")
    in_hand, lost = claim(catalog)
    assert catalog.write(tasks.extend, "w", 60, after(50), [in_hand.id]) == 1
    (again,) = claim(catalog, now=after(60))
    assert (again.id, again.attempts) == (lost.id, 2)
    assert catalog.write(tasks.release, "w", [in_hand.id]) == 1
    assert [(row.id, row.attempts) for row in claim(catalog, "other", now=after(60))] == [(in_hand.id, 1)]


def test_the_tasks_of_the_dead_are_taken_back_at_once(catalog: Catalog) -> None:
    accepted(catalog, "a")
    accepted(catalog, "b")
    claim(catalog, "dead", limit=1)
    claim(catalog, "living", limit=1)
    assert catalog.write(tasks.reclaim, {"dead", "unknown"}) == 1
    (again,) = claim(catalog)
    assert (again.task_uuid, again.attempts) == ("a", 2)


def test_a_result_expires_and_its_uuid_is_free_again(catalog: Catalog) -> None:
    first = accepted(catalog, "a")
    accepted(catalog, "open")
    claim(catalog)
    assert finish(catalog, claim(catalog, now=after(60))[0])
    assert catalog.write(tasks.expire, after(3599)) == 0
    assert catalog.write(tasks.find, None, "a", after(3599)) is not None
    assert catalog.write(tasks.find, None, "a", EXPIRES) is None
    again = accepted(catalog, "a", body_digest="e", now=EXPIRES)
    assert again.id > first.id
    assert finish(catalog, claim(catalog, now=EXPIRES)[0], expires_at=EXPIRES)
    assert catalog.write(tasks.expire, EXPIRES) == 1
    assert catalog.write(tasks.expire, after(1e9)) == 0, "what has not ended does not expire"
    assert catalog.write(tasks.open_count) == 1


def test_a_result_stays_until_it_was_told(catalog: Catalog) -> None:
    accepted(catalog, "a", webhook_url=URL)
    (taken,) = claim(catalog)
    finish(catalog, taken, webhook="{}")
    (delivery,) = catalog.write(deliveries.claim, limit=1, now=NOW, lease_seconds=1)
    assert catalog.write(tasks.expire, EXPIRES) == 0
    assert catalog.write(deliveries.delivered, delivery.id, 1, NOW)
    assert catalog.write(tasks.expire, EXPIRES) == 1
    assert catalog.column("SELECT count(*) FROM deliveries") == [0]


def test_a_uuid_that_is_used_again_takes_no_webhook_away(catalog: Catalog) -> None:
    accepted(catalog, "a", webhook_url=URL)
    (taken,) = claim(catalog)
    finish(catalog, taken, webhook="first")
    accepted(catalog, "a", now=EXPIRES)
    (delivery,) = catalog.write(deliveries.claim, limit=9, now=EXPIRES, lease_seconds=9)
    assert (delivery.body, delivery.task_id) == ("first", None)


def test_uploads_of_others_are_not_held(catalog: Catalog, two_keys: tuple[int, int]) -> None:
    one, two = two_keys
    plain = {"file_name": "a", "media_type": "image/png", "size_bytes": 1, "sha256": "", "sha1": ""}
    for uuid, key_id in (("u1", one), ("u2", two), ("u3", None)):
        catalog.write(
            uploads.add, uuid=uuid, key_id=key_id, path=uuid, created_at=NOW, expires_at=NOW, **plain
        )
    accepted(catalog, "a", one, upload_uuids=["u1", "u2", "u3", "u1", "none"])
    assert [row.uuid for row in catalog.write(uploads.expired, NOW)] == ["u2", "u3"]


# Processes

#: Claims and ends tasks until there are none; says which on stdout; may be told to hang with the first.
WORKER = """
import datetime as dt, sys, time
from enrich.catalog import tasks
from enrich.catalog.engine import create_engine, writing

url, name, hang = sys.argv[1:]
engine = writing(create_engine(url))
sys.stdin.readline()
while True:
    now = dt.datetime.now(dt.UTC)
    with engine.begin() as connection:
        rows = tasks.claim(connection, worker=name, limit=3, lease_seconds=600, now=now)
    if not rows:
        break
    print(*(row.task_uuid for row in rows), flush=True)
    if hang == "hang":
        time.sleep(600)
    for row in rows:
        with engine.begin() as connection:
            done = tasks.finish(
                connection, row.id, worker=name, attempts=row.attempts, state="success", result={"by": name},
                cost=None, now=now, expires_at=now, webhook=row.task_uuid,
            )
        assert done
"""


def work(catalog: Catalog, name: str, *, hang: bool = False) -> subprocess.Popen[str]:
    url = catalog.engine.url.render_as_string(hide_password=False)
    command = [sys.executable, "-c", WORKER, url, name, "hang" if hang else "go on"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, text=True, cwd=Path.cwd(), **pipes)


def test_two_processes_never_run_one_task_twice(catalog: Catalog) -> None:
    wanted = [f"{n:03}" for n in range(60)]
    for task_uuid in wanted:
        accepted(catalog, task_uuid, webhook_url=URL)
    processes = [work(catalog, name) for name in ("one", "two")]
    said = [process.communicate("go\n", timeout=100) for process in processes]
    assert [errors for _, errors in said] == ["", ""]
    assert sorted(" ".join(out for out, _ in said).split()) == wanted
    assert sorted(catalog.column("SELECT body FROM deliveries")) == wanted
    assert catalog.column("SELECT DISTINCT attempts FROM api_tasks") == [1]


def test_a_killed_process_loses_no_task(catalog: Catalog) -> None:
    wanted = [str(n) for n in range(7)]
    for task_uuid in wanted:
        accepted(catalog, task_uuid, webhook_url=URL)
    with work(catalog, "killed", hang=True) as victim:
        try:
            assert victim.stdin is not None
            victim.stdin.write("go\n")
            victim.stdin.flush()
            wait_until(lambda: catalog.write(tasks.workers) == {"killed"}, victim)
        finally:
            os.kill(victim.pid, signal.SIGKILL)
    assert catalog.write(tasks.reclaim, ["killed"]) == 3
    _, errors = work(catalog, "next").communicate("go\n", timeout=100)
    assert errors == ""
    results = catalog.rows("SELECT task_uuid, state, attempts, worker FROM api_tasks ORDER BY task_uuid")
    assert results == [
        {"task_uuid": n, "state": "success", "attempts": 2 if n in "012" else 1, "worker": None}
        for n in wanted
    ]
    assert sorted(catalog.column("SELECT body FROM deliveries")) == wanted


def test_two_processes_that_send_the_same_task_make_one(catalog: Catalog) -> None:
    send = (
        "import datetime as dt, sys; from enrich.catalog import tasks\n"
        "from enrich.catalog.engine import create_engine, writing\n"
        "engine = writing(create_engine(sys.argv[1])); sys.stdin.readline()\n"
        "for n in range(30):\n"
        "    with engine.begin() as c:\n"
        "        taken = tasks.accept(c, key_id=None, task_uuid=str(n), task_key=str(n), task_type='t',\n"
        "            body_digest='d', body={}, is_async=True, now=dt.datetime.now(dt.UTC))\n"
        "    print(type(taken).__name__)\n"
    )
    url = catalog.engine.url.render_as_string(hide_password=False)
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    processes = [subprocess.Popen([sys.executable, "-c", send, url], text=True, **pipes) for _ in range(2)]
    said = [process.communicate("go\n", timeout=100) for process in processes]
    assert [errors for _, errors in said] == ["", ""]
    kinds = " ".join(out for out, _ in said).split()
    assert (kinds.count("Accepted"), kinds.count("Known")) == (30, 30)
