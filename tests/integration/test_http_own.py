"""Our own paths: pictures sent, the catalog read, and the OpenAPI document held against the server."""

import io
from collections.abc import Iterator
from typing import Any

import hypothesis
import PIL.Image
import pytest
import schemathesis
from http_kit import PLENTY, Server, data_uri, make_key, picture, serving
from workplace import Workplace


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("own")
    place = Workplace(folder, f"sqlite:///{folder / 'catalog.db'}")
    place.draw("inbox.png", (200, 10, 10))
    place.config["api"] = {"rate_limit": PLENTY}
    make_key(place, "all", "--scope", "infer", "--scope", "read")
    make_key(place, "one", "--scope", "infer")
    make_key(place, "two", "--scope", "infer")
    place.run()
    with serving(place) as server:
        yield server
    place.engine.dispose()


@pytest.fixture(scope="module")
def keys(server: Server) -> dict[str, str]:
    return server.place.keys


def send(server: Server, key: str, seed: int) -> dict[str, object]:
    answer = server.post("/assets", key, files={"image": ("mine.png", picture(seed))})
    assert answer.status_code == 201, answer.text
    sent: dict[str, object] = answer.json()
    return sent


def test_a_picture_that_was_sent_is_an_asset(server: Server, keys: dict[str, str]) -> None:
    sent = send(server, keys["all"], 11)
    assert (sent["file_name"], sent["media_type"], sent["width_px"]) == ("mine.png", "image/png", 320)
    found = server.get(f"/assets/{sent['id']}", keys["all"]).json()
    assert found["image_hash"]
    assert sent["id"] in [asset["id"] for asset in server.get("/assets", keys["all"]).json()["assets"]]
    assert (
        server.post("/assets", keys["all"], json={"image": data_uri(picture(11))}).json()["id"] == sent["id"]
    )


def test_an_asset_can_be_asked_about_by_its_uuid(server: Server, keys: dict[str, str]) -> None:
    sent = send(server, keys["one"], 12)
    body = {"image": sent["uuid"], "prompt": "How many shapes are there?"}
    assert server.post("/api/v1/generate_content", keys["one"], json=body).json()["code"] == 0
    assert server.post("/api/v1/generate_content", keys["two"], json=body).json()["code"] == 1005


def test_an_asset_is_the_same_by_its_id_and_by_its_uuid(server: Server, keys: dict[str, str]) -> None:
    sent = send(server, keys["one"], 15)
    for path in ("", "/thumbnail"):
        by_id, by_uuid = (
            server.get(f"/assets/{name}{path}", keys["one"]) for name in (sent["id"], sent["uuid"])
        )
        assert (by_id.status_code, by_id.content) == (200, by_uuid.content)
        assert server.get(f"/assets/{sent['uuid']}{path}", keys["two"]).status_code == 404


@pytest.mark.parametrize(
    ("path", "methods"), [("/healthz", "GET, HEAD"), ("/assets", "GET, HEAD, POST"), ("/v1/tasks", "POST")]
)
def test_what_may_be_got_may_be_headed_and_other_methods_are_named(
    server: Server, keys: dict[str, str], path: str, methods: str
) -> None:
    head, got = server.ask("HEAD", path, keys["one"]), server.get(path, keys["one"])
    assert (head.status_code, head.content) == (got.status_code, b"")
    assert head.headers["Content-Length"] == got.headers["Content-Length"]
    refused = server.ask("OPTIONS", path, keys["one"])
    assert (refused.status_code, refused.headers["Allow"]) == (405, methods)
    assert f"HEAD {path} {got.status_code}" in server.said


def test_one_key_never_reads_what_another_sent(server: Server, keys: dict[str, str]) -> None:
    sent = send(server, keys["one"], 13)
    for path in (f"/assets/{sent['id']}", f"/assets/{sent['uuid']}", f"/assets/{sent['id']}/thumbnail"):
        assert server.get(path, keys["one"]).status_code == 200, path
        assert server.get(path, keys["two"]).status_code == 404, path
        assert server.get(path).status_code == 401, path
    listed = server.get("/assets", keys["one"]).json()["assets"]
    assert sent["uuid"] in [one["uuid"] for one in listed]
    assert server.get("/assets", keys["two"]).json()["assets"] == []


