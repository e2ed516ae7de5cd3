"""What is asked over HTTP reaches plugins and models as it should, and comes back in a client's words."""

import dataclasses
import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from served import ALICE, Broken, Speaker, place, png

from enrich.api.errors import (
    ApiError,
    Blocked,
    Cancelled,
    Internal,
    InvalidParameter,
    LanguageNotPossible,
    TimedOut,
    UnknownModel,
)
from enrich.api.requests import Ask, Chat, Picture, Turn
from enrich.types import Decoding

RED, BLUE = (200, 10, 10), (10, 10, 200)

GERMAN = "Das Bild zeigt ein großes rotes Quadrat auf einem hellen Grund, und daneben einen Kreis."
ENGLISH = "The picture shows a large red square on a light background, and a circle beside it."


@pytest.fixture
def here(tmp_path: Path) -> Any:
    with place(tmp_path, cost={"speaker": 0.25}) as made:
        yield made


def pictures(here: Any, *colours: tuple[int, int, int]) -> tuple[Picture, ...]:
    """Pictures that outlive their request; their folder is the test's."""
    received = here.pictures.receive(ALICE).__enter__()
    return tuple(received.chunks([png(colour)], "") for colour in colours or (RED,))


def test_a_caption_is_asked_in_the_models_own_way(here: Any) -> None:
    model = Speaker("speaker", lambda prompt: ENGLISH)
    reply = here.service(model).answer(Ask("caption", pictures(here), length="long"))
    assert reply.text == ENGLISH
    assert [prompt for prompt, _ in model.asked] == ["caption long en"]
    assert (reply.model, reply.language, reply.finish) == ("speaker", "en", "stop")
    assert (reply.prompt_tokens, reply.completion_tokens, reply.cost) == (3, len(ENGLISH.split()), 0.25)
    assert not reply.is_cached
    assert reply.elapsed_ms > 0


def test_a_question_is_asked_as_it_is_written(here: Any) -> None:
    model = Speaker("speaker", lambda prompt: "red")
    service = here.service(model)
    assert service.answer(Ask("answer", pictures(here), prompt="Which {colour}? {{x}}")).text == "red"
    assert service.answer(Ask("caption", pictures(here), prompt="Say {file_name}:")).text == "red"
    assert [prompt for prompt, _ in model.asked] == [
        "Which {colour}? {{x}} [None]",
        "Say {file_name}: [None]",
    ]


@pytest.mark.parametrize(
    ("prompt", "asked"),
    [
        ("What is in this image?", "caption normal en"),
        ("Describe the picture in detail.", "caption long en"),
        ("Please write a short caption for this photo", "caption short en"),
        ("Was ist auf dem Bild?", "caption normal de"),
        ("Describe the pirate.", "Describe the pirate. [None]"),
        ("What is in this image? Answer yes or no.", "What is in this image? Answer yes or no. [None]"),
    ],
)
def test_who_only_wants_a_description_gets_a_caption(here: Any, prompt: str, asked: str) -> None:
    model = Speaker("speaker", lambda prompt: "rot")
    service = here.service(model)
    service.answer(Ask("answer", pictures(here), prompt=prompt))
    service.chat(Chat((Turn("user", prompt, pictures(here)),)))
    assert [prompt for prompt, _ in model.asked] == [asked, asked]


def test_what_the_request_says_of_decoding_goes_before_the_plugins_own(here: Any) -> None:
    model = Speaker("speaker", lambda prompt: "one two three four five")
    decoding = Decoding(max_tokens=2, temperature=0.5, seed=7, stop=("x",))
    reply = here.service(model).answer(Ask("answer", pictures(here), prompt="Count!", decoding=decoding))
    assert reply.text == "one two"
    assert (reply.finish, reply.completion_tokens) == ("length", 2)
    assert model.asked[0][1] == decoding


def test_several_pictures_are_answered_one_after_another(here: Any) -> None:
    service = here.service(Speaker("speaker", lambda prompt: "a square"))
    both = pictures(here, RED, BLUE)
    reply = service.answer(Ask("answer", both, prompt="What?"))
    assert reply.text == "Picture 1: a square\nPicture 2: a square"
    assert reply.completion_tokens == 4
    with pytest.raises(InvalidParameter):
        service.answer(Ask("tag", both))
    with pytest.raises(InvalidParameter):
        service.answer(Ask("caption", ()))
    with pytest.raises(InvalidParameter):
        service.answer(Ask("caption", both * 10))


