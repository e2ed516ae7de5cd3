"""Listed models that come by https: their files are what the list says, and they run."""

import dataclasses
import hashlib
from collections.abc import Iterator
from pathlib import Path

import hub_server
import pytest
import tiny_graphs
from hub_server import Hub, Repository

from enrich.errors import FetchFailed, UsageError
from enrich.hub import download
from enrich.hub.entry import Listed, WebFile
from enrich.hub.listed import LISTED
from enrich.hub.parcel import Progress
from enrich.hub.pull import pull
from enrich.hub.target import Target, parse_target
from enrich.inference import ModelStore

#: Where their files lie among the evaluation data.
FOLDERS = {"ultraface-rfb-320": "ultraface", "squeezenet": "squeezenet_fp16", "fastestdet": "fastestdet"}


@pytest.fixture
def hub() -> Iterator[Hub]:
    with hub_server.serving() as hub:
        yield hub


def served(hub: Hub, listed: Listed, contents: dict[str, bytes]) -> Target:
    """A listed model whose files come from the server of a test."""
    hub.repositories[listed.repository] = Repository(contents)
    files = tuple(
        dataclasses.replace(file, url=f"{hub.url}/stored/{listed.repository}/{file.path}")
        for file in listed.files
    )
    return dataclasses.replace(parse_target(listed.name), listed=dataclasses.replace(listed, files=files))


@pytest.mark.parametrize("name", FOLDERS)
def test_what_is_listed_comes_and_runs(tmp_path: Path, eval_data: Path, hub: Hub, name: str) -> None:
    listed, folder = LISTED[name], eval_data / "models" / FOLDERS[name]
    contents = {file.path: (folder / file.path).read_bytes() for file in listed.files}
    told: list[Progress] = []

    pulled = pull(served(hub, listed, contents), tmp_path, on_progress=told.append)
    assert pulled.is_new
    assert pulled.bytes == listed.bytes == told[-1].done_bytes == told[-1].total_bytes
    model = ModelStore(tmp_path).get(name)
    assert model.hooks == listed.hooks
    assert model.manifest.licence == listed.licence
    assert model.manifest.source == f"https://github.com/{listed.repository}"
    assert ModelStore(tmp_path).verify(name) == ()


@pytest.fixture
def colours(tmp_path: Path, hub: Hub) -> tuple[Listed, bytes]:
    graph = tiny_graphs.save_colour_means(tmp_path / "made.onnx").read_bytes()
    listed = dataclasses.replace(
        LISTED["squeezenet"],
        files=(WebFile("colours.onnx", "", hashlib.sha256(graph).hexdigest(), len(graph)),),
        manifest={
            "graph": "colours.onnx",
            "labels": ["red", "green", "blue"],
            "input": {"resize": {"height": 8, "width": 8}},
        },
    )
    return listed, graph


def test_a_second_pull_asks_nobody(tmp_path: Path, hub: Hub, colours: tuple[Listed, bytes]) -> None:
    target = served(hub, colours[0], {"colours.onnx": colours[1]})
    assert pull(target, tmp_path / "models").is_new
    hub.asked.clear()

    assert not pull(target, tmp_path / "models").is_new
    assert not pull(target, tmp_path / "models", variant="fp16").is_new
    assert hub.asked == []
    with pytest.raises(UsageError, match="squeezenet comes as fp16 only"):
        pull(target, tmp_path / "models", variant="fp32")


def test_another_file_at_the_address_is_refused(
    tmp_path: Path, hub: Hub, colours: tuple[Listed, bytes]
) -> None:
    changed = colours[1][:-1] + b"x"
    target = served(hub, colours[0], {"colours.onnx": changed})

    with pytest.raises(FetchFailed, match=r"colours\.onnx: its sha256 is .* was promised: damaged"):
        pull(target, tmp_path / "models")
    assert not (tmp_path / "models/squeezenet").exists()
    assert [
        path for path in (tmp_path / "models").rglob("*") if path.is_file() and ".lock" not in path.name
    ] == []


@pytest.mark.parametrize(("status", "retryable"), [(404, False), (503, True)])
def test_an_address_that_refuses_is_said(
    tmp_path: Path,
    hub: Hub,
    colours: tuple[Listed, bytes],
    status: int,
    retryable: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(download, "WAITS_SECONDS", ())
    target = served(hub, colours[0], {"colours.onnx": colours[1]})
    hub.status = status

    with pytest.raises(FetchFailed, match=f"answered with status {status}") as caught:
        pull(target, tmp_path / "models")
    assert caught.value.retryable is retryable