def test_what_the_folders_hold_is_read_with_that_scope_only(server: Server, keys: dict[str, str]) -> None:
    (asset_id,) = server.place.column("SELECT asset_id FROM files WHERE path LIKE '%inbox.png'")
    found = server.get(f"/assets/{asset_id}", keys["all"]).json()
    assert found["paths"][0].endswith("inbox.png")
    assert found["annotations"][0]["step"] == "light"
    assert server.get(f"/assets/{asset_id}", keys["one"]).status_code == 404


def test_pages_follow_each_other(server: Server, keys: dict[str, str]) -> None:
    for seed in range(20, 25):
        send(server, keys["all"], seed)
    seen: list[int] = []
    before = None
    while True:
        answer = server.get(
            "/assets", keys["all"], params={"limit": 2, **({"before": before} if before else {})}
        )
        page = answer.json()
        seen += [asset["id"] for asset in page["assets"]]
        before = page["before"]
        if before is None:
            break
    assert seen == sorted(seen, reverse=True)
    assert len(seen) == len(set(seen)) == server.place.column("SELECT count(*) FROM assets")[0]


def test_a_thumbnail_is_a_small_jpeg(server: Server, keys: dict[str, str]) -> None:
    sent = send(server, keys["one"], 14)
    answer = server.get(f"/assets/{sent['id']}/thumbnail", keys["one"], params={"size": 64})
    assert answer.headers["Content-Type"] == "image/jpeg"
    with PIL.Image.open(io.BytesIO(answer.content)) as shown:
        assert (shown.format, max(shown.size)) == ("JPEG", 64)


def test_what_is_said_is_found(server: Server, keys: dict[str, str]) -> None:
    found = server.get("/search", keys["all"], params={"q": "zzzz-nothing"}).json()
    assert found == {"found": [], "before": None}
    for text in ("%", "_", "'; DROP TABLE assets; --", "\\"):
        assert server.get("/search", keys["all"], params={"q": text}).status_code == 200
    assert server.get("/search", keys["all"], params={"q": ""}).status_code == 400


@pytest.mark.parametrize(
    "name",
    ["0", "-1", "99999999999999999999999", "abc", "1.5", "%00", "0b153972-43da-4d3a-ade5-2803409ae6ab"],
)
def test_a_name_of_nothing_is_not_found(server: Server, keys: dict[str, str], name: str) -> None:
    for key in (keys["all"], keys["one"]):
        assert server.get(f"/assets/{name}", key).status_code == 404
        assert server.get(f"/assets/{name}/thumbnail", key).status_code == 404


def test_the_document_has_examples(server: Server) -> None:
    document = server.get("/openapi.json").json()
    for path, method in (
        ("/v1/chat/completions", "post"),
        ("/v1/tasks", "post"),
        ("/api/v1/generate_content", "post"),
        ("/api/v6/image_editing/caption", "post"),
        ("/v2/image-to-text", "post"),
    ):
        operation = document["paths"][path][method]
        assert operation["requestBody"]["content"]["application/json"]["example"]
        assert operation["responses"]["200"]["content"]["application/json"]["example"]


@pytest.mark.timeout(400)
def test_no_request_makes_it_fail_or_answer_what_it_does_not_declare(
    server: Server, keys: dict[str, str]
) -> None:
    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    tried: dict[str, int] = {}
    for result in schema.get_all_operations():
        operation = result.ok()
        for mode in schemathesis.GenerationMode:
            try:
                _try_all(operation, mode, keys["all"], tried)
            except hypothesis.errors.Unsatisfiable:  # nothing is wrong for a path that takes nothing
                continue
    assert len(tried) > 10
    assert sum(tried.values()) > 150


def _try_all(operation: Any, mode: schemathesis.GenerationMode, key: str, tried: dict[str, int]) -> None:
    @hypothesis.settings(
        max_examples=12, deadline=None, database=None, suppress_health_check=list(hypothesis.HealthCheck)
    )
    @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
    def attempt(case: schemathesis.Case) -> None:
        tried[operation.label] = tried.get(operation.label, 0) + 1
        answer = case.call(headers={"Authorization": f"Bearer {key}"})
        said = (answer.status_code, answer.text[:500], case.as_curl_command())
        assert answer.status_code < 500, said
        # A path or a method that generation bent is answered by nobody in particular.
        if answer.status_code not in (404, 405):
            assert str(answer.status_code) in operation.definition.raw["responses"], said

    attempt()