# Languages


def test_another_language_is_asked_for_once_more_and_then_refused(here: Any) -> None:
    said = iter([ENGLISH, GERMAN])
    model = Speaker("speaker", lambda prompt: next(said))
    reply = here.service(model).answer(Ask("caption", pictures(here), language="de"))
    assert (reply.text, reply.language) == (GERMAN, "de")
    assert [prompt for prompt, _ in model.asked] == ["caption normal de"] * 2
    assert [decoding.temperature for _, decoding in model.asked] == [0.0, 0.7]
    assert reply.completion_tokens == len((ENGLISH + " " + GERMAN).split())

    stubborn = Speaker("speaker", lambda prompt: ENGLISH)
    with pytest.raises(LanguageNotPossible, match="twice"):
        here.service(stubborn).answer(Ask("caption", pictures(here), language="de"))
    assert len(stubborn.asked) == 2


def test_a_question_is_repeated_with_its_language(here: Any) -> None:
    said = iter([ENGLISH, GERMAN])
    model = Speaker("speaker", lambda prompt: next(said))
    here.service(model).answer(Ask("answer", pictures(here), prompt="Say more!", language="de"))
    assert [prompt for prompt, _ in model.asked] == ["Say more! [de]", "Say more! Antworte auf Deutsch. [de]"]


def test_a_language_that_the_model_does_not_know_is_refused_at_once(here: Any) -> None:
    model = Speaker("speaker")
    model.languages = ("en", "fr")
    with pytest.raises(LanguageNotPossible, match="en, fr"):
        here.service(model).answer(Ask("caption", pictures(here), language="ko"))
    assert model.asked == []


def test_without_a_language_an_answer_may_be_in_any(here: Any) -> None:
    reply = here.service(Speaker("speaker", lambda prompt: GERMAN)).answer(
        Ask("answer", pictures(here), prompt="Was noch?")
    )
    assert (reply.text, reply.language) == (GERMAN, None)


# Models


def test_a_model_is_chosen_by_what_it_can_do(here: Any) -> None:
    judge = Speaker("judge")
    judge.hooks, judge.labels = ("enrich_age",), ("21-44", "0-12", "no one")
    service = here.service(Speaker("speaker"), judge)
    age = service.answer(Ask("age", pictures(here)))
    assert (age.text, age.data, age.model) == (None, {"ageGroup": "21-44", "confidence": 0.5}, "judge")
    with pytest.raises(UnknownModel, match="it can judge ages"):
        service.answer(Ask("caption", pictures(here), model="judge"))
    with pytest.raises(UnknownModel) as caught:
        service.answer(Ask("caption", pictures(here), model="nobody"))
    assert "/srv" not in str(caught.value)
    assert [offer.name for offer in service.models() if offer.name != "ocr"] == ["speaker"]


def test_nobody_in_the_picture_is_no_age_group(here: Any) -> None:
    judge = Speaker("judge")
    judge.hooks, judge.labels = ("enrich_age",), ("no one", "21-44")
    age = here.service(judge).answer(Ask("age", pictures(here), model="judge"))
    assert age.data == {"ageGroup": None, "confidence": None}


def test_a_model_that_answers_questions_is_asked_for_the_age_group(here: Any) -> None:
    model = Speaker("speaker", lambda prompt: "13-20")
    age = here.service(model).answer(Ask("age", pictures(here), model="speaker"))
    assert age.data == {"ageGroup": "13-20", "confidence": 0.5}
    model.say = lambda prompt: "no one"
    assert here.service(model).answer(Ask("age", pictures(here))).data == {
        "ageGroup": None,
        "confidence": None,
    }


def test_phrases_are_ranked(here: Any) -> None:
    ranker = Speaker("ranker")
    ranker.hooks = ("enrich_tag",)
    service = here.service(ranker)
    reply = service.answer(
        Ask("phrases", pictures(here), model="ranker", prompt="a cat, a dog\na  cat; a bird")
    )
    assert reply.text == "a cat, a dog, a bird"
    assert reply.data is not None
    assert reply.data["tags"][0] == {"name": "a cat", "confidence": 0.5}
    for prompt in ("", " , ;", "x" * 300, ",".join(map(str, range(200)))):
        with pytest.raises(InvalidParameter):
            service.answer(Ask("phrases", pictures(here), model="ranker", prompt=prompt))


