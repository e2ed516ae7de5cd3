"""A conversation put to a model that knows one picture and one question at a time.

The question is the last turn of the user; its pictures are those of that turn, or of the last one that
has any. A model that takes one picture at a time is asked about each of them. One that converses is given the
whole conversation: ``enrich.api.talk``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from enrich.api.asking import joined
from enrich.api.descriptions import read_description
from enrich.api.errors import InvalidParameter
from enrich.api.handle import RequestHandle
from enrich.api.requests import Chat, Picture, Reply
from enrich.api.structured import write_json
from enrich.types import Decoding, Rendition

if TYPE_CHECKING:
    from enrich.inference import Model

__all__ = ["converse", "pictures_of", "question_of"]

_LONGEST_QUESTION = 4000


def converse(
    chat: Chat,
    model: Model,
    handle: RequestHandle,
    renditions: Sequence[Rendition],
    on_text: Callable[[str], None] | None = None,
) -> Reply:
    """Return what a model says next.

    Parameters
    ----------
    chat : Chat
        What was said so far.
    model : Model
        What it can be asked.
    handle : RequestHandle
        The same model, for this request.
    renditions : sequence of Rendition
        Those of ``pictures_of(chat)``.
    on_text : callable or None
        Called with pieces as they are made; what JSON is made of comes at once, at the end.

    Raises
    ------
    InvalidParameter
        There is no question, or no JSON can be made of this. Not retryable.
    EnrichError
        As ``ModelHandle.generate`` says.
    """
    question = question_of(chat)
    if chat.json_schema is not None:
        text = _structured(chat, model, handle, renditions, question)
        if on_text is not None:
            on_text(text)
    else:
        prompt = _prompt(model, question)
        listener = None if on_text is None else _listener(on_text, len(renditions))
        written = handle.generate(
            renditions, [prompt] * len(renditions), on_text=None if listener is None else listener
        )
        text = joined([one.text for one in written])
        if on_text is not None and len(renditions) > 1:
            # The first one's were told while they were made, behind these words.
            on_text(
                "".join(
                    f"\nPicture {number}: {one.text}" for number, one in enumerate(written, 1) if number > 1
                )
            )
    return Reply(
        text,
        None,
        None,
        model.name,
        handle.prompt_tokens,
        handle.completion_tokens,
        handle.finish,
    )


def pictures_of(chat: Chat) -> tuple[Picture, ...]:
    """Return the pictures that the last question is about.

    Raises
    ------
    InvalidParameter
        There are none. Not retryable.
    """
    for turn in reversed(chat.turns):
        if turn.role == "user" and turn.pictures:
            return turn.pictures
    raise InvalidParameter("the conversation has no picture: show one", "messages")


def question_of(chat: Chat) -> str:
    """Return the last thing the user said; where that was only a picture, that it be described.

    Raises
    ------
    InvalidParameter
        The last word was not the user's, or is too long. Not retryable.
    """
    asked = [turn for turn in chat.turns if turn.role != "system"]
    if not asked or asked[-1].role != "user":
        raise InvalidParameter("the last message must be the user's", "messages")
    question = asked[-1].text.strip()
    if len(question) > _LONGEST_QUESTION:
        raise InvalidParameter(f"the question has more than {_LONGEST_QUESTION} characters", "messages")
    return question or "Describe this picture."


def _prompt(model: Model, question: str) -> str:
    described = read_description(question)
    captions, answers = "enrich_caption" in model.hooks, "enrich_answer" in model.hooks
    if captions and (described is not None or not answers):
        language = described.language if described is not None else None
        is_known = language in model.languages
        length = "normal" if described is None else described.length
        return model.caption_prompt(length, language if is_known else None)
    return model.answer_prompt(question, None)


def _listener(on_text: Callable[[str], None], pictures: int) -> Callable[[int, str], None]:
    """Tell the first picture's pieces as they come: the others' would come in between."""
    is_first = True

    def told(index: int, piece: str) -> None:
        nonlocal is_first
        if index == 0:
            on_text(("Picture 1: " if is_first and pictures > 1 else "") + piece)
            is_first = False

    return told


def _structured(
    chat: Chat, model: Model, handle: RequestHandle, renditions: Sequence[Rendition], question: str
) -> str:
    """Ask one question for each property of the schema, and return the answers as JSON."""
    if len(renditions) > 1:
        raise InvalidParameter("JSON is made of one picture at a time", "response_format")

    def ask(words: Sequence[str], decoding: Decoding) -> list[str]:
        prompts = [_prompt(model, one) for one in words]
        return [one.text for one in handle.generate([renditions[0]] * len(prompts), prompts, decoding)]

    return write_json(chat, question, handle, ask, follows=False)
