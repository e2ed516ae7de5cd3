"""Tags from a vocabulary of the user's own, and what may be one."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydantic
import pytest
from enrich.plugins import tags

from enrich.errors import UsageError
from enrich.inference import LabelScores
from enrich.types import Context, Rendition

PICTURE = Rendition(None, None, 0, np.zeros((4, 4, 3), np.uint8), 4, 4, 4, 4)


class Dual:
    """Likes labels by their length; its own words around a label are ``template``."""

    name, template = "fake", "a photo of {}"

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def predict(self, renditions: Sequence[Rendition], labels: Sequence[str] = ()) -> list[LabelScores]:
        if not labels:
            raise UsageError("it has no labels of its own")
        self.asked.append(list(labels))
        scores = LabelScores(tuple(labels), np.array([len(label) / 100 for label in labels], np.float32))
        return [scores for _ in renditions]


def tagged(model: Any, **options: Any) -> list[str]:
    checked = tags.Options(**options)
    (result,) = tags.enrich_tag(
        [PICTURE], Context("step", checked, model, [()], None, None, None, logging.getLogger("test"))
    )
    return [tag.name for tag in result]


def test_the_vocabularys_entries_are_put_into_words_and_come_back_as_they_stand() -> None:
    model = Dual()
    assert tagged(model, vocabulary=["cat, tabby", "a {} dog"], threshold=0.1) == ["cat, tabby", "a {} dog"]
    assert tagged(model, vocabulary=["cat", "horse"], template="a drawing of {}!", limit=1, threshold=0) == [
        "horse"
    ]
    assert model.asked == [
        ["a photo of cat, tabby", "a photo of a {} dog"],
        ["a drawing of cat!", "a drawing of horse!"],
    ]


def test_a_model_without_labels_needs_a_vocabulary() -> None:
    tags.check(tags.Options(vocabulary=["cat"]), Dual())
    with pytest.raises(UsageError, match="no labels of its own"):
        tags.check(tags.Options(), Dual())


def test_a_file_has_an_entry_in_each_line(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("\ufeff# shapes\n cat \n\ngreen apple\r\n", encoding="utf-8")
    options = tags.Options.model_validate({"vocabulary": "words.txt"}, context={"folder": tmp_path})
    assert options.vocabulary == ("cat", "green apple")
    assert options == tags.Options(vocabulary=["cat", "green apple"])
    assert options.model_dump(mode="json")["vocabulary"] == ["cat", "green apple"], "contents, not the name"


@pytest.mark.parametrize("count", [3, 500])
def test_a_vocabulary_in_another_order_is_the_same(count: int) -> None:
    entries = [f"label {number}" for number in range(count)]

    def recorded(*vocabulary: str) -> Any:
        return tags.Options(vocabulary=vocabulary).model_dump(mode="json")

    assert recorded(*entries) == recorded(*reversed(entries))
    assert recorded(*entries) != recorded(*entries[1:], "another")


def test_a_long_vocabulary_is_recorded_by_its_hash() -> None:
    words = [f"word {number}" for number in range(101)]
    dumped = tags.Options(vocabulary=words).model_dump(mode="json")["vocabulary"]
    assert dumped["entries"] == 101
    assert len(dumped["sha256"]) == 64
    words[7] = "another"
    assert tags.Options(vocabulary=words).model_dump(mode="json")["vocabulary"] != dumped


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "the vocabulary is empty"),
        (b"# only a comment\n", "the vocabulary is empty"),
        (b"cat\ndog\nCat\n", r"'Cat' stands twice \(as 'cat'\)"),
        (b"cat\ncat\n", "'cat' stands twice$"),
        (b"\xff\xfe", "no text in UTF-8"),
        (b"a\x00b\n", "control characters"),
        (b"x" * 201, "over 200 characters"),
        (b"x" * 1_000_001, "at most 1000000 are read"),
        (b"".join(b"%d\n" % number for number in range(10_001)), "at most 10000 are allowed"),
    ],
)
def test_what_is_no_vocabulary_is_refused(tmp_path: Path, content: bytes, complaint: str) -> None:
    path = tmp_path / "words.txt"
    path.write_bytes(content)
    with pytest.raises(pydantic.ValidationError, match=complaint.rstrip("$")):
        tags.Options(vocabulary=str(path))


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"vocabulary": "/nowhere/words.txt"}, "No such file"),
        ({"vocabulary": "/"}, "Is a directory"),
        ({"vocabulary": []}, "the vocabulary is empty"),
        ({"vocabulary": [True]}, "put it into quotes"),
        ({"vocabulary": 7}, "tuple"),
        ({"vocabulary": ["a"], "template": "a photo"}, r"must have \{\} once"),
        ({"template": "a {}"}, "a vocabulary into words"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(pydantic.ValidationError, match=complaint):
        tags.Options(**options)
