"""Tags: the likeliest labels, of a classifier's own or of a vocabulary of the user's; or what a model names.

A classifier or dual encoder scores labels, a detector finds things, and a model that answers questions is
asked for keywords.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic

import enrich
from enrich.errors import UsageError
from enrich.replies import read_list, same_words

__all__ = ["Options", "check", "enrich_tag", "needs_model", "revision", "size_px"]

revision = "1"

#: About twice what classifiers take; more pixels would only be decoded to be thrown away.
size_px = 512
needs_model = True

_MAX_BYTES = 1_000_000
_MAX_ENTRIES = 10_000
_MAX_LENGTH = 200

#: Longer vocabularies are recorded by their number of entries and their hash.
_SHOWN_ENTRIES = 100

#: Enough for a keyword of two words and its comma.
_KEYWORD_TOKENS = 8


class Options(pydantic.BaseModel):
    """What a step may set."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    threshold: Annotated[float, pydantic.Field(ge=0, le=1)] = pydantic.Field(
        0.2, description="Labels of less confidence are left out, if it is said."
    )
    limit: Annotated[int, pydantic.Field(ge=1)] = pydantic.Field(5, description="The most labels to return.")
    vocabulary: tuple[str, ...] | None = pydantic.Field(
        None, description="A list of labels, or a text file with one in each line (# begins a comment)."
    )
    template: str | None = pydantic.Field(
        None,
        description='How a label is put to the model: "a drawing of {}"; the model\'s own unless given.',
    )

    @pydantic.field_validator("vocabulary", mode="before")
    @classmethod
    def _read_vocabulary(cls, given: Any, info: pydantic.ValidationInfo) -> Any:
        if isinstance(given, str):
            folder = (info.context or {}).get("folder", Path())
            return _check_entries(_read(folder / Path(given).expanduser()))
        if not isinstance(given, (list, tuple)):
            return given
        for entry in given:
            if not isinstance(entry, str):
                raise ValueError(f"the entry {entry!r} is no text: put it into quotes")
        return _check_entries([entry.strip() for entry in given])

    @pydantic.field_validator("template")
    @classmethod
    def _check_template(cls, given: str | None) -> str | None:
        if given is not None and given.count("{}") != 1:
            raise ValueError("the template must have {} once, where the label goes")
        return given

    @pydantic.model_validator(mode="after")
    def _check_use(self) -> Options:
        if self.template is not None and self.vocabulary is None:
            raise ValueError("template: it puts the labels of a vocabulary into words; give one")
        return self

    @pydantic.field_serializer("vocabulary")
    def _show(self, entries: tuple[str, ...] | None) -> list[str] | dict[str, Any] | None:
        if entries is None:
            return None
        ordered = sorted(entries)  # in another order they are the same vocabulary, and nothing is stale
        if len(ordered) <= _SHOWN_ENTRIES:
            return ordered
        text = "\n".join(ordered)
        return {"entries": len(ordered), "sha256": hashlib.sha256(text.encode()).hexdigest()}


def _read(path: Path) -> list[str]:
    try:
        size_bytes = path.stat().st_size
        if size_bytes > _MAX_BYTES:
            raise ValueError(f"{path} has {size_bytes} bytes; at most {_MAX_BYTES} are read")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text in UTF-8") from error
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _check_entries(entries: Sequence[str]) -> tuple[str, ...]:
    if not entries:
        raise ValueError("the vocabulary is empty")
    if len(entries) > _MAX_ENTRIES:
        raise ValueError(f"the vocabulary has {len(entries)} entries; at most {_MAX_ENTRIES} are allowed")
    seen: dict[str, str] = {}
    for entry in entries:
        if not entry or not entry.isprintable():
            raise ValueError(f"the entry {entry!r} is empty or has control characters")
        if len(entry) > _MAX_LENGTH:
            raise ValueError(f"the entry {entry[:40]!r}... has over {_MAX_LENGTH} characters")
        if (other := seen.get(entry.casefold())) is not None:
            raise ValueError(f"the entry {entry!r} stands twice" + f" (as {other!r})" * (other != entry))
        seen[entry.casefold()] = entry
    return tuple(entries)


def check(options: Options, model: Any) -> None:
    """Check that the model knows labels, its own or those of a vocabulary; or finds or says what there is.

    Raises
    ------
    UsageError
        It does not. Not retryable.
    """
    try:
        _predict(model, [], _labels(options, model))
    except UsageError as error:
        _refuse_unless_named(options, model, error)


