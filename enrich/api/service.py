"""One service behind all dialects: it answers what is asked of pictures, with plugins and models.

Requests run the same plugins as folder steps, on steps that are made up for them, and reach the same
models through the same schedulers: whatever waits for a model at a moment shares its batches.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from enrich.api import kinds
from enrich.api.asking import Asking
from enrich.api.conversation import converse, pictures_of, question_of
from enrich.api.descriptions import read_description
from enrich.api.errors import InvalidParameter, LanguageNotPossible
from enrich.api.examination import RENDITION_PX
from enrich.api.failures import moderate, translated
from enrich.api.handle import RequestHandle
from enrich.api.kinds import TEXT_READER, Plan
from enrich.api.offers import Offer, Offers
from enrich.api.requests import MAX_PICTURES, Ask, Chat, Reply
from enrich.api.talk import can_talk, shown_in, talk

if TYPE_CHECKING:
    from enrich.api.kept import Kept
    from enrich.api.pictures import Pictures
    from enrich.host import Host
    from enrich.inference import Model, Models, ModelStore
    from enrich.settings import Settings

__all__ = ["Service"]

#: What a model must serve for each kind of request, the best first.
_HOOKS = {
    "caption": ("enrich_caption", "enrich_answer"),
    "answer": ("enrich_answer",),
    "age": ("enrich_age", "enrich_answer"),
    "tag": ("enrich_tag",),
    "phrases": ("enrich_tag",),
}
#: Kinds whose replies are words, which several pictures can have one after another.
_WORDS = ("caption", "answer", "text")


class Service:
    """Answers requests, from any thread; each call blocks until its answer is there.

    Parameters
    ----------
    settings : Settings
        Default model, costs, deadline and whether pictures are kept.
    host : Host
        The plugins, with their filters.
    models : Models
        The loaded models, the same that folder work has.
    store : ModelStore
        Where models lie.
    pictures : Pictures
        Decodes pictures at other sizes.
    kept : Kept or None
        What is kept of requests; None where nothing can be.
    """

    def __init__(
        self,
        settings: Settings,
        host: Host,
        models: Models,
        store: ModelStore,
        pictures: Pictures,
        kept: Kept | None = None,
    ) -> None:
        self._api = settings.api
        self._host = host
        self._pictures = pictures
        self._kept = kept
        self._offers = Offers(settings, host, models, store)
        self._asking = Asking(host, self._offers, pictures)

    def offers(self) -> list[Offer]:
        """Return everything that can be asked, by name."""
        return self._offers.all()

    def models(self) -> list[Offer]:
        """Return the models that a conversation can be had with, by name; the reader of text is one."""
        return [offer for offer in self._offers.all() if offer.chats]

    def resolve(self, name: str) -> str:
        """Return what a model is called here, whatever it is asked by."""
        return self._offers.resolve(name)

    def partner(self, name: str | None) -> Model | None:
        """Return the model that a conversation is had with; None for the plugin that reads text.

        Raises
        ------
        UnknownModel, Internal
            There is none of that name, it does not converse, or it cannot be loaded. Not retryable.
        """
        return None if name == TEXT_READER else self._offers.model(name, ("enrich_answer", "enrich_caption"))

    def answer(self, ask: Ask, cancel: threading.Event | None = None) -> Reply:
        """Answer one question about pictures.

        Parameters
        ----------
        ask : Ask
            What is asked.
        cancel : threading.Event or None
            Set when nobody waits any more.

        Raises
        ------
        InvalidParameter, UnknownModel, LanguageNotPossible, InvalidImage, TooLarge
            It cannot be answered so. Not retryable.
        Blocked
            A filter refuses it. Not retryable.
        TimedOut
            Its deadline passed. Retryable.
        Cancelled, Internal
            Not retryable.
        """
        started = time.monotonic()
        deadline = started + self._api.deadline_seconds if ask.deadline is None else ask.deadline
        _check_pictures(len(ask.pictures), ask.kind)
        moderate(self._host, ask.pictures, ask.prompt, deadline)
        ask, model = self._choose(ask)
        plan = self._plan(ask, model)
        kept = self._kept if (self._api.keep if ask.keep is None else ask.keep) else None
        reply = None
        if kept is not None:
            bound = self._offers.bind(plan, model)
            reply = kept.find(ask, bound)
        if reply is None:
            asked = self._asking.ask(ask, plan, model, deadline, cancel)
            reply = dataclasses.replace(asked.reply, cost=self._api.cost.get(asked.reply.model, 0.0))
            if kept is not None:
                kept.keep(ask, bound, asked, (time.monotonic() - started) * 1000)
        return dataclasses.replace(reply, elapsed_ms=(time.monotonic() - started) * 1000)

    def chat(
        self,
        chat: Chat,
        on_text: Callable[[str], None] | None = None,
        cancel: threading.Event | None = None,
    ) -> Reply:
        """Go on with a conversation.

        Parameters
        ----------
        chat : Chat
            What was said so far.
        on_text : callable or None
            Called with each piece of the reply as it is made, from a thread of the model's.
        cancel : threading.Event or None
            Set when nobody waits any more.

        Raises
        ------
        ApiError
            As ``answer`` says.
        """
        started = time.monotonic()
        deadline = started + self._api.deadline_seconds if chat.deadline is None else chat.deadline
        model = self.partner(chat.model)
        # What was shown before may be looked at again, and by the filters first.
        pictures = shown_in(chat)
        talks = model is not None and can_talk(model)
        asked = pictures_of(chat)
        _check_pictures(len(pictures if talks else asked), "answer")
        prompt = "\n".join(turn.text for turn in chat.turns if turn.role != "assistant")
        moderate(self._host, pictures, prompt, deadline)
        if model is None:
            reply = self._read_text(chat, deadline, cancel)
            if on_text is not None and reply.text:
                on_text(reply.text)
        else:
            handle = RequestHandle(model, deadline, cancel, chat.decoding)
            with translated(model.name):
                if talks:
                    seen = {one: self._pictures.at(one, model.size_px or RENDITION_PX) for one in pictures}
                    handle.know(list(seen.values()))
                    reply = talk(chat, handle, seen, on_text)
                else:
                    renditions = [picture.rendition for picture in asked]
                    handle.know(renditions)
                    reply = converse(chat, model, handle, renditions, on_text)
        return dataclasses.replace(
            reply,
            cost=self._api.cost.get(reply.model, 0.0),
            elapsed_ms=(time.monotonic() - started) * 1000,
        )

    def _read_text(self, chat: Chat, deadline: float, cancel: threading.Event | None) -> Reply:
        question_of(chat)  # the rules of a conversation hold here too
        ask = Ask("text", pictures_of(chat), deadline=deadline, dialect=chat.dialect, caller=chat.caller)
        return self._asking.ask(ask, kinds.plan(ask, ()), None, deadline, cancel).reply

    def _plan(self, ask: Ask, model: Model | None) -> Plan:
        if model is None:
            return kinds.plan(ask, ())
        # How ages are judged is for whoever runs the server to say: nobody names a detector over HTTP.
        configured = self._offers.configured("age", model.name) if ask.kind == "age" else {}
        return kinds.plan(ask, model.hooks, configured)

    def _choose(self, ask: Ask) -> tuple[Ask, Model | None]:
        """Return the model, and the question in the way that suits it best."""
        if ask.kind == "text":
            return ask, None
        model = self._offers.model(ask.model, _HOOKS[ask.kind])
        described = read_description(ask.prompt or "") if ask.kind in ("caption", "answer") else None
        if described is not None and "enrich_caption" in model.hooks:
            language = ask.language or _known(described.language, model)
            length = described.length if ask.length == "normal" else ask.length
            ask = dataclasses.replace(ask, kind="caption", prompt=None, language=language, length=length)
        if ask.kind == "caption" and ask.prompt is None and "enrich_caption" not in model.hooks:
            raise InvalidParameter(f"the model {model.name} needs a prompt: it answers questions", "prompt")
        if ask.language is not None and model.languages and _known(ask.language, model) is None:
            raise LanguageNotPossible(
                f"the model {model.name} does not know the language; it knows: {', '.join(model.languages)}"
            )
        return ask, model


def _known(language: str, model: Model) -> str | None:
    """Return a language if the model knows it, whatever the region."""
    wanted = language.lower().replace("_", "-").split("-")[0]
    return language if wanted in {one.lower().split("-")[0] for one in model.languages} else None


def _check_pictures(count: int, kind: str) -> None:
    if not count:
        raise InvalidParameter("a picture is missing")
    if count > MAX_PICTURES:
        raise InvalidParameter(f"{count} pictures were given; at most {MAX_PICTURES} are taken")
    if count > 1 and kind not in _WORDS:
        raise InvalidParameter("this is asked of one picture at a time")
