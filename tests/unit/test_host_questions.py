"""Questions and prompts between config.yaml and the plugins: bound, checked, filled and grouped."""

import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydantic
import pytest

import enrich
from enrich.errors import ConfigError, UsageError
from enrich.host import BoundStep, Host
from enrich.host.discovery import Candidate
from enrich.settings import Step
from enrich.types import Answer, Question, Rendition, Statement


class Options(pydantic.BaseModel):
    questions: enrich.Questions
    lang: str | None = None
    beams: int = 1


class Saying(pydantic.BaseModel):
    prompt: enrich.PromptTemplate | None = None
    length: str = "short"
    lang: str = "en"
    folder: str = ""

    @pydantic.field_validator("folder", mode="before")
    @classmethod
    def _see_folder(cls, given: Any, info: pydantic.ValidationInfo) -> str:
        return str((info.context or {})["folder"])


CALLS: list[tuple[list[int | None], list[str]]] = []


def enrich_answer(renditions: Sequence[Rendition], questions: Sequence[Question], context: Any) -> Any:
    CALLS.append(([one.asset_id for one in renditions], [question.text for question in questions]))
    assert len(context.annotations) == len(renditions)
    if any(one.asset_id == 13 for one in renditions):
        raise ValueError("unlucky")
    return [[Answer(f"{one.asset_id} {question.text}") for question in questions] for one in renditions]


def enrich_caption(renditions: Sequence[Rendition], context: Any) -> Any:
    return [enrich.Caption(f"{context.length} {context.language}", context.language) for _ in renditions]


def enrich_data(renditions: Sequence[Rendition]) -> Any:
    return [{} for _ in renditions]


def check(options: Any, model: Any) -> None:
    if options.lang == "nl":
        raise UsageError("no Dutch")


@pytest.fixture
def host() -> Host:
    CALLS.clear()
    host = Host()
    for name, hook, attributes in (
        ("answer", enrich_answer, {"Options": Options, "check": check}),
        ("caption", enrich_caption, {"Options": Saying}),
        ("data", enrich_data, {}),
    ):
        module = types.ModuleType(name)
        setattr(module, hook.__name__, enrich.hookimpl(hook))
        vars(module).update(attributes)
        host.register(module, Candidate(name, name, None, None, lambda: None))
    return host


def bind(
    host: Host, plugin: str, name: str = "step", earlier: Sequence[BoundStep] = (), **keys: Any
) -> BoundStep:
    return host.bind(name, Step(plugin=plugin, **keys), None, earlier)


def picture(number: int, name: str = "a.jpg") -> Rendition:
    return Rendition(number, Path(name), 0, np.zeros((1, 1, 3), np.uint8), 1, 1, 1, 1)


def test_a_step_has_the_questions_of_its_options(host: Host) -> None:
    step = bind(host, "answer", questions={"a": "A?", "b": {"ask": "B?", "type": "number"}}, lang="fr")
    assert step.questions == (
        Question("a", "A?", "string", (), "fr"),
        Question("b", "B?", "number", (), "fr"),
    )
    (outcome,) = host.describe(step, [picture(1)], [()])
    assert isinstance(outcome, list)
    assert [(one.item, one.question, one.text, one.language) for one in outcome] == [
        ("a", "A?", "1 A?", "fr"),
        ("b", "B?", "1 B?", "fr"),
    ]


def test_the_generator_of_a_question_knows_no_other(host: Host) -> None:
    def digests(**keys: Any) -> dict[str, str]:
        step = bind(host, "answer", **keys)
        return {"": step.generator.options_digest} | {
            name: item.options_digest for name, item in step.items.items()
        }

    first = digests(questions={"a": "A?", "b": "B?"})
    edited = digests(questions={"a": "A?", "b": {"ask": "B?", "type": "boolean"}})
    shared = digests(questions={"a": "A?", "b": "B?"}, beams=2)
    assert [first[key] == edited[key] for key in ("", "a", "b")] == [False, True, False]
    assert [first[key] == shared[key] for key in ("", "a", "b")] == [False, False, False]
    assert digests(questions={"b": "B?", "a": "A?"}) == first, "their order says nothing"


def test_questions_are_filled_for_each_picture_and_asked_together_where_they_are_the_same(host: Host) -> None:
    earlier = bind(host, "caption", "said")
    step = bind(host, "answer", earlier=[earlier], questions={"a": "{file_name}?", "b": "{said} {{x}}"})
    pictures = [picture(1, "x"), picture(2, "y"), picture(3, "x"), picture(4, "x")]
    said = [(Statement("said", "", "caption", text),) for text in ("one", "one", "one", "two")]
    outcomes: list[Any] = host.describe(step, pictures, said)
    assert CALLS == [([1, 3], ["x?", "one {x}"]), ([2], ["y?", "one {x}"]), ([4], ["x?", "two {x}"])]
    assert [[draft.text for draft in outcome] for outcome in outcomes] == [
        ["1 x?", "1 one {x}"],
        ["2 y?", "2 one {x}"],
        ["3 x?", "3 one {x}"],
        ["4 x?", "4 two {x}"],
    ]
    assert [outcome[0].question for outcome in outcomes] == ["x?", "y?", "x?", "x?"]


def test_a_failure_stays_with_its_picture(host: Host) -> None:
    step = bind(host, "answer", questions={"a": "{file_name}?"})
    outcomes = host.describe(step, [picture(1, "x"), picture(13, "x"), picture(3, "y")], [()] * 3)
    assert [isinstance(outcome, list) for outcome in outcomes] == [True, False, True]


def test_language_and_length_reach_the_plugin(host: Host) -> None:
    (outcome,) = host.describe(bind(host, "caption", length="long", lang="ko"), [picture(1)], [()])
    assert isinstance(outcome, list)
    assert (outcome[0].text, outcome[0].language) == ("long ko", "ko")


@pytest.mark.parametrize(
    ("plugin", "keys", "complaint"),
    [
        (
            "answer",
            {"questions": {"a": "{later}?"}},
            r"steps\.step\.questions\.a\.ask: \{later\} is no earlier",
        ),
        ("answer", {"questions": {"a": "{facts.no}"}}, r"the step facts has no question no; it has: yes"),
        ("caption", {"prompt": "{numbers}"}, r"steps\.step\.prompt: .* says nothing in words"),
        ("caption", {"prompt": "{step}"}, r"\{step\} is no earlier step"),
        ("answer", {"questions": {"a": "A?"}, "lang": "nl"}, r"steps\.step: no Dutch"),
        (
            "answer",
            {"questions": {"a": {"ask": "A?", "choices": ["x"]}}},
            r"steps\.step\.questions\.a: the type",
        ),
    ],
)
def test_what_cannot_be_asked_is_found_before_anything_starts(
    host: Host, plugin: str, keys: dict[str, Any], complaint: str
) -> None:
    earlier = [bind(host, "answer", "facts", questions={"yes": "?"}), bind(host, "data", "numbers")]
    with pytest.raises(ConfigError, match=complaint):
        bind(host, plugin, earlier=earlier, **keys)


def test_a_plugin_knows_the_folder_of_its_paths(host: Host) -> None:
    assert bind(host, "caption", folder="x").options.folder == "."
