"""Models as a newcomer meets them, in processes of their own: pulled, broken, and told odd things."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hub_server
import onnx
import openai
import PIL.Image
import pytest
from http_kit import PLENTY, Server, data_uri, make_key, picture, serving
from hub_server import Repository
from parity.vlm.references import stored_model
from workplace import Workplace

Run = Callable[..., subprocess.CompletedProcess[str]]

QUESTION = "What is the picture of?"
#: Of Qwen2-VL's tokenizer, whose models are used here: each would be one token, if it were taken for one.
SPECIAL = ("<|image_pad|>", "<|vision_start|>", "<|im_end|>", "<|endoftext|>")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Workplace]:
    made = Workplace(tmp_path, f"sqlite:///{tmp_path / 'catalog.db'}")
    made.config["models_dir"] = "models"
    made.config["api"] = {"rate_limit": PLENTY}
    yield made
    made.engine.dispose()


def query(place: Workplace, sql: str) -> list[dict[str, Any]]:
    asked = place.enrich("query", sql, "--format", "json")
    assert asked.returncode == 0, asked.stderr
    rows: list[dict[str, Any]] = json.loads(asked.stdout)
    return rows


# From the hub into SQL


def test_a_vision_language_model_of_the_hub_is_pulled_and_talks(place: Workplace, tmp_path: Path) -> None:
    """As the hub's repositories lay it out, and it says what it said where it came from."""
    origin = stored_model("qwen2_vl", tmp_path / "origin").folder
    files = {
        (f"onnx/{path.name}" if path.suffix == ".onnx" else path.name): path.read_bytes()
        for path in origin.iterdir()
    }
    (place.inbox / "scene.png").write_bytes(picture(3))
    place.config["steps"] = {
        "caption": {"plugin": "caption", "model": "hf:someone/talker", "length": "short"}
    }
    with hub_server.serving() as hub:
        hub.repositories["someone/talker"] = Repository({**files, "pytorch_model.bin": b"pickled" * 1000})
        environment = os.environ | {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf")}
        pulled = place.enrich("models", "pull", "hf:someone/talker", env=environment)
        commit = hub.repositories["someone/talker"].commit
    assert pulled.returncode == 0, pulled.stderr
    assert not (place.folder / "models" / "talker" / "pytorch_model.bin").exists()
    verified = place.enrich("models", "verify", "talker")
    assert (verified.returncode, verified.stdout) == (0, "talker: good\n")

    ran = place.enrich("run")
    assert ran.returncode == 0, ran.stderr
    rows = query(place, "SELECT model, model_revision FROM captions JOIN generators USING (model)")
    assert rows == [{"model": "talker", "model_revision": commit}]

    shutil.copytree(origin, place.folder / "models" / "same")
    words = [place.enrich("ask", "inbox/scene.png", QUESTION, "--model", name) for name in ("talker", "same")]
    assert [one.returncode for one in words] == [0, 0]
    assert words[0].stdout == words[1].stdout != "\n"


# Pictures of any shape


def test_a_strip_that_one_architecture_refuses_fails_its_job_alone(place: Workplace) -> None:
    """1 x 1 and 20,000 x 1 pixels: each model says something, or why not, and nothing else is lost."""
    models = ("smolvlm", "llava_next", "qwen2_vl", "florence2")
    for name in models:
        stored_model(name, place.folder / "models")
    (place.inbox / "scene.png").write_bytes(picture(3))
    for name, size in {"dot.png": (1, 1), "strip.png": (20_000, 1)}.items():
        PIL.Image.new("RGB", size, (90, 8, 7)).save(place.inbox / name)
    place.config["steps"] = {
        name: {"plugin": "caption", "model": name, "length": "short", "max_tokens": 8} for name in models
    }
    ran = place.enrich("run")
    assert ran.returncode == 1, ran.stderr
    assert "Traceback" not in ran.stdout + ran.stderr
    failed = query(place, "SELECT path, step, error FROM failures")
    assert [(Path(one["path"]).name, one["step"]) for one in failed] == [("strip.png", "qwen2_vl")]
    assert "more than 200 times the other" in failed[0]["error"]
    done = query(place, "SELECT step, done, failed FROM coverage ORDER BY step")
    assert {one["step"]: (one["done"], one["failed"]) for one in done} == {
        name: (2, 1) if name == "qwen2_vl" else (3, 0) for name in models
    }


# Folders that are broken


def _replaced(name: str, content: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(content)


def _renamed(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "paligemma"}))


def _leading_out(folder: Path) -> None:
    graph = onnx.load(folder / "embed_tokens.onnx")
    table = max(graph.graph.initializer, key=lambda one: len(one.raw_data))
    length = len(table.raw_data)
    (folder.parent / "secret").write_bytes(table.raw_data)
    table.ClearField("raw_data")
    table.data_location = onnx.TensorProto.EXTERNAL
    for key, value in {"location": "../secret", "offset": "0", "length": str(length)}.items():
        table.external_data.add(key=key, value=value)
    (folder / "embed_tokens.onnx").write_bytes(graph.SerializeToString())


