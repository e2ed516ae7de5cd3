"""What a work hook returned for one rendition, checked and put into the catalog's shape."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from enrich.errors import PluginContract
from enrich.types import AgeGroup, Answer, Caption, Embedding, Question, Tag, TextLine

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Draft", "drafts"]

#: A tag is a label, and indexed as one.
MAX_TAG_LENGTH = 200

#: Larger ones are no ages, and do not fit the view ``ages``.
MAX_YEARS = 1000

#: Beyond 2**53 a double, which the view ``answers`` shows, holds no whole number exactly.
MAX_ANSWER_NUMBER = 2**53

#: What JSON readers take without ado.
MAX_DATA_DEPTH = 64


@dataclass(frozen=True, slots=True)
class Draft:
    """An annotation about to be written; the fields are those of the ``annotations`` table.

    ``tags`` and ``vector`` (float32, (D,), unit length) also go into tables of their own.
    """

    kind: str
    item: str = ""
    page: int = 0
    text: str | None = None
    data: Any = None
    confidence: float | None = None
    language: str | None = None
    question: str | None = None
    is_empty: bool = False
    tags: tuple[Tag, ...] = ()
    vector: NDArray[np.float32] | None = None


def drafts(hook: str, result: Any, page: int, questions: Sequence[Question] = ()) -> list[Draft]:
    """Return the annotations that ``result`` of ``hook`` stands for.

    Raises
    ------
    PluginContract
        The result is not what the hook's specification says. Not retryable.
    """
    if hook == "enrich_answer":
        return _answers(result, page, questions)
    return [_ONE[hook](result, page)]


def _caption(result: Any, page: int) -> Draft:
    if result is None:
        return Draft("caption", page=page, is_empty=True)
    _expect(result, Caption, "Caption or None")
    return Draft(
        "caption",
        page=page,
        text=_text(result.text, "Caption.text"),
        confidence=_confidence(result.confidence),
        language=None if result.language is None else _text(result.language, "Caption.language"),
        is_empty=not result.text.strip(),
    )


def _answers(result: Any, page: int, questions: Sequence[Question]) -> list[Draft]:
    if result is None:
        result = [None] * len(questions)
    answers = _list(result, "list of Answer")
    if len(answers) != len(questions):
        raise PluginContract(
            f"returned {len(answers)} answers to {len(questions)} questions; it must return one each"
        )
    made = []
    for question, answer in zip(questions, answers, strict=True):
        if answer is None:
            said = Draft("answer", question.name, page, question=question.text, is_empty=True)
        else:
            _expect(answer, Answer, "Answer or None")
            said = Draft(
                "answer",
                question.name,
                page,
                text=_text(answer.text, "Answer.text"),
                data={"type": question.type, "value": _value(answer.value)},
                confidence=_confidence(answer.confidence),
                language=question.language,
                question=question.text,
                is_empty=not answer.text.strip(),
            )
        made.append(said)
    return made


def _age(result: Any, page: int) -> Draft:
    if result is None:
        return Draft("age", page=page, is_empty=True)
    groups = _list(result, "list of AgeGroup, or None")
    for group in groups:
        _expect(group, AgeGroup, "AgeGroup")
        _text(group.label, "AgeGroup.label")
        _years(group.low_years)
        _years(group.high_years)
        _confidence(group.confidence)
    main = groups[0] if groups else None
    return Draft(
        "age",
        page=page,
        text=main.label if main else None,
        data=[asdict(group) for group in groups],
        confidence=main.confidence if main else None,
    )


def _tags(result: Any, page: int) -> Draft:
    best: dict[str, Tag] = {}
    for tag in _list(() if result is None else result, "list of Tag, or None"):
        _expect(tag, Tag, "Tag")
        confidence = _confidence(tag.confidence) or 0.0
        known = best.get(_text(tag.name, "Tag.name"))
        if len(tag.name) > MAX_TAG_LENGTH:
            raise PluginContract(
                f"a tag has {len(tag.name)} characters; at most {MAX_TAG_LENGTH} are allowed"
            )
        if tag.name.strip() and (known is None or confidence > (known.confidence or 0.0)):
            best[tag.name] = tag
    ordered = sorted(best.values(), key=lambda tag: -(tag.confidence or 0.0))
    return Draft(
        "tags",
        page=page,
        text=", ".join(tag.name for tag in ordered) or None,
        data=[asdict(tag) for tag in ordered] or None,
        is_empty=not ordered,
        tags=tuple(ordered),
    )


def _lines(result: Any, page: int) -> Draft:
    lines = _list(() if result is None else result, "list of TextLine, or None")
    for line in lines:
        _expect(line, TextLine, "TextLine")
        _text(line.text, "TextLine.text")
        _confidence(line.confidence)
    confidences = [line.confidence for line in lines if line.confidence is not None]
    return Draft(
        "text",
        page=page,
        text="\n".join(line.text for line in lines) or None,
        data=[asdict(line) for line in lines] or None,
        confidence=math.fsum(confidences) / len(confidences) if confidences else None,
        is_empty=not lines,
    )


def _embedding(result: Any, page: int) -> Draft:
    import numpy as np

    if result is None:
        return Draft("embedding", page=page, is_empty=True)
    _expect(result, Embedding, "Embedding or None")
    vector = np.asarray(result.vector)
    if vector.ndim != 1 or vector.dtype != np.float32 or not len(vector):
        raise PluginContract(f"returned a vector of {vector.dtype} {vector.shape}; it must be float32 (D,)")
    length = float(np.linalg.norm(vector))
    if not abs(length - 1) < 1e-3:  # also refuses NaN
        raise PluginContract(f"returned a vector of length {length:.4g}; it must be 1")
    return Draft("embedding", page=page, vector=vector)


def _data(result: Any, page: int) -> Draft:
    if result is None:
        return Draft("data", page=page, is_empty=True)
    _expect(result, dict, "dict or None")
    _check_depth(result)
    return Draft("data", page=page, data=result, is_empty=not result)


_ONE: dict[str, Callable[[Any, int], Draft]] = {
    "enrich_caption": _caption,
    "enrich_age": _age,
    "enrich_tag": _tags,
    "enrich_text": _lines,
    "enrich_embed": _embedding,
    "enrich_data": _data,
}


def _expect(value: Any, kind: type, expected: str) -> None:
    if not isinstance(value, kind):
        raise PluginContract(f"returned {_shown(value)} where {expected} was expected")


def _list(value: Any, expected: str) -> list[Any]:
    if isinstance(value, (str, bytes, dict)) or not isinstance(value, Iterable):
        raise PluginContract(f"returned {_shown(value)} where a {expected} was expected")
    return list(value)


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise PluginContract(f"{name} is {_shown(value)}; it must be a str")
    return value


def _confidence(value: Any) -> float | None:
    if value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise PluginContract(f"a confidence is {_shown(value)}; it must be a number from 0 to 1") from None
    if not 0 <= number <= 1.0001:  # float32 sums of a softmax may pass 1 by a hair
        raise PluginContract(f"a confidence is {number!r}; it must be from 0 to 1")
    return min(number, 1.0)


def _value(value: Any) -> Any:
    """Return an answer's value; the catalog's views read it as text and as a number."""
    if isinstance(value, int) and abs(value) > MAX_ANSWER_NUMBER:
        raise PluginContract(f"Answer.value is beyond {MAX_ANSWER_NUMBER:.0e}; give it as a float or a str")
    if value is not None and not isinstance(value, (str, bool, int, float)):
        raise PluginContract(f"Answer.value is {_shown(value)}; it must be a str, bool, int, float or None")
    return value


def _years(value: Any) -> None:
    if value is not None and not (isinstance(value, int) and 0 <= value <= MAX_YEARS):
        raise PluginContract(f"an age is {_shown(value)}; it must be an int from 0 to {MAX_YEARS}, or None")


def _check_depth(value: Any, depth: int = 1) -> None:
    """Refuse what is nested without end, or so deep that a database refuses it."""
    if depth > MAX_DATA_DEPTH:
        raise PluginContract(f"the data is nested more than {MAX_DATA_DEPTH} deep, or holds itself")
    if isinstance(value, (Mapping, list, tuple, set, frozenset)):
        for item in value.values() if isinstance(value, Mapping) else value:
            _check_depth(item, depth + 1)


def _shown(value: Any) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 60 else text[:57] + '...'}"