def test_no_option_of_a_client_names_a_file(here: Any) -> None:
    tagger = Speaker("tagger")
    tagger.hooks, tagger.labels = ("enrich_tag",), ("cat", "dog")
    options = {"vocabulary": "/etc/passwd", "plugin": "ocr", "hook": "x", "limit": 1, "threshold": True}
    reply = here.service(tagger).answer(Ask("tag", pictures(here), model="tagger", options=options))
    assert reply.data == {"tags": [{"name": "cat", "confidence": 0.5}]}


def test_a_model_that_fails_says_nothing_of_itself(here: Any) -> None:
    with pytest.raises(Internal) as caught:
        here.service(Broken("speaker")).answer(Ask("caption", pictures(here)))
    assert "/srv" not in str(caught.value)
    with pytest.raises(Internal):
        here.service(Broken("speaker")).chat(Chat((Turn("user", "What?", pictures(here)),)))


def test_pictures_that_the_model_does_not_know_are_refused(here: Any) -> None:
    model = Speaker("speaker")
    model.refuses = "outside_domain"
    with pytest.raises(InvalidParameter, match="does not know pictures"):
        here.service(model).answer(Ask("caption", pictures(here)))
    with pytest.raises(InvalidParameter, match="does not know pictures"):
        here.service(model).chat(Chat((Turn("user", "What?", pictures(here)),)))
    assert model.asked == []


# Conversations


def test_the_last_question_is_about_the_last_pictures(here: Any) -> None:
    model = Speaker("speaker", lambda prompt: "yes")
    red, blue = pictures(here, RED, BLUE)
    turns = (
        Turn("system", "Be brief."),
        Turn("user", "Is it red?", (red,)),
        Turn("assistant", "Yes."),
        Turn("user", "Is it blue?", (blue,)),
        Turn("assistant", "Yes."),
        Turn("user", "Is it a square?"),
    )
    reply = here.service(model).chat(Chat(turns))
    assert [prompt for prompt, _ in model.asked] == ["Is it a square? [None]"]
    assert (reply.text, reply.cost) == ("yes", 0.25)


def test_pieces_come_as_they_are_made_and_make_up_the_reply(here: Any) -> None:
    service = here.service(Speaker("speaker", lambda prompt: "a red square"))
    for colours in ((RED,), (RED, BLUE)):
        pieces: list[str] = []
        reply = service.chat(Chat((Turn("user", "And now?", pictures(here, *colours)),)), pieces.append)
        assert len(pieces) > 2
        assert "".join(pieces) == reply.text


@pytest.mark.parametrize(
    "turns",
    [
        (),
        (Turn("user", "Hello"),),
        (Turn("system", "Hello"),),
        (Turn("user", "x", ("picture",)), Turn("assistant", "y")),  # type: ignore[arg-type]  # filled below
        (Turn("user", "x" * 5000, ("picture",)),),  # type: ignore[arg-type]  # filled below
    ],
)
def test_a_conversation_without_picture_or_question_is_refused(here: Any, turns: tuple[Turn, ...]) -> None:
    filled = tuple(
        dataclasses.replace(turn, pictures=pictures(here)) if turn.pictures else turn for turn in turns
    )
    with pytest.raises(InvalidParameter):
        here.service(Speaker("speaker")).chat(Chat(filled))


def test_json_is_made_of_a_question_for_each_property(here: Any) -> None:
    answers = {
        "What colour is it?": "red",
        "How many squares?": "three",
        "Look (round)": "no",
        "Look (size)": "big",
    }
    model = Speaker("speaker", lambda prompt: answers[prompt.removesuffix(" [None]")])
    schema = {
        "type": "object",
        "properties": {
            "colour": {"type": "string", "description": "What colour is it?"},
            "squares": {"type": "integer", "description": "How many squares?"},
            "round": {"type": ["boolean", "null"]},
            "size": {"enum": ["small", "big"]},
        },
    }
    turns = (Turn("user", "Look", pictures(here)),)
    reply = here.service(model).chat(Chat(turns, json_schema=schema))
    assert json.loads(reply.text or "") == {"colour": "red", "squares": 3, "round": False, "size": "big"}
    plain = Speaker("speaker", lambda prompt: "red")
    assert json.loads(here.service(plain).chat(Chat(turns, json_schema={})).text or "") == {"text": "red"}
    for wrong in ({"properties": {}}, {"properties": {"a": {"type": "array"}}}, {"properties": {"a": 1}}):
        with pytest.raises(InvalidParameter):
            here.service(plain).chat(Chat(turns, json_schema=wrong))


