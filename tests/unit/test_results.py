"""What plugins return is checked before it goes anywhere near the catalog."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from enrich.errors import PluginContract
from enrich.hookspecs import WORK_HOOKS
from enrich.results import MAX_TAG_LENGTH, Draft, drafts
from enrich.types import AgeGroup, Answer, Caption, Embedding, Question, Region, Tag, TextLine

QUESTIONS = (Question("colour", "What colour is it?"), Question("count", "How many?", "number"))

UNIT = np.array([0.6, 0.8], np.float32)

ENDLESS: dict[str, Any] = {}
ENDLESS["itself"] = [ENDLESS]


def deep(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels - 1):
        value = {"in": value}
    return value


def one(hook: str, result: Any, page: int = 0) -> Draft:
    (draft,) = drafts(hook, result, page)
    return draft


@pytest.mark.parametrize("hook", WORK_HOOKS)
def test_none_is_recorded_as_empty(hook: str) -> None:
    made = drafts(hook, None, 3, QUESTIONS)
    assert made
    for draft in made:
        assert (draft.kind, draft.page, draft.is_empty) == (WORK_HOOKS[hook], 3, True)
        assert (draft.text, draft.data, draft.confidence, draft.vector, draft.tags) == (
            None,
            None,
            None,
            None,
            (),
        )


@pytest.mark.parametrize(
    ("hook", "empty"),
    [("enrich_caption", Caption(" \n")), ("enrich_tag", []), ("enrich_text", []), ("enrich_data", {})],
)
def test_what_says_nothing_is_empty(hook: str, empty: Any) -> None:
    draft = one(hook, empty)
    assert draft.is_empty


def test_a_caption() -> None:
    draft = one("enrich_caption", Caption("Ein Hund", "de", 0.5), page=2)
    assert draft == Draft("caption", page=2, text="Ein Hund", language="de", confidence=0.5)


def test_answers_keep_their_questions() -> None:
    colour, count = drafts("enrich_answer", [Answer("red", "red", 1), Answer("3", 3)], 0, QUESTIONS)
    assert (colour.item, colour.question, colour.text) == ("colour", "What colour is it?", "red")
    assert (colour.data, colour.confidence) == ({"type": "string", "value": "red"}, 1.0)
    assert (count.item, count.text, count.data) == ("count", "3", {"type": "number", "value": 3})


def test_one_question_may_stay_unanswered() -> None:
    colour, count = drafts("enrich_answer", [None, Answer(" ")], 0, QUESTIONS)
    assert colour.is_empty
    assert colour.question == "What colour is it?"
    assert count.is_empty


def test_the_main_person_stands_for_the_age() -> None:
    box = Region(0.1, 0.2, 0.3, 0.4)
    draft = one("enrich_age", (AgeGroup("21-44", 21, 44, 0.9, box), AgeGroup("0-2", 0, 2)))
    assert (draft.text, draft.confidence, draft.is_empty) == ("21-44", 0.9, False)
    assert draft.data[0]["region"] == {"x": 0.1, "y": 0.2, "width": 0.3, "height": 0.4}
    assert [group["label"] for group in draft.data] == ["21-44", "0-2"]


def test_nobody_in_the_picture_is_a_judgement_and_not_empty() -> None:
    draft = one("enrich_age", [])
    assert (draft.data, draft.text, draft.is_empty) == ([], None, False)


def test_tags_are_ordered_by_confidence_and_named_once() -> None:
    draft = one("enrich_tag", [Tag("dog", 0.2), Tag("cat", 0.9), Tag("dog", 0.5), Tag("sky"), Tag(" ")])
    assert draft.tags == (Tag("cat", 0.9), Tag("dog", 0.5), Tag("sky"))
    assert draft.text == "cat, dog, sky"
    assert draft.data == [
        {"name": "cat", "confidence": 0.9},
        {"name": "dog", "confidence": 0.5},
        {"name": "sky", "confidence": None},
    ]


def test_text_lines_keep_their_order_and_mean_confidence() -> None:
    draft = one("enrich_text", [TextLine("a", 0.5), TextLine("b"), TextLine("c", 1.0)])
    assert (draft.text, draft.confidence) == ("a\nb\nc", 0.75)
    assert [line["text"] for line in draft.data] == ["a", "b", "c"]


def test_an_embedding_keeps_its_vector() -> None:
    draft = one("enrich_embed", Embedding(UNIT))
    assert draft.vector is not None
    assert draft.vector.tolist() == UNIT.tolist()
    assert not draft.is_empty


def test_data_is_kept_as_it_is() -> None:
    said = {"colours": [{"name": "red", "share": 0.5}], "n": np.float32(1), 3: None}
    assert one("enrich_data", said).data == said
    assert one("enrich_data", deep(64)).data == deep(64)


def test_a_generator_will_do_for_an_inner_list() -> None:
    assert one("enrich_tag", (Tag(name) for name in "ab")).text == "a, b"


@pytest.mark.parametrize("confidence", [0, 1, np.float32(0.5), np.float64(1), 1.00005, True])
def test_a_confidence_is_a_plain_float_from_0_to_1(confidence: Any) -> None:
    found = one("enrich_caption", Caption("x", confidence=confidence)).confidence
    assert type(found) is float
    assert 0 <= found <= 1


BAD_CONFIDENCES = [-0.1, 1.01, math.nan, math.inf, "high", [0.5], 10**400, 79.65]


@pytest.mark.parametrize("confidence", BAD_CONFIDENCES, ids=lambda value: str(value)[:8])
@pytest.mark.parametrize(
    ("hook", "wrap"),
    [
        ("enrich_caption", lambda c: Caption("x", confidence=c)),
        ("enrich_age", lambda c: [AgeGroup("x"), AgeGroup("y", confidence=c)]),
        ("enrich_tag", lambda c: [Tag("x", c)]),
        ("enrich_text", lambda c: [TextLine("x", c)]),
        ("enrich_answer", lambda c: [Answer("x", confidence=c), None]),
    ],
)
def test_no_other_confidence_is_taken(hook: str, wrap: Callable[[Any], Any], confidence: Any) -> None:
    with pytest.raises(PluginContract, match="confidence"):
        drafts(hook, wrap(confidence), 0, QUESTIONS)


@pytest.mark.parametrize(
    ("hook", "result", "complaint"),
    [
        ("enrich_caption", "a dog", "Caption or None"),
        ("enrich_caption", [Caption("a")], "Caption or None"),
        ("enrich_caption", Caption(None), r"Caption\.text"),  # type: ignore[arg-type]  # that is the test
        ("enrich_caption", Caption("a", 3), r"Caption\.language"),  # type: ignore[arg-type]  # likewise
        ("enrich_answer", Answer("yes"), "list of Answer"),
        ("enrich_answer", "yes", "list of Answer"),
        ("enrich_answer", [Answer("yes")], "1 answers to 2 questions"),
        ("enrich_answer", ["yes", "no"], "Answer or None"),
        ("enrich_answer", [Answer(3), None], r"Answer\.text"),  # type: ignore[arg-type]  # likewise
        ("enrich_answer", [Answer("x", ["x"]), None], r"Answer\.value"),  # type: ignore[arg-type]  # likewise
        ("enrich_answer", [Answer("x", 10**30), None], r"Answer\.value"),
        ("enrich_age", AgeGroup("21-44"), "list of AgeGroup"),
        ("enrich_age", ["21-44"], "AgeGroup"),
        ("enrich_age", [AgeGroup(3)], r"AgeGroup\.label"),  # type: ignore[arg-type]  # likewise
        ("enrich_age", [AgeGroup("x", -1)], "an age is int -1"),
        ("enrich_age", [AgeGroup("x", 1, 10**30)], "an age is int 1000"),
        ("enrich_age", [AgeGroup("x", "1")], "an age is str '1'"),  # type: ignore[arg-type]  # likewise
        ("enrich_tag", "dog", "list of Tag"),
        ("enrich_tag", {"dog": 1}, "list of Tag"),
        ("enrich_tag", ["dog"], "Tag"),
        ("enrich_tag", [Tag(3)], r"Tag\.name"),  # type: ignore[arg-type]  # likewise
        ("enrich_tag", [Tag("x" * (MAX_TAG_LENGTH + 1))], "201 characters"),
        ("enrich_text", "some text", "list of TextLine"),
        ("enrich_text", ["some text"], "TextLine"),
        ("enrich_text", [TextLine(b"x")], r"TextLine\.text"),  # type: ignore[arg-type]  # likewise
        ("enrich_embed", UNIT, "Embedding or None"),
        ("enrich_embed", Embedding(UNIT.astype(np.float64)), r"float32 \(D,\)"),  # type: ignore[arg-type]
        ("enrich_embed", Embedding(UNIT[None]), r"float32 \(D,\)"),
        ("enrich_embed", Embedding(UNIT[:0]), r"float32 \(D,\)"),
        ("enrich_embed", Embedding(UNIT * 2), "length 2"),
        ("enrich_embed", Embedding(UNIT * np.float32("nan")), "length nan"),
        ("enrich_data", [1], "dict or None"),
        ("enrich_data", deep(65), "64 deep"),
        ("enrich_data", ENDLESS, "64 deep"),
    ],
)
def test_a_wrong_shape_is_refused_with_what_was_expected(hook: str, result: Any, complaint: str) -> None:
    with pytest.raises(PluginContract, match=complaint) as raised:
        drafts(hook, result, 0, QUESTIONS)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 300


def test_what_is_shown_of_a_huge_result_is_short() -> None:
    with pytest.raises(PluginContract) as raised:
        drafts("enrich_caption", "x" * 100_000, 0)
    assert len(str(raised.value)) < 200
