"""One key never reads, uses or changes what another sent, nor what the folders hold."""

import io
import uuid
from collections.abc import Iterator
from typing import Any

import PIL.Image
import pytest
from http_kit import PLENTY, Server, data_uri, make_key, picture, serving
from workplace import Workplace

DESCRIBE = "/api/v1/generate_content"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("apart")
    place = Workplace(folder, f"sqlite:///{folder / 'catalog.db'}")
    (place.inbox / "ours.jpg").write_bytes(photograph(31, "Folder"))
    place.config["api"] = {"rate_limit": PLENTY, "keep": True}
    make_key(place, "one")
    make_key(place, "two")
    place.run()
    with serving(place, "--log-format", "json") as server:
        yield server
    place.engine.dispose()


@pytest.fixture(scope="module")
def one(server: Server) -> str:
    return server.place.keys["one"]


@pytest.fixture(scope="module")
def two(server: Server) -> str:
    return server.place.keys["two"]


def photograph(seed: int, camera: str | None) -> bytes:
    """The same pixels for the same seed, whatever is embedded."""
    written = io.BytesIO()
    exif = PIL.Image.Exif()
    if camera is not None:
        exif[271], exif[272] = camera, f"{camera} 77"
        exif.get_ifd(0x8769)[36867] = "2020:01:02 03:04:05"
    with PIL.Image.open(io.BytesIO(picture(seed, "JPEG"))) as drawn:
        drawn.save(written, "JPEG", quality="keep", exif=exif)
    return written.getvalue()


def send(server: Server, key: str, content: bytes) -> dict[str, Any]:
    answer = server.post("/assets", key, files={"image": ("mine.jpg", content)})
    assert answer.status_code == 201, answer.text
    sent: dict[str, Any] = answer.json()
    return sent


def task(**fields: Any) -> dict[str, Any]:
    return {"taskType": "imageCaption", "taskUUID": str(uuid.uuid4()), **fields}


@pytest.mark.parametrize("first", ["Alices", None])
def test_the_same_pixels_tell_nothing_of_anothers_file(
    server: Server, one: str, two: str, first: str | None
) -> None:
    seed = 32 if first else 33
    mine, other = (first, None) if first else (None, "Forged")
    sent = send(server, one, photograph(seed, mine))
    again = send(server, two, photograph(seed, other))
    assert again["id"] == sent["id"], "the test needs the same asset"
    for key, own in ((one, sent), (two, again)):
        said = server.get(f"/assets/{own['id']}", key).json()
        assert (said["uuid"], said["sha256"]) == (own["uuid"], own["sha256"])
        assert not {"camera", "taken_at", "ingested_at", "paths"} & set(said)
    # What the first file says stays: whoever sends the same pixels does not write the catalog.
    rows = server.place.rows(f"SELECT camera FROM assets WHERE id = {sent['id']}")
    assert [bool(row["camera"]) for row in rows] == [first is not None]


def test_what_is_said_of_a_folders_file_is_not_changed_from_outside(server: Server, one: str) -> None:
    before = server.place.rows("SELECT * FROM assets WHERE camera LIKE 'Folder%'")
    assert len(before) == 1
    sent = send(server, one, photograph(31, "Forged"))
    assert sent["id"] == before[0]["id"]
    assert server.place.rows(f"SELECT * FROM assets WHERE id = {sent['id']}") == before
    said = server.get(f"/assets/{sent['id']}", one).json()
    assert "Folder" not in str(said)
    assert said["annotations"] == []


def test_anothers_upload_is_nothing_in_any_dialect(server: Server, one: str, two: str) -> None:
    upload = {"taskType": "imageUpload", "taskUUID": str(uuid.uuid4()), "image": data_uri(picture(34))}
    (sent,) = server.post("/v1/tasks", one, json=[upload]).json()["data"]
    for named in (sent["imageUUID"], send(server, one, picture(35))["uuid"]):
        part = {"type": "image_url", "image_url": {"url": named}}
        messages = [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, part]}]
        bodies: list[tuple[str, dict[str, Any]]] = [
            (DESCRIBE, {"image": named}),
            ("/v1/chat/completions", {"model": "drawings-vlm", "messages": messages}),
            ("/api/v6/image_editing/caption", {"init_image": named, "length": "short"}),
            ("/v2/image-to-text", {"image_url": named, "prompt": "How many shapes are there?"}),
            ("/assets", {"image": named}),
        ]
        for path, body in bodies:
            assert server.post(path, one, json=body).status_code in (200, 201), path
            assert server.post(path, two, json=body).status_code in (400, 404), path
        for one_task in (task(inputImage=named), {**upload, "taskUUID": str(uuid.uuid4()), "image": named}):
            said = server.post("/v1/tasks", two, json=[one_task]).json()
            assert (said["data"], said["errors"][0]["code"]) == ([], "notFound")


def test_a_tasks_name_is_each_keys_own(server: Server, one: str, two: str) -> None:
    mine, theirs = task(inputImage=data_uri(picture(36))), task(inputImage=data_uri(picture(37)))
    theirs["taskUUID"] = mine["taskUUID"]
    (first,) = server.post("/v1/tasks", one, json=[mine]).json()["data"]
    asked = [{"taskType": "getResponse", "taskUUID": mine["taskUUID"]}]
    assert server.post("/v1/tasks", two, json=asked).json()["errors"][0]["code"] == "notFound"
    (second,) = server.post("/v1/tasks", two, json=[theirs]).json()["data"]
    for key, said in ((one, first), (two, second)):
        (found,) = server.post("/v1/tasks", key, json=asked).json()["data"]
        assert found["text"] == said["text"]


def test_what_is_kept_for_one_is_not_answered_to_another(server: Server, one: str, two: str) -> None:
    body = {"image": data_uri(picture(38)), "prompt": "How many shapes are there?"}
    ids = [server.post(DESCRIBE, key, json=body).headers["X-Request-Id"] for key in (one, one, two, two)]
    cached = {line["request_id"]: line["cached"] for line in server.lines if "cached" in line}
    assert [cached[one_id] for one_id in ids] == [False, True, False, True]
    (asset_id,) = {row["asset_id"] for row in server.place.rows(
        "SELECT asset_id FROM annotations WHERE step = 'api' AND superseded_at IS NULL "
        "GROUP BY asset_id HAVING count(*) = 2 ORDER BY asset_id DESC LIMIT 1"
    )}  # fmt: skip
    for key in (one, two):
        assert len(server.get(f"/assets/{asset_id}", key).json()["annotations"]) == 1


def test_an_asset_that_a_key_did_not_send_is_not_there(server: Server, one: str, two: str) -> None:
    sent = send(server, one, picture(39))
    folder_ids = server.place.column("SELECT id FROM assets WHERE camera LIKE 'Folder%'")
    for asset in (sent["id"], sent["uuid"], *folder_ids):
        assert server.get(f"/assets/{asset}", two).status_code == 404
        assert server.get(f"/assets/{asset}/thumbnail", two).status_code == 404
    assert sent["id"] not in [row["id"] for row in server.get("/assets", two).json()["assets"]]
    assert server.get("/search", two, params={"q": "dark"}).status_code == 403
    assert server.get("/metrics", two).status_code == 403
