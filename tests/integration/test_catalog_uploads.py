"""What clients sent: theirs alone, for its time, and gone with its asset."""

import datetime as dt
import json
from typing import Any

import pytest
import sqlalchemy as sa
from catalog_kit import NOW, Catalog, file, step
from workplace import Workplace

from enrich.catalog import deliveries, forget, keys, tasks, uploads
from enrich.catalog.engine import writing

LATER = NOW + dt.timedelta(hours=1)


@pytest.fixture
def two_keys(catalog: Catalog) -> tuple[int, int]:
    limits: dict[str, Any] = {"minute_limit": None, "hour_limit": None, "credits": None}
    one, two = (
        catalog.write(keys.create, name, scopes=["infer"], now=NOW, **limits)[0].id for name in ("one", "two")
    )
    return one, two


def send(catalog: Catalog, uuid: str, key_id: int | None = None, **facts: Any) -> uploads.UploadRow:
    plain: dict[str, Any] = {
        "path": f"{uuid}.png",
        "file_name": "holiday.png",
        "media_type": "image/png",
        "size_bytes": 10,
        "sha256": f"sha256 of {uuid}",
        "sha1": f"sha1 of {uuid}",
        "created_at": NOW,
        "expires_at": LATER,
    }
    return catalog.write(uploads.add, uuid=uuid, key_id=key_id, **{**plain, **facts})


def accept(catalog: Catalog, task_key: str, key_id: int | None = None, **facts: Any) -> tasks.TaskRow:
    plain: dict[str, Any] = {"task_uuid": task_key, "task_type": "imageCaption", "body_digest": "d"}
    more: dict[str, Any] = {"body": {}, "is_async": True, "now": NOW}
    taken = catalog.write(tasks.accept, key_id=key_id, task_key=task_key, **{**plain, **more, **facts})
    assert isinstance(taken, tasks.Accepted)
    return taken.task


def finish(catalog: Catalog, task: tasks.TaskRow, **facts: Any) -> bool:
    plain: dict[str, Any] = {"worker": "w", "attempts": 1, "state": "success", "result": {"text": "A dog."}}
    more: dict[str, Any] = {"cost": None, "now": NOW, "expires_at": LATER}
    return catalog.write(tasks.finish, task.id, **{**plain, **more, **facts})


def test_only_the_same_key_finds_what_was_sent(catalog: Catalog, two_keys: tuple[int, int]) -> None:
    one, two = two_keys
    of_one, of_nobody = send(catalog, "u1", one), send(catalog, "u2", None)
    assert catalog.write(uploads.find, "u1", one, NOW) == of_one
    assert catalog.write(uploads.find, "u2", None, NOW) == of_nobody
    for uuid, key_id in (("u1", two), ("u1", None), ("u2", one), ("none", one)):
        assert catalog.write(uploads.find, uuid, key_id, NOW) is None, (uuid, key_id)
    with pytest.raises(sa.exc.IntegrityError):
        send(catalog, "u1", two)


def test_bytes_are_summed_by_key(catalog: Catalog, two_keys: tuple[int, int]) -> None:
    one, two = two_keys
    send(catalog, "u1", one, size_bytes=5_000_000_000)
    send(catalog, "u2", one)
    send(catalog, "u3", None, size_bytes=3)
    assert [catalog.write(uploads.total_bytes, key) for key in (one, two, None)] == [5_000_000_010, 0, 3]


def test_what_was_sent_is_listed_newest_first_in_pages(catalog: Catalog, two_keys: tuple[int, int]) -> None:
    one, two = two_keys
    for number in range(5):
        send(catalog, f"u{number}", one if number != 2 else two)
    page = catalog.write(uploads.sent, one, limit=3)
    assert [row.uuid for row in page] == ["u4", "u3", "u1"]
    rest = catalog.write(uploads.sent, one, limit=3, before_id=page[-1].id)
    assert [row.uuid for row in rest] == ["u0"]


def test_an_upload_expires_unless_it_is_kept(catalog: Catalog, two_keys: tuple[int, int]) -> None:
    one, two = two_keys
    catalog.ingest(file("a.png", "picture"))
    first, second = send(catalog, "u1", one), send(catalog, "u2", one)
    assert catalog.write(uploads.expired, NOW) == []
    assert catalog.write(uploads.keep, "u2", 1)
    assert not catalog.write(uploads.keep, "none", 1)
    assert catalog.write(uploads.expired, LATER) == [first]
    assert catalog.write(uploads.find, "u1", one, LATER) is None
    kept = catalog.write(uploads.find, "u2", one, LATER)
    assert kept is not None
    assert (kept.id, kept.asset_id, kept.expires_at) == (second.id, 1, None)
    assert [catalog.write(uploads.has_sent, key, 1) for key in (one, two, None)] == [True, False, False]
    assert catalog.write(uploads.remove, [first.id, 99]) == 1
    assert catalog.column("SELECT uuid FROM uploads") == ["u2"]


