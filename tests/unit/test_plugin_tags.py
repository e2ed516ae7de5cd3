"""Tags from a vocabulary of the user's own, and what may be one."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pydantic
import pytest
from enrich.plugins import tags

from enrich.errors import UsageError
from enrich.inference import LabelScores
from enrich.types import Context, Decoding, Detection, Generated, Region, Rendition, Tag

PICTURE = Rendition(None, None, 0, np.zeros((4, 4, 3), np.uint8), 4, 4, 4, 4)


class Dual:
    """Likes labels by their length; its own words around a label are ``template``."""

    name, template = "fake", "a photo of {}"

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def detect(self, renditions: Sequence[Rendition]) -> list[list[Detection]]:
        raise UsageError("it finds nothing")

    def answer_prompt(self, question: str, language: str | None) -> str:
        raise UsageError("it answers nothing")

    def predict(self, renditions: Sequence[Rendition], labels: Sequence[str] = ()) -> list[LabelScores]:
        if not labels:
            raise UsageError("it has no labels of its own")
        self.asked.append(list(labels))
        scores = LabelScores(tuple(labels), np.array([len(label) / 100 for label in labels], np.float32))
        return [scores for _ in renditions]


def tagged(model: Any, **options: Any) -> list[str]:
    return [tag.name for tag in all_tags(model, **options)]


def all_tags(model: Any, **options: Any) -> list[Tag]:
    checked = tags.Options(**options)
    (result,) = tags.enrich_tag(
        [PICTURE], Context("step", checked, model, [()], None, None, None, logging.getLogger("test"))
    )
    return result


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


class Finder(Dual):
    """Finds what it is told."""

    def __init__(self, *found: tuple[str, float]) -> None:
        super().__init__()
        self.found = [Detection(name, confidence, Region(0, 0, 1, 1)) for name, confidence in found]

    def predict(self, renditions: Sequence[Rendition], labels: Sequence[str] = ()) -> list[LabelScores]:
        raise UsageError("it scores nothing")

    def detect(self, renditions: Sequence[Rendition]) -> list[list[Detection]]:
        return [self.found for _ in renditions]


class Talker(Finder):
    """Says a list, and remembers what it was asked."""

    detect = Dual.detect

    def __init__(self, said: str, finish: Literal["stop", "length"] = "stop") -> None:
        super().__init__()
        self.said, self.prompts = Generated(said, finish, 1, 1, 0.5), []

    def answer_prompt(self, question: str, language: str | None) -> str:
        return f"Q: {question}"

    def generate(
        self, renditions: Sequence[Rendition], prompts: Sequence[str], decoding: Decoding, *, deadline: Any
    ) -> list[Generated]:
        self.prompts += prompts
        assert decoding.max_tokens is not None
        return [self.said for _ in renditions]


def test_what_a_detector_finds_is_a_tag_once_by_its_surest() -> None:
    model = Finder(("dog", 0.4), ("cat", 0.6), ("dog", 0.9), ("bird", 0.1))
    tags.check(tags.Options(), model)
    assert all_tags(model) == [Tag("dog", 0.9), Tag("cat", 0.6)]
    assert all_tags(model, limit=1, threshold=0.0) == [Tag("dog", 0.9)]
    assert all_tags(model, vocabulary=["A Dog", "horse"]) == [Tag("A Dog", 0.9)]


def test_a_model_that_talks_is_asked_for_keywords() -> None:
    model = Talker("1. Red boat\n2. sea\n3. The sea\n4. sk", "length")
    tags.check(tags.Options(), model)
    assert all_tags(model, limit=3) == [Tag("Red boat"), Tag("sea")]
    assert model.prompts == [
        "Q: Name the 3 keywords that describe this picture best. Answer only with the keywords, separated "
        "by commas."
    ]
    assert all_tags(model, limit=1) == [Tag("Red boat")]


def test_of_a_vocabulary_only_its_entries_are_keywords() -> None:
    model = Talker("boat, a red sea, sky")
    assert all_tags(model, vocabulary=["Sky", "Boat", "cat"]) == [Tag("Boat"), Tag("Sky")]
    assert "fit the picture: Sky, Boat, cat?" in model.prompts[0]
    long = [f"word {number}" for number in range(200)]
    assert all_tags(model, vocabulary=[*long, "Boat"]) == [Tag("Boat")]
    assert "word 7" not in model.prompts[1]


def test_a_template_is_for_models_that_score_labels() -> None:
    options = tags.Options(vocabulary=["cat"], template="a drawing of {}")
    tags.check(options, Dual())
    for model in (Finder(), Talker("cat")):
        with pytest.raises(UsageError, match="template: the model fake is not asked label by label"):
            tags.check(options, model)


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