@enrich.hookimpl
def enrich_tag(renditions: Sequence[enrich.Rendition], context: enrich.Context) -> list[list[enrich.Tag]]:
    """Return the labels that reach the threshold, best first.

    An entry of the vocabulary is returned as it stands there, a label of a classifier's own by the first
    of its synonyms. Keywords have no confidence.

    Raises
    ------
    InferenceError
        The model failed. Not retryable.
    """
    assert context.model is not None  # needs_model
    options: Options = context.options
    names = _labels(options, context.model)
    try:
        rows = _predict(context.model, renditions, names)
    except UsageError as error:
        if _refuse_unless_named(options, context.model, error) == "words":
            return _keywords(renditions, context)
        found = context.model.detect(renditions)
        return [_best([(one.name, one.confidence) for one in things], options) for things in found]
    return [_tags(scores.top(options.limit), options.threshold, names) for scores in rows]


def _refuse_unless_named(options: Options, model: Any, error: UsageError) -> Literal["things", "words"]:
    """Tell how a model that scores no labels names what it sees.

    Raises
    ------
    UsageError
        In no way: then ``error``; or there is a template, which it has no use for. Not retryable.
    """
    way: Literal["things", "words"] = "things"
    try:
        model.detect([])
    except UsageError:
        way = "words"
        try:
            model.answer_prompt(_request(options), None)
        except UsageError:
            # Of the three, this says what is wrong with a vocabulary, too.
            raise error from None
    if options.template is not None:
        raise UsageError(f"template: the model {model.name} is not asked label by label; leave it out")
    return way


def _best(found: Sequence[tuple[str, float | None]], options: Options) -> list[enrich.Tag]:
    """Return what was found and is wanted, each name once, with the highest of its confidences."""
    entries = {same_words(entry): entry for entry in options.vocabulary or ()}
    best: dict[str, float | None] = {}
    for name, confidence in found:
        entry = entries.get(same_words(name)) if entries else name
        if entry is not None and (confidence is None or confidence >= options.threshold):
            best[entry] = max((one for one in (best.get(entry), confidence) if one is not None), default=None)
    ordered = sorted(best.items(), key=lambda item: -(item[1] or 0.0))
    return [enrich.Tag(name, confidence) for name, confidence in ordered[: options.limit]]


def _keywords(renditions: Sequence[enrich.Rendition], context: enrich.Context) -> list[list[enrich.Tag]]:
    model, options = context.model, context.options
    assert model is not None  # needs_model
    prompt = model.answer_prompt(_request(options), None)
    decoding = enrich.Decoding(max_tokens=_KEYWORD_TOKENS * options.limit + _KEYWORD_TOKENS)
    written = model.generate(renditions, [prompt] * len(renditions), decoding, deadline=context.deadline)
    lists = (read_list(one.text, is_cut=one.finish == "length") for one in written)
    return [_best([(word, None) for word in words], options) for words in lists]


def _request(options: Options) -> str:
    """Return the words that ask for keywords; a long vocabulary is only held against what comes."""
    entries = options.vocabulary or ()
    if 0 < len(entries) <= _SHOWN_ENTRIES:
        return (
            f"Which of these words fit the picture: {', '.join(entries)}? Answer only with words of "
            "this list, separated by commas."
        )
    return (
        f"Name the {options.limit} keywords that describe this picture best. Answer only with the keywords, "
        "separated by commas."
    )


def _predict(model: Any, renditions: Sequence[enrich.Rendition], names: Mapping[str, str]) -> Sequence[Any]:
    scores: Sequence[Any] = model.predict(renditions, list(names)) if names else model.predict(renditions)
    return scores


def _labels(options: Options, model: Any) -> Mapping[str, str]:
    """Return the vocabulary's entries by the words that the model is asked; none without a vocabulary."""
    template = str(options.template or getattr(model, "template", "{}"))
    # Not str.format: an entry or a template may have braces.
    return {template.replace("{}", entry, 1): entry for entry in options.vocabulary or ()}


def _tags(best: Sequence[tuple[str, float]], threshold: float, names: Mapping[str, str]) -> list[enrich.Tag]:
    # Two labels may share their first synonym: ImageNet has two cranes.
    confidences: dict[str, float] = {}
    for label, confidence in best:
        if confidence >= threshold:
            confidences.setdefault(names.get(label) or label.split(",")[0].strip(), confidence)
    return [enrich.Tag(name, confidence) for name, confidence in confidences.items()]