def test_numbers_of_uploads_are_not_given_twice(catalog: Catalog) -> None:
    gone = send(catalog, "u1")
    catalog.write(uploads.remove, [gone.id])
    assert send(catalog, "u2").id > gone.id


def test_an_upload_stays_while_a_task_needs_it(catalog: Catalog, two_keys: tuple[int, int]) -> None:
    one, two = two_keys
    sent, foreign = send(catalog, "u1", one), send(catalog, "u2", two)
    task = accept(catalog, "t", one, upload_uuids=["u1", "u2"], worker="w", lease_seconds=9)
    assert catalog.write(uploads.expired, LATER) == [foreign], "nobody holds what another one sent"
    assert catalog.write(uploads.find, "u1", one, LATER) == sent, "the task comes late, and finds it"
    assert finish(catalog, task)
    assert {row.uuid for row in catalog.write(uploads.expired, LATER)} == {"u1", "u2"}
    assert catalog.write(uploads.remove, [sent.id]) == 1
    assert catalog.column("SELECT count(*) FROM task_uploads") == [0]


def test_forgotten_with_its_asset(catalog: Catalog, two_keys: tuple[int, int]) -> None:
    one, two = two_keys
    catalog.sync(step("a"))
    catalog.ingest(file("a.png", "picture", sha256="same"), file("b.png", "other", sha256="another"))
    send(catalog, "kept", one, asset_id=1, expires_at=None)
    send(catalog, "copy", two, sha256="same")
    send(catalog, "other", one, sha256="another")
    for number, uuid in enumerate(("kept", "copy", "other")):
        key_id = two if uuid == "copy" else one
        url = "https://example.org/hook?token=s"
        task = accept(
            catalog, uuid, key_id, upload_uuids=[uuid], worker="w", lease_seconds=9, webhook_url=url
        )
        if number != 1:
            assert finish(catalog, task, webhook='{"text": "A dog."}')
    catalog.write(deliveries.add, url="https://example.org/", body="of a folder", now=NOW, asset_id=1)
    catalog.write(deliveries.add, url="https://example.org/", body="of the other", now=NOW, asset_id=2)

    forgotten = forget.forget(catalog.engine, [1])
    assert sorted(forgotten.uploads) == ["copy.png", "kept.png"]
    tables = ("uploads", "api_tasks", "task_uploads", "deliveries")
    assert {table: forgotten.rows[table] for table in tables} == {
        "uploads": 2,
        "api_tasks": 2,
        "task_uploads": 2,
        "deliveries": 2,
    }
    assert catalog.column("SELECT uuid FROM uploads") == ["other"]
    assert catalog.column("SELECT task_key FROM api_tasks") == ["other"]
    assert catalog.column("SELECT body FROM deliveries ORDER BY id") == ['{"text": "A dog."}', "of the other"]
    assert forget.forget(catalog.engine, [2]).rows["uploads"] == 1
    assert [catalog.column(f"SELECT count(*) FROM {table}") for table in tables] == [[0]] * 4


def test_what_ends_after_it_was_forgotten_is_written_nowhere(catalog: Catalog) -> None:
    catalog.ingest(file("a.png", "picture"))
    send(catalog, "u1", None, asset_id=1)
    task = accept(catalog, "t", upload_uuids=["u1"], worker="w", lease_seconds=9, webhook_url="https://h/")
    forget.forget(catalog.engine, [1])
    again = accept(catalog, "t", worker="w", lease_seconds=9)
    assert not finish(catalog, task, webhook="late")
    assert again.id > task.id
    assert catalog.column("SELECT state FROM api_tasks") == ["running"]
    assert catalog.column("SELECT count(*) FROM deliveries") == [0]


def test_the_command_deletes_what_was_sent_and_leaves_the_original(place: Workplace) -> None:
    original, other = place.draw_many(2)
    place.run()
    (asset_id,) = place.column(f"SELECT asset_id FROM files WHERE path = '{original}'")
    (sha256,) = place.column(f"SELECT sha256 FROM files WHERE path = '{other}'")
    place.config["api"] = {"uploads_dir": "sent"}
    (place.folder / "sent").mkdir()
    about = {"file_name": "x", "media_type": "image/png", "size_bytes": 1, "sha1": "", "created_at": NOW}
    for name, facts in (("mine", {"asset_id": asset_id, "sha256": "y"}), ("other", {"sha256": sha256})):
        (place.folder / "sent" / name).write_bytes(original.read_bytes())
        with writing(place.engine).begin() as connection:
            uploads.add(connection, uuid=name, key_id=None, path=name, **{**about, **facts})
    done = place.enrich("forget", original, "--json")
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert (shown["uploads"], shown["rows"]["uploads"]) == (["mine"], 1)
    assert [path.name for path in (place.folder / "sent").iterdir()] == ["other"]
    assert original.exists()
    assert place.column("SELECT uuid FROM uploads") == ["other"]
    (place.folder / "sent" / "other").unlink()
    done = place.enrich("forget", other)
    assert done.returncode == 0, "it was gone already"
    hint = f"not found in {place.folder / 'sent'} (api.uploads_dir; is it the server's?): other"
    assert hint in done.stdout
