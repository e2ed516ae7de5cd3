"""JSON that a schema asks for, of models that are asked for it at once."""

import json

from enrich.api.structured import as_json, ask_for_json, questions_of

SCHEMA = {
    "type": "object",
    "properties": {"people": {"type": "integer"}, "title": {"type": "string"}, "is_day": {"type": "boolean"}},
}


class Told:
    """Says its replies one after the other, and remembers what it was told."""

    def __init__(self, *replies: str) -> None:
        self.replies, self.words = list(replies), []

    def __call__(self, words: str) -> str:
        self.words.append(words)
        return self.replies.pop(0)


def test_a_whole_object_is_asked_for_once() -> None:
    told = Told('{"people": 3, "title": "Noon", "is_day": true}')

    values = ask_for_json(questions_of(SCHEMA, "What is it?"), told)

    assert values == {"people": 3, "title": "Noon", "is_day": True}
    assert len(told.words) == 1


def test_only_what_is_missing_is_asked_for_again() -> None:
    told = Told("```{'people': 'three', 'is_day': 'who knows',}```", '{"title": "No', "unused")
    questions = questions_of(SCHEMA, "What is it?")

    values = ask_for_json(questions, told)

    assert values == {"people": 3, "title": "No"}
    assert '"people"' not in told.words[1]
    assert told.replies == ["unused"]
    # And what is missing then was asked alone.
    assert json.loads(as_json(questions, {"is_day": "Yes."}, values)) == {**values, "is_day": True}


def test_what_cannot_be_read_alone_either_is_null() -> None:
    questions = questions_of(SCHEMA, "What is it?")

    document = as_json(questions, {"people": "many", "title": "a", "is_day": "no"})

    assert document == '{"people": null, "title": "a", "is_day": false}'
