"""Age groups: how old people look, by a classifier, a regressor or a model that answers questions.

Estimates from appearance, never facts about anybody. What a model says of gender or race is dropped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Annotated, Any

import pydantic

import enrich
from enrich.errors import UsageError
from enrich.inference.faces import FACE, cut_face, find_faces
from enrich.replies.ages import Years, parse_years, read_scale, years_of

__all__ = ["Options", "check", "enrich_age", "needs_model", "parse_years", "revision", "size_px"]

revision = "2"

#: Faces are cut out of it; about twice what classifiers take, for faces of half its width.
size_px = 1024
needs_model = True

#: The age groups that models without labels of their own are asked for.
_GROUPS = ("0-12", "13-20", "21-44", "45-64", "65+")
_OLDEST = 120

_YES, _NO = "Yes", "No"
_IS_ANYONE = "Is there a person in this picture? Answer Yes or No."
_HOW_OLD = "How old does the main person in this picture look? Answer with one of these age groups: {}."

# Nobody, or not judged; else the group and how sure the model is of it.
_Judgement = tuple[Years | None, float | None] | None


class Options(pydantic.BaseModel):
    """What a step may set."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    threshold: Annotated[float, pydantic.Field(ge=0, le=1)] = pydantic.Field(
        0.0, description="What is judged with less confidence counts as not judged."
    )
    faces: enrich.ModelName | None = pydantic.Field(
        None, description="A detector of faces: each face is judged alone; without it the whole picture is."
    )
    face_threshold: Annotated[float, pydantic.Field(ge=0, le=1)] = pydantic.Field(
        0.0, description="Faces of less confidence are left out; the detector has a threshold of its own."
    )
    second_look: bool = pydantic.Field(
        True, description="Leave out faces that are not found again where the detector looks at them closely."
    )
    margin: Annotated[float, pydantic.Field(ge=0, le=2)] = pydantic.Field(
        0.0, description="What is left around a face on each side, of its longer edge."
    )
    groups: tuple[str, ...] | None = pydantic.Field(
        None, description="The age groups to choose from, for models without labels of their own."
    )
    half_width_years: Annotated[int, pydantic.Field(ge=0, le=50)] = pydantic.Field(
        5, description="How far the interval reaches to both sides, for models that say a number of years."
    )

    @pydantic.field_validator("groups")
    @classmethod
    def _check_groups(cls, given: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for label in given or ():
            group = years_of(label)
            if group is None or group.label != label or (group.low is None and group.high is None):
                raise ValueError(f"{label!r} is no age group; write it like 13-20, 65+ or under 3")
        if given is not None and len(set(given)) < max(2, len(given)):
            raise ValueError("give two groups or more, each once")
        return given

    @pydantic.model_validator(mode="after")
    def _check_faces(self) -> Options:
        if self.faces is None and (self.margin or self.face_threshold):
            raise ValueError("margin and face_threshold need faces, the name of a detector")
        return self


def check(options: Options, model: Any, models: Mapping[str, Any]) -> None:
    """Check that the model judges ages, and that the detector finds faces.

    Raises
    ------
    UsageError
        One of them does not. Not retryable.
    """
    hooks = getattr(model, "hooks", ("enrich_age",))
    if "enrich_age" not in hooks:
        served = ", ".join(hook.removeprefix("enrich_") for hook in hooks)
        raise UsageError(f"model: {model.name} does not judge ages, it serves {served or 'nothing'}")
    way = _way(model)
    labels = getattr(model, "labels", ())
    if way == "predict" and labels and not read_scale(labels).knows_ages:
        raise UsageError(f"model: the labels of {model.name} say no ages: {', '.join(labels[:5])} ...")
    if way == "predict" and options.groups is not None:
        raise UsageError(f"groups: {model.name} has age groups of its own, its labels")
    detector = models.get(options.faces or "")
    if detector is None:
        return
    detector.detect([])
    if FACE not in {label.casefold() for label in getattr(detector, "labels", (FACE,))}:
        raise UsageError(f"faces: {detector.name} finds no faces, for none of its labels is {FACE}")


@enrich.hookimpl
def enrich_age(
    renditions: Sequence[enrich.Rendition], context: enrich.Context
) -> list[list[enrich.AgeGroup] | None]:
    """Return the age group of each face, the largest first; or that of the whole picture.

    An empty list where there is no one; None where nobody is judged with enough confidence.

    Raises
    ------
    InferenceError
        A model failed, or the deadline passed. Not retryable.
    """
    options: Options = context.options
    if options.faces is None:
        judgements = _judge(renditions, context, is_face=False)
        return [_together([one], [None], options.threshold) for one in judgements]
    regions = find_faces(
        context.models[options.faces], renditions, options.face_threshold, looks_twice=options.second_look
    )
    cut = [
        cut_face(rendition, region, options.margin)
        for rendition, own in zip(renditions, regions, strict=True)
        for region in own
    ]
    judged = iter(_judge(cut, context, is_face=True))
    return [_together(list(islice(judged, len(own))), own, options.threshold) for own in regions]


def _together(
    judgements: Sequence[_Judgement], regions: Sequence[enrich.Region | None], threshold: float
) -> list[enrich.AgeGroup] | None:
    """Return the groups of one picture's people; None where there are some and none of them is judged."""
    groups, is_anyone_left = [], False
    for judgement, region in zip(judgements, regions, strict=True):
        if judgement is None:
            is_anyone_left = True
            continue
        years, confidence = judgement
        if confidence is not None and confidence < threshold:
            is_anyone_left = True
        elif years is not None:
            groups.append(enrich.AgeGroup(years.label, years.low, years.high, confidence, region))
    return None if is_anyone_left and not groups else groups


def _judge(
    renditions: Sequence[enrich.Rendition], context: enrich.Context, *, is_face: bool
) -> Sequence[_Judgement]:
    """Return, for each picture or face, its age group and the confidence; no group where there is no one."""
    if not renditions:
        return []
    model, options = context.model, context.options
    assert model is not None  # needs_model
    way = _way(model)
    if way == "predict":
        return [
            scale.judge(scores.probabilities) if (scale := read_scale(scores.labels)).knows_ages else None
            for scores in model.predict(renditions)
        ]
    if way == "measure":
        return [(_around(years, options), None) for years in model.measure(renditions)]
    return _ask(renditions, context, is_face=is_face)


def _way(model: Any) -> str:
    """Return the method by which a model judges ages.

    Raises
    ------
    UsageError
        It has none. Not retryable.
    """
    for way in ("predict", "measure"):
        try:
            getattr(model, way)([])
        except UsageError:
            continue
        return way
    try:
        model.answer_prompt(_IS_ANYONE, "en")
    except UsageError as error:
        raise UsageError(
            f"model: {model.name} judges no ages: it has neither labels nor years, and answers no questions "
            f"({error})"
        ) from error
    return "generate"


def _around(years: float, options: Options) -> Years:
    """Return the interval around a number of years, or the given group that it lies in or next to."""
    year = min(max(round(years), 0), _OLDEST)
    if options.groups is None:
        low, high = max(year - options.half_width_years, 0), year + options.half_width_years
        return Years(f"{low}-{high}" if low < high else f"{low}", low, high)

    def away(label: str) -> int:
        low, high = parse_years(label)
        return max((low or 0) - year, year - (_OLDEST if high is None else high), 0)

    label = min(options.groups, key=away)
    return Years(label, *parse_years(label))


def _ask(
    renditions: Sequence[enrich.Rendition], context: enrich.Context, *, is_face: bool
) -> list[_Judgement]:
    """Ask a model in words: whether there is a person, then which of the groups; it can say nothing else."""
    labels = context.options.groups or _GROUPS
    judgements: list[_Judgement] = [(None, None)] * len(renditions)
    people = list(range(len(renditions)))
    if not is_face:
        replies = _choose(renditions, _IS_ANYONE, (_YES, _NO), context)
        judgements = [(None, reply.confidence) for reply in replies]
        people = [index for index, reply in enumerate(replies) if reply.text == _YES]
    asked = [renditions[index] for index in people]
    replies = _choose(asked, _HOW_OLD.format(", ".join(labels)), labels, context)
    for index, reply in zip(people, replies, strict=True):
        judgements[index] = (Years(reply.text, *parse_years(reply.text)), reply.confidence)
    return judgements


def _choose(
    renditions: Sequence[enrich.Rendition], question: str, choices: tuple[str, ...], context: enrich.Context
) -> Sequence[enrich.Generated]:
    if not renditions:
        return []
    assert context.model is not None  # needs_model
    prompt = context.model.answer_prompt(question, "en")
    return context.model.generate(
        renditions,
        [prompt] * len(renditions),
        enrich.Decoding(choices=choices),
        deadline=context.deadline,
    )
