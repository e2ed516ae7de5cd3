"""Models that go by other services' names, or by the hub's, are the same models over HTTP."""

import base64
import datetime as dt
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from served import ALICE, Speaker, place, png

from enrich.api.errors import UnknownModel
from enrich.api.performer import Performer
from enrich.api.requests import Ask, Chat, Picture, Turn
from enrich.catalog.tasks import TaskRow

UUID = "0f0e0d0c-0b0a-4908-8706-050403020100"


@pytest.fixture
def here(tmp_path: Path) -> Any:
    with place(tmp_path, default_model="runware:152@2", cost={"qwen2.5-vl-3b": 0.25}) as made:
        yield made


def picture(here: Any) -> Picture:
    received = here.pictures.receive(ALICE).__enter__()
    made: Picture = received.chunks([png()], "")
    return made


@pytest.mark.parametrize("said", ["qwen2.5-vl-3b", "runware:152@1", "hf:Qwen/Qwen2.5-VL-3B-Instruct"])
def test_a_model_answers_by_every_name_it_has(here: Any, said: str) -> None:
    model = Speaker("qwen2.5-vl-3b", lambda prompt: "red")
    service = here.service(model)

    reply = service.answer(Ask("answer", (picture(here),), model=said, prompt="Which colour?"))
    assert (reply.text, reply.model, reply.cost) == ("red", "qwen2.5-vl-3b", 0.25)
    turn = Turn("user", "Which colour?", (picture(here),))
    reply = service.chat(Chat((turn,), model=said))
    assert (reply.text, reply.model, reply.cost) == ("red", "qwen2.5-vl-3b", 0.25)


def test_the_default_model_may_be_named_so_too(here: Any) -> None:
    models = Speaker("aardvark", lambda prompt: "no"), Speaker("qwen2.5-vl-7b", lambda prompt: "yes")

    assert here.service(*models).answer(Ask("answer", (picture(here),), prompt="Is it?")).text == "yes"


def test_a_known_model_that_is_not_here_is_unknown(here: Any) -> None:
    service = here.service(Speaker("qwen2.5-vl-7b"))

    with pytest.raises(UnknownModel, match=r'there is no model "qwen2\.5-vl-3b" here'):
        service.answer(Ask("answer", (picture(here),), model="runware:152@1", prompt="Which?"))


class Classifier(Speaker):
    """A model that has labels and no words."""

    hooks = ("enrich_age",)
    languages = ()
    labels = ("21-44", "0-12")


class Encoder(Speaker):
    """A model that takes any labels."""

    hooks = ("enrich_tag",)
    languages = ()


@pytest.mark.parametrize(
    ("said", "prompt", "expected"),
    [
        ("runware:152@1", None, {"text": "21-44"}),
        ("runware:152@2", "How old?", {"text": "21-44"}),
        ("runware:152@50", None, {"structuredData": {"ageGroup": "21-44", "confidence": 50.0}}),
        ("runware:154@1", None, {"structuredData": {"ageGroup": "21-44", "confidence": 50.0}}),
        (
            "hf:prithivMLmods/open-age-detection",
            None,
            {"structuredData": {"ageGroup": "21-44", "confidence": 50.0}},
        ),
        ("runware:151@1", "a dog, a cat", {"text": "a dog"}),
    ],
)
def test_a_task_is_done_by_the_model_that_its_name_means(
    here: Any, said: str, prompt: str | None, expected: dict[str, Any]
) -> None:
    service = here.service(
        Speaker("qwen2.5-vl-3b", lambda prompt: "21-44"),
        Speaker("qwen2.5-vl-7b", lambda prompt: "21-44"),
        Classifier("open-age-detection"),
        Encoder("clip-vit-large-patch14"),
    )
    metering = SimpleNamespace(answer=service.answer)
    performer = Performer(here.pictures, service, metering, here.settings.api)  # type: ignore[arg-type]  # a stand-in
    uploaded = "data:image/png;base64," + base64.b64encode(png()).decode()
    body = {"model": said, "prompt": prompt, "image": uploaded, "includeCost": False}
    task = TaskRow(
        id=1,
        key_id=ALICE.key_id,
        task_uuid=UUID,
        task_key="",
        task_type="imageCaption",
        body_digest="",
        body=body,
        state="running",
        result=None,
        cost=None,
        is_async=False,
        webhook_url=None,
        created_at=dt.datetime.now(dt.UTC),
        finished_at=None,
        expires_at=None,
        attempts=1,
        lease_expires_at=None,
        worker=None,
    )

    done = performer.perform(task, threading.Event())
    assert not done.is_error, done
    assert {**done.item, **expected} == done.item
