"""What an exporter reads is fetched apart from what is published as ONNX."""

from collections.abc import Iterator
from pathlib import Path

import hub_server
import pytest
from hub_server import Hub, Repository

from enrich.errors import ModelMissing
from enrich.hub.pull import fetch_weights
from enrich.hub.target import parse_target

FILES = {
    "config.json": b"{}",
    "tokenizer.json": b"{}",
    "model-00001-of-00002.safetensors": b"1" * 9000,
    "model-00002-of-00002.safetensors": b"2" * 9000,
    "model.safetensors.index.json": b'{"weight_map": {}}',
    "pytorch_model.bin": b"pickled" * 1000,
    "modeling.py": b"import os",
}
NAME = "openai/clip-vit-base-patch32"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with hub_server.serving() as hub:
        hub.point(monkeypatch)
        hub.repositories[NAME] = Repository(FILES)
        yield hub


def test_the_weights_themselves_come_though_others_publish_onnx_files(tmp_path: Path, hub: Hub) -> None:
    repository = fetch_weights(parse_target("clip-vit-base-patch32"), tmp_path)

    assert {path.name for path in tmp_path.iterdir()} == FILES.keys() - {"pytorch_model.bin", "modeling.py"}
    assert repository.commit == hub.repositories[NAME].commit
    hub.asked.clear()
    fetch_weights(parse_target(f"hf:{NAME}"), tmp_path)
    assert len(hub.asked) == 1, "all of it was here"


def test_pickled_weights_are_never_taken(tmp_path: Path, hub: Hub) -> None:
    hub.repositories[NAME] = Repository({"config.json": b"{}", "pytorch_model.bin": b"pickled" * 1000})

    with pytest.raises(ModelMissing, match="pickled weights can hold programs"):
        fetch_weights(parse_target(f"hf:{NAME}"), tmp_path)
    assert list(tmp_path.iterdir()) == []
