"""A conversation put to a model that converses: all turns, and the pictures in their places."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from enrich.api.conversation import question_of
from enrich.api.handle import RequestHandle
from enrich.api.requests import Chat, Picture, Reply
from enrich.api.structured import write_json
from enrich.types import Decoding, Rendition, Turn

if TYPE_CHECKING:
    from enrich.inference import Model

__all__ = ["can_talk", "shown_in", "talk"]

#: The family of the models that converse.
_FAMILY = "vision-language"


def can_talk(model: Model) -> bool:
    """Tell whether a model takes whole conversations."""
    return model.family == _FAMILY


def shown_in(chat: Chat) -> tuple[Picture, ...]:
    """Return a conversation's pictures, each once, in the order in which they were first shown."""
    return tuple(dict.fromkeys(picture for turn in chat.turns for picture in turn.pictures))


def talk(
    chat: Chat,
    handle: RequestHandle,
    renditions: Mapping[Picture, Rendition],
    on_text: Callable[[str], None] | None = None,
) -> Reply:
    """Return what a model says next.

    Parameters
    ----------
    chat : Chat
        What was said so far.
    handle : RequestHandle
        The model, for this request.
    renditions : mapping of Picture to Rendition
        Of ``shown_in(chat)``, as large as the model makes use of.
    on_text : callable or None
        Called with pieces as they are made; JSON comes at once, at the end.

    Raises
    ------
    InvalidParameter
        No JSON can be made of this. Not retryable.
    EnrichError
        As ``ModelHandle.converse`` says.
    """
    turns = [_turn(turn.role, turn.content, renditions) for turn in chat.turns]
    # A turn in which nothing is said and nothing shown is none; some clients send an empty system's.
    turns = [turn for turn in turns if turn.content]
    if chat.json_schema is not None:
        text = _structured(chat, handle, turns)
        if on_text is not None:
            on_text(text)
    else:
        listener = None if on_text is None else _listener(on_text)
        (written,) = handle.converse([turns], on_text=listener)
        text = written.text
    return Reply(text, None, None, handle.name, handle.prompt_tokens, handle.completion_tokens, handle.finish)


def _turn(role: str, content: tuple[str | Picture, ...], renditions: Mapping[Picture, Rendition]) -> Turn:
    parts = [one if isinstance(one, str) else renditions[one] for one in content]
    return Turn(role, tuple(part for part in parts if part != ""))  # type: ignore[arg-type]  # as of the chat


def _structured(chat: Chat, handle: RequestHandle, turns: list[Turn]) -> str:
    """Ask for the answers as one object, then for what is missing one by one, and return JSON."""
    *before, last = turns
    shown = tuple(one for one in last.content if not isinstance(one, str))

    def ask(words: Sequence[str], decoding: Decoding) -> list[str]:
        # In the place of the last words; what was said and shown before stays.
        conversations = [[*before, Turn("user", (*shown, one))] for one in words]
        return [one.text for one in handle.converse(conversations, decoding)]

    return write_json(chat, question_of(chat), handle, ask, follows=True)


def _listener(on_text: Callable[[str], None]) -> Callable[[int, str], None]:
    return lambda _, piece: on_text(piece)
