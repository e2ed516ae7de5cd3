"""A model that converses is given the whole conversation: turns, roles, and every picture in its place."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from served import ALICE, Speaker, place, png

from enrich.api.errors import InvalidParameter
from enrich.api.openai_models import Completion
from enrich.api.requests import Chat, Picture, Turn
from enrich.errors import UsageError
from enrich.types import Decoding, Generated, Rendition
from enrich.types import Turn as Said

RED, BLUE, GREEN = (200, 10, 10), (10, 10, 200), (10, 200, 10)


class Talker(Speaker):
    """Says what ``say`` returns for the last words, and notes the conversations."""

    family = "vision-language"

    def __init__(self, say: Callable[[str], str] = lambda prompt: "a red square") -> None:
        super().__init__("speaker", say)
        self.heard: list[Sequence[Said]] = []

    def converse(
        self, conversations: Sequence[Sequence[Said]], decoding: Decoding, **options: Any
    ) -> list[Generated]:
        self.heard += conversations
        words = [[one for one in turns[-1].content if isinstance(one, str)][-1] for turns in conversations]
        return super().generate([], words, decoding, **options)


@pytest.fixture
def here(tmp_path: Path) -> Any:
    with place(tmp_path, cost={"speaker": 0.25}) as made:
        yield made


def pictures(here: Any, *colours: tuple[int, int, int], edge: int = 8) -> tuple[Picture, ...]:
    received = here.pictures.receive(ALICE).__enter__()
    return tuple(received.chunks([png(colour, (edge, edge))], "") for colour in colours)


def spoken(turns: Sequence[Said]) -> list[tuple[str, list[Any]]]:
    """Turns with the colour of each picture in its place."""
    return [
        (
            turn.role,
            [one if isinstance(one, str) else tuple(one.pixels[0, 0].tolist()) for one in turn.content],
        )
        for turn in turns
    ]


def test_all_turns_and_pictures_are_heard(here: Any) -> None:
    model = Talker(lambda prompt: "yes")
    red, blue, green = pictures(here, RED, BLUE, GREEN)
    turns = (
        Turn("system", "Be brief."),
        Turn("user", "Is it red?", (red,)),
        Turn("assistant", "Yes."),
        Turn("user", "This:\nor this?", (blue, green), ("This:", blue, "or", green, "this?")),
    )
    reply = here.service(model).chat(Chat(turns, decoding=Decoding(max_tokens=7)))
    assert [spoken(heard) for heard in model.heard] == [
        [
            ("system", ["Be brief."]),
            ("user", [RED, "Is it red?"]),
            ("assistant", ["Yes."]),
            ("user", ["This:", BLUE, "or", GREEN, "this?"]),
        ]
    ]
    assert (reply.text, reply.prompt_tokens, reply.completion_tokens, reply.cost) == ("yes", 3, 1, 0.25)
    assert [decoding.max_tokens for _, decoding in model.asked] == [7]


def test_what_is_asked_again_has_what_is_left_of_the_budget(here: Any) -> None:
    turns = (Turn("user", "Look", pictures(here, RED)),)
    schema = {"properties": {"squares": {"type": "integer"}, "round": {"type": "boolean"}}}
    for max_tokens, budgets in ((5, [5]), (12, [12, 4])):
        model = Talker(lambda prompt: "I would say that it is a square")
        reply = here.service(model).chat(
            Chat(turns, json_schema=schema, decoding=Decoding(max_tokens=max_tokens))
        )
        assert [decoding.max_tokens for _, decoding in model.asked] == budgets
        assert (reply.completion_tokens, reply.finish) == (max_tokens, "length")
        assert json.loads(reply.text or "") == {"squares": None, "round": None}


def test_the_same_picture_is_one_rendition_as_large_as_the_model_wants_it(here: Any) -> None:
    (red,) = pictures(here, RED, edge=400)
    for size_px, edge in ((None, 400), (100, 100), (2000, 400)):
        model = Talker()
        model.size_px = size_px
        here.service(model).chat(Chat((Turn("user", "?", (red,)), Turn("user", "And?", (red,)))))
        first, second = (turn.content[0] for turn in model.heard[0])
        assert first is second
        assert isinstance(first, Rendition)
        assert first.width_px == edge


def test_what_nobody_said_is_left_out(here: Any) -> None:
    model = Talker()
    here.service(model).chat(Chat((Turn("system", ""), Turn("user", "?", pictures(here, RED)))))
    assert spoken(model.heard[0]) == [("user", [RED, "?"])]


def test_pieces_come_as_they_are_made(here: Any) -> None:
    pieces: list[str] = []
    turns = (Turn("user", "?", pictures(here, RED, BLUE)),)
    reply = here.service(Talker()).chat(Chat(turns), pieces.append)
    assert pieces == ["a", " red", " square"]
    assert reply.text == "a red square"


def test_json_is_asked_for_in_the_conversation(here: Any) -> None:
    said = ['{"colour": "red", "squares": 3', "no idea", "4"]
    model = Talker(lambda prompt: said.pop(0))
    schema = {
        "type": "object",
        "properties": {
            "colour": {"type": "string", "description": "What colour is it?"},
            "round": {"type": "boolean", "description": "Is it round?"},
        },
    }
    red, blue = pictures(here, RED, BLUE)
    turns = (Turn("user", "Look", (red,)), Turn("assistant", "Yes?"), Turn("user", "And this", (blue,)))
    reply = here.service(model).chat(Chat(turns, json_schema=schema))
    assert json.loads(reply.text or "") == {"colour": "red", "round": None}
    for heard in model.heard:
        before, last = spoken(heard)[:-1], spoken(heard)[-1]
        assert before == [("user", [RED, "Look"]), ("assistant", ["Yes?"])]
        assert last[0] == "user"
        assert last[1][0] == BLUE
    assert spoken(model.heard[-1])[-1] == ("user", [BLUE, "Is it round?"])


def test_what_the_model_refuses_is_told(here: Any) -> None:
    def refuse(prompt: str) -> str:
        raise UsageError("the conversation has 9000 tokens")

    with pytest.raises(InvalidParameter, match="the conversation has 9000 tokens"):
        here.service(Talker(refuse)).chat(Chat((Turn("user", "?", pictures(here, RED)),)))


def test_pictures_of_all_turns_count(here: Any) -> None:
    many = tuple(Turn("user", "?", pictures(here, (number, 0, 0))) for number in range(17))
    with pytest.raises(InvalidParameter, match="17 pictures were given; at most 16"):
        here.service(Talker()).chat(Chat(many))


def test_openais_parts_keep_their_order() -> None:
    url = {"type": "image_url", "image_url": {"url": "data:,a"}}
    short = {"type": "image_url", "image_url": "data:,b"}
    content = [{"type": "text", "text": "x"}, url, {"type": "text", "text": "y"}, short]
    wanted = Completion.model_validate(
        {"model": "m", "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": content}]}
    )
    first, second = wanted.messages
    assert first.parts == [("s", True)]
    assert second.parts == [("x", True), ("data:,a", False), ("y", True), ("data:,b", False)]
    assert (second.text, second.urls) == ("x\ny", ["data:,a", "data:,b"])


@pytest.mark.parametrize(
    ("turns", "complaint"),
    [
        ([["a"]] * 30, None),
        ([[*"abcdefghijklmnop"]], None),
        ([["a"] * 17], "in a message"),
        ([[*"abcdefghijklm"], [*"opqr"]], "different pictures"),
    ],
)
def test_a_message_has_sixteen_pictures_and_a_conversation_sixteen_different_ones(
    turns: list[list[str]], complaint: str | None
) -> None:
    messages = [
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}} for url in urls]}
        for urls in turns
    ]
    wanted = Completion.model_validate({"model": "m", "messages": messages})
    if complaint is None:
        wanted.check()
        return
    with pytest.raises(InvalidParameter, match=f"at most 16 .*{complaint}"):
        wanted.check()