@pytest.mark.parametrize(
    ("max_tokens", "colours", "schema", "texts"),
    [
        (6, (RED, BLUE), None, 2),
        (7, (RED,), {"properties": {name: {"type": "string"} for name in "abc"}}, 3),
    ],
)
def test_the_budget_is_that_of_the_whole_answer(
    here: Any, max_tokens: int, colours: Any, schema: Any, texts: int
) -> None:
    model = Speaker("speaker", lambda prompt: "one two three four five six seven eight")
    turns = (Turn("user", "What else?", pictures(here, *colours)),)
    reply = here.service(model).chat(
        Chat(turns, json_schema=schema, decoding=Decoding(max_tokens=max_tokens))
    )
    assert [decoding.max_tokens for _, decoding in model.asked] == [max_tokens // texts] * texts
    assert reply.completion_tokens == max_tokens // texts * texts
    assert reply.finish == "length"
    with pytest.raises(InvalidParameter, match=f"{texts} texts"):
        here.service(model).chat(Chat(turns, json_schema=schema, decoding=Decoding(max_tokens=1)))


# Time


@pytest.mark.parametrize("kind", ["answer", "chat"])
def test_who_goes_away_leaves_the_batch(here: Any, kind: str) -> None:
    cancel = threading.Event()
    model = Speaker("speaker", lambda prompt: " ".join(["word"] * 100))
    said: list[int] = []

    def between() -> None:
        said.append(1)
        if len(said) == 3:
            cancel.set()

    model.between = between
    with pytest.raises(Cancelled):
        ask(here.service(model), kind, pictures(here), cancel=cancel)
    assert len(said) == 3


@pytest.mark.parametrize("kind", ["answer", "chat"])
def test_a_deadline_ends_it(here: Any, kind: str) -> None:
    model = Speaker("speaker")
    with pytest.raises(TimedOut):
        ask(here.service(model), kind, pictures(here), deadline=time.monotonic() - 1)
    assert model.asked == []


def ask(service: Any, kind: str, shown: Any, *, cancel: Any = None, deadline: float | None = None) -> Any:
    if kind == "chat":
        return service.chat(Chat((Turn("user", "What?", shown),), deadline=deadline), None, cancel)
    return service.answer(Ask("answer", shown, prompt="What?", deadline=deadline), cancel)


# Filters


def test_a_filter_sees_pictures_before_any_model(tmp_path: Path) -> None:
    filters = {
        "decent": {"plugin": "moderate", "model": "judge", "labels": ["nude", "gore"], "threshold": 0.4}
    }
    judge, speaker = Speaker("judge"), Speaker("speaker")
    judge.labels = ("nude", "harmless", "gore")
    with place(tmp_path, filters=filters) as here:
        service = here.service(judge, speaker)
        for kind in ("answer", "chat"):
            with pytest.raises(Blocked) as caught:
                ask(service, kind, pictures(here))
            assert caught.value.reason == "nude"
        assert speaker.asked == []
        judge.labels = ("harmless", "nude", "gore")
        service = here.service(judge, speaker)
        assert ask(service, "answer", pictures(here)).text == "a red square"


def test_where_a_filter_fails_nothing_passes(tmp_path: Path) -> None:
    class Blind(Speaker):
        def predict(self, *args: Any) -> Any:
            raise RuntimeError("no eyes")

    filters = {"decent": {"plugin": "moderate", "model": "judge", "labels": ["nude"]}}
    judge, speaker = Blind("judge"), Speaker("speaker")
    judge.labels = ("nude",)
    with place(tmp_path, filters=filters) as here, pytest.raises(Internal):
        ask(here.service(judge, speaker), "answer", pictures(here))
    assert speaker.asked == []


def test_every_error_of_the_service_is_an_api_error() -> None:
    from enrich.api import errors

    classes = [getattr(errors, name) for name in errors.__all__]
    assert all(issubclass(one, ApiError) for one in classes)
    kinds = [one.kind for one in classes]
    assert len(set(kinds)) == len(kinds)
    assert all(400 <= one.status < 600 for one in classes)