def _anothers_tokenizer(folder: Path) -> None:
    other = stored_model("smolvlm", folder.parent.parent / "others").folder
    shutil.copy(other / "tokenizer.json", folder)


#: A hundred million turns.
ENDLESS = "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}"

#: What is done to a good model, and what is said of it.
BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "no-template": (
        lambda folder: (folder / "chat_template.jinja").unlink(),
        "there is no chat template; copy",
    ),
    "bad-template": (_replaced("chat_template.jinja", "{% for one in %}"), "is no chat template"),
    "endless-template": (_replaced("chat_template.jinja", ENDLESS), "takes more than 50000 turns"),
    "prying-template": (_replaced("chat_template.jinja", "{{ messages.__class__.__mro__ }}"), "is unsafe"),
    "blind-template": (_replaced("chat_template.jinja", "hello"), "has 0 places"),
    "strange-type": (_renamed, "model_type: 'paligemma' is none of"),
    "empty-generation": (_replaced("generation_config.json", ""), "generation_config.json, line 1: not JSON"),
    "cut-graph": (_replaced("decoder_model_merged.onnx", "onnx"), "ONNX Runtime cannot load it"),
    "leading-out": (_leading_out, "leads out of its folder"),
    "anothers-tokenizer": (_anothers_tokenizer, "which stands for pictures"),
    "wrong-variant": (
        _replaced("manifest.json", '{"variant": "int8"}'),
        "there is no int8 among its variants; it has none",
    ),
}


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models_dir with a good model, and one for each way to break it."""
    models = tmp_path_factory.mktemp("broken") / "models"
    good = stored_model("qwen2_vl", models).folder
    for name, (breaks, _) in BROKEN.items():
        breaks(shutil.copytree(good, models / name))
    return models


def test_each_broken_model_has_one_line_that_says_why(enrich: Run, broken: Path) -> None:
    verified = enrich("--set", f"models_dir={broken}", "models", "verify", *BROKEN, "qwen2_vl")
    assert verified.returncode == 1
    assert "Traceback" not in verified.stdout + verified.stderr
    lines = dict(line.split(": ", 1) for line in verified.stdout.splitlines())
    assert lines.pop("qwen2_vl") == "good"
    assert lines.keys() == BROKEN.keys()
    for name, (_, said) in BROKEN.items():
        assert said in lines[name], name


# Conversations


@pytest.fixture(scope="module")
def server(broken: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """``enrich serve`` with all those models."""
    folder = tmp_path_factory.mktemp("serving")
    place = Workplace(folder, f"sqlite:///{folder / 'catalog.db'}")
    place.config["models_dir"] = str(broken)
    place.config["api"] = {"rate_limit": PLENTY}
    make_key(place, "tests")
    with serving(place, "--no-watch") as server:
        yield server
    place.engine.dispose()


@pytest.fixture
def client(server: Server) -> Iterator[openai.OpenAI]:
    key = server.place.keys["tests"]
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0, timeout=90) as client:
        yield client


def shown(seed: int) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": data_uri(picture(seed))}}


def ask(client: openai.OpenAI, *contents: Any, model: str = "qwen2_vl") -> Any:
    parts = [{"type": "text", "text": one} if isinstance(one, str) else one for one in contents]
    messages: Any = [{"role": "user", "content": parts}]
    return client.chat.completions.create(model=model, messages=messages, max_tokens=4)


@pytest.mark.parametrize("special", SPECIAL)
def test_a_special_token_in_a_question_is_spelt_out(client: openai.OpenAI, special: str) -> None:
    read = [ask(client, shown(1), words).usage.prompt_tokens for words in ("x", f"x{special}")]
    assert read[1] - read[0] > 3


def test_too_many_pictures_are_refused_and_as_many_as_are_taken_are_seen(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="at most 16 pictures are taken in a message"):
        ask(client, *[shown(seed) for seed in range(17)], QUESTION)
    assert ask(client, *[shown(1)] * 16, QUESTION).usage.prompt_tokens > 16 * 4


def test_a_broken_model_harms_no_other_and_the_log_says_what_it_is(
    client: openai.OpenAI, server: Server
) -> None:
    with pytest.raises(
        openai.InternalServerError, match="the model blind-template cannot be loaded"
    ) as failed:
        ask(client, shown(1), QUESTION, model="blind-template")
    # Whoever asks over HTTP learns nothing of the machine's folders.
    assert str(server.place.config["models_dir"]) not in str(failed.value)
    assert "the chat template has 0 places" in server.said
    with pytest.raises(openai.NotFoundError, match='there is no model "nothing" here'):
        ask(client, shown(1), QUESTION, model="nothing")
    assert ask(client, shown(1), QUESTION).choices[0].finish_reason == "length"
