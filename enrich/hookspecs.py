"""The plugin contract: every hook, when it is called, what it gets and what it returns.

A plugin is a module or object with functions marked ``@enrich.hookimpl`` whose names are below.
It is installed through the entry-point group ``enrich``, or dropped as a ``.py`` file (its stem
is its name) into a folder of ``plugin_dirs``. An implementation may take fewer arguments than
listed; it may not take others. Beside its hooks a plugin may have these attributes:

``Options``
    A pydantic model of the options its steps may set in config.yaml. Without it a step
    has none. Options named ``lang`` and ``length`` are also ``context.language`` and
    ``context.length``; one of the type ``enrich.PromptTemplate`` may have placeholders; one of the
    type ``enrich.ModelName`` names a further model, which is ``context.models[name]``; the
    ``questions`` of ``enrich_answer`` are of the type ``enrich.Questions``.
``revision``
    A string, ``"1"`` unless given. Change it when the plugin says something else of the same
    picture: what it said before becomes stale.
``size_px``
    The longest edge, in pixels, of the renditions it wants. What its model makes use of goes before it
    where that is more, and a step's ``size_px`` in any case.
``needs_model``
    True if its steps must name a model.
``requires``
    A function without arguments, called before a step starts; it raises ``ExtraMissing`` where a
    Python package is not installed.
``check``
    A function of ``options`` and ``model``, and of ``models`` if it likes, called before a step
    starts; it raises ``UsageError`` where a model cannot do what the options ask of it.

The host SHALL
    call a hook of one plugin at a time per batch, never the same rendition twice at once for a step;
    record an exception against that plugin's step alone, after trying the batch's renditions one by one;
    hand out renditions whose pixels are read-only.
A plugin SHALL
    return a list with one result per rendition, in order, for any batch length from 0 up;
    return the same result for a rendition alone and in any batch;
    bear being called from several threads at once.
A plugin MAY
    return ``Skip(reason)`` in place of any result.

Work hooks describe renditions. Their names are the values of a step's ``hook``.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from pathlib import Path

    import PIL.Image

    from enrich.api.routes import Routes
    from enrich.types import (
        AgeGroup,
        Answer,
        Caption,
        Context,
        Embedding,
        Outbox,
        Question,
        Rendition,
        Skip,
        Tag,
        TextLine,
    )

__all__ = ["WORK_HOOKS", "each", "hookimpl", "hookspec"]

hookspec = pluggy.HookspecMarker("enrich")
hookimpl = pluggy.HookimplMarker("enrich")

#: The hooks that describe renditions, with the kind their annotations are stored as.
WORK_HOOKS = {
    "enrich_caption": "caption",
    "enrich_answer": "answer",
    "enrich_age": "age",
    "enrich_tag": "tags",
    "enrich_text": "text",
    "enrich_embed": "embedding",
    "enrich_data": "data",
}


# Work: called for each batch of a step, with the step's options and model in ``context``.


@hookspec
def enrich_caption(renditions: Sequence[Rendition], context: Context) -> Sequence[Caption | Skip | None]:
    """Say in a sentence what each picture shows.

    ``context.length`` (short, normal, long, alt_text) and ``context.language`` tell how.

    Returns
    -------
    list of Caption, Skip or None
        None where there is nothing to say; an empty annotation records that.
    """
    raise AssertionError("a specification is never called")


@hookspec
def enrich_answer(
    renditions: Sequence[Rendition], questions: Sequence[Question], context: Context
) -> Sequence[Sequence[Answer] | Skip | None]:
    """Answer the step's questions about each picture.

    ``questions`` are the same for all renditions, so a picture need be encoded only once. Their
    placeholders are filled; where that makes them differ, each group of renditions is a call.

    Returns
    -------
    list of (list of Answer), Skip or None
        The inner list is aligned with ``questions``.
    """
    raise AssertionError("a specification is never called")


@hookspec
def enrich_age(
    renditions: Sequence[Rendition], context: Context
) -> Sequence[Sequence[AgeGroup] | Skip | None]:
    """Estimate the apparent age group of the people in each picture.

    Returns
    -------
    list of (list of AgeGroup), Skip or None
        The main person first; ``[]``: no one; None: not judged.
    """
    raise AssertionError("a specification is never called")


@hookspec
def enrich_tag(renditions: Sequence[Rendition], context: Context) -> Sequence[Sequence[Tag] | Skip | None]:
    """Label each picture.

    Returns
    -------
    list of (list of Tag), Skip or None
        Names need not be ordered; a name given twice keeps its highest confidence.
    """
    raise AssertionError("a specification is never called")


@hookspec
def enrich_text(
    renditions: Sequence[Rendition], context: Context
) -> Sequence[Sequence[TextLine] | Skip | None]:
    """Read the text in each picture.

    Returns
    -------
    list of (list of TextLine), Skip or None
        In reading order; ``[]``: no text.
    """
    raise AssertionError("a specification is never called")


@hookspec
def enrich_embed(renditions: Sequence[Rendition], context: Context) -> Sequence[Embedding | Skip | None]:
    """Place each picture in a model's space.

    Returns
    -------
    list of Embedding, Skip or None
        float32, (D,), unit length, the same D for every picture of a step.
    """
    raise AssertionError("a specification is never called")


@hookspec
def enrich_data(renditions: Sequence[Rendition], context: Context) -> Sequence[dict[str, Any] | Skip | None]:
    """Say something structured, of the plugin's own kind, of each picture.

    Returns
    -------
    list of dict, Skip or None
        What JSON can hold.
    """
    raise AssertionError("a specification is never called")


# Filters: called before any model of a step or of a request over HTTP sees a picture.


@hookspec
def enrich_moderate(
    renditions: Sequence[Rendition], prompt: str | None, context: Context
) -> Sequence[str | None]:
    """Say which pictures must not be described, and why.

    Every plugin with this hook is asked; one that needs a model or options has an entry in
    config.yaml's ``filters``. A blocked picture's jobs end as ``skipped`` with the reason, and a
    request over HTTP is refused. Where a filter fails, nothing is described.

    Parameters
    ----------
    renditions : sequence of Rendition
        A batch of assets, or one request's pictures.
    prompt : str or None
        What the client asks of all of them; None for folder work, whose prompts are the owner's own.
    context : Context
        Of the filter: its options and model.

    Returns
    -------
    list of str or None
        A short reason such as ``"nudity"``; None for what may be described.
    """
    raise AssertionError("a specification is never called")


# Intake: called while a file becomes an asset, and when its pixels are needed.


@hookspec(firstresult=True)
def enrich_open(path: Path, media_type: str) -> Sequence[PIL.Image.Image] | None:
    """Bring a decoder for a format that enrich cannot open itself (RAW, PDF pages, video frames).

    Stops at the first plugin that does not return None; where one raises, the others are still
    asked, and the file fails if none opens it. Orientation, colour and limits are
    applied to what it returns as to any picture.

    Parameters
    ----------
    path : Path
        The original; read-only.
    media_type : str
        As found by its content (``image/x-nikon-nef``).

    Returns
    -------
    sequence of PIL.Image.Image, or None
        The pages; None where the plugin does not know this type.
    """
    raise AssertionError("a specification is never called")


# Life: called for every plugin, one at a time; what one raises is logged and stops nobody.


@hookspec
def enrich_startup() -> None:
    """Prepare; called once before the first batch."""


@hookspec
def enrich_shutdown() -> None:
    """Clean up; called once after the last batch."""


@hookspec
def enrich_register_routes(routes: Routes) -> None:
    """Bring paths of one's own to `enrich serve`: another dialect, say; called before it listens.

    ``routes.add("POST", "/mine", handler, dialect=..., summary=...)`` is all there is to it. A handler is
    a function of an ``Exchange``: it says who may ask (``exchange.authorize("infer")``), takes pictures in
    (``exchange.pictures().named(text)``), asks the same service as all dialects
    (``exchange.backend.metering.answer(Ask(...))``), and returns a mapping.

    Parameters
    ----------
    routes : enrich.api.routes.Routes
        Where they are added.
    """


@hookspec
def enrich_asset_ingested(asset_id: int, path: Path, outbox: Outbox) -> None:
    """Observe a new asset; called after it was committed, with the file it was found in.

    What is handed over to ``outbox`` is posted until it arrives.
    """


@hookspec
def enrich_annotated(asset_id: int, step: str, outbox: Outbox) -> None:
    """Observe a step that was done on an asset; called after its annotations were committed.

    ``outbox.about(asset_id, step)`` has them; what is handed over to it is posted until it arrives.
    """


def each(function: Callable[..., Any]) -> Callable[..., list[Any]]:
    """Turn a function of one rendition into a work hook over a batch.

    The function takes ``rendition`` where the hook has ``renditions``, and otherwise any of the
    hook's arguments; ``context.annotations`` then holds that rendition's statements only.

    Raises
    ------
    TypeError
        The function does not take ``rendition``, or takes what no work hook offers.
    """
    wanted = tuple(inspect.signature(function).parameters)
    unknown = set(wanted) - {"rendition", "questions", "context"}
    if "rendition" not in wanted or unknown:
        raise TypeError(
            f"{function.__qualname__}: with @enrich.each a function takes 'rendition' and perhaps "
            f"'questions' and 'context', not {', '.join(wanted) or 'nothing'}"
        )

    def run(renditions: Sequence[Rendition], questions: Sequence[Question], context: Context) -> list[Any]:
        results = []
        for index, rendition in enumerate(renditions):
            offered: dict[str, Any] = {"rendition": rendition, "questions": questions}
            if "context" in wanted:
                own = (context.annotations[index],)
                offered["context"] = dataclasses.replace(context, annotations=own)
            results.append(function(**{name: offered[name] for name in wanted}))
        return results

    # pluggy reads the arguments' names off the function itself, so each form is written out.
    if "questions" in wanted:

        def over_batch(
            renditions: Sequence[Rendition], questions: Sequence[Question], context: Context
        ) -> list[Any]:
            return run(renditions, questions, context)

        wrapper: Callable[..., list[Any]] = over_batch
    else:

        def over_plain_batch(renditions: Sequence[Rendition], context: Context) -> list[Any]:
            return run(renditions, (), context)

        wrapper = over_plain_batch
    functools.update_wrapper(wrapper, function)
    del wrapper.__wrapped__  # type: ignore[attr-defined]  # set by update_wrapper; pluggy would follow it
    return wrapper
