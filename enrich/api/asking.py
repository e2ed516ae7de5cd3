"""One question put to a plugin and its model, and put once more where the reply is in another language."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from enrich.api import kinds
from enrich.api.errors import LanguageNotPossible
from enrich.api.failures import failure
from enrich.api.handle import RequestHandle, check_wanted
from enrich.api.kinds import Plan
from enrich.api.offers import Offers
from enrich.api.requests import Ask, Reply
from enrich.languages import differently, fits, insisting
from enrich.results import Draft
from enrich.types import Decoding, Skip

if TYPE_CHECKING:
    from enrich.api.pictures import Pictures
    from enrich.host import BoundStep, Host
    from enrich.inference import Model

__all__ = ["Asked", "Asking", "joined"]


@dataclasses.dataclass(frozen=True, slots=True)
class Asked:
    """What came of it: the reply, and each picture's annotations."""

    reply: Reply
    drafts: Sequence[Sequence[Draft]]


class Asking:
    """Asks plugins for requests, from any thread.

    Parameters
    ----------
    host : Host
        The plugins.
    offers : Offers
        Binds steps.
    pictures : Pictures
        Decodes pictures at other sizes.
    """

    def __init__(self, host: Host, offers: Offers, pictures: Pictures) -> None:
        self._host, self._offers, self._pictures = host, offers, pictures

    def ask(
        self, ask: Ask, plan: Plan, model: Model | None, deadline: float, cancel: threading.Event | None
    ) -> Asked:
        """Run what is planned, and check what language came of it.

        Raises
        ------
        ApiError
            As ``Service.answer`` says.
        """
        bound = self._offers.bind(plan, model)
        drafts, handle = self._describe(ask, bound, model, ask.decoding, deadline, cancel)
        language = plan.options.get("lang")
        # Groups of ages are no sentences.
        if language is None or ask.kind == "age" or _are_in(language, drafts):
            return Asked(_reply(ask, model, drafts, handle, language), drafts)
        decoding = differently(ask.decoding)
        again = kinds.plan(_insisting(ask, language), () if model is None else model.hooks)
        second, other = self._describe(
            ask, self._offers.bind(again, model), model, decoding, deadline, cancel
        )
        if not _are_in(language, second):
            name = "" if model is None else model.name
            raise LanguageNotPossible(
                f"the model {name} was asked twice and did not answer in the language {language}"
            )
        if handle is not None and other is not None:
            other.prompt_tokens += handle.prompt_tokens
            other.completion_tokens += handle.completion_tokens
        return Asked(_reply(ask, model, second, other, language), second)

    def _describe(
        self,
        ask: Ask,
        bound: BoundStep,
        model: Model | None,
        decoding: Decoding,
        deadline: float,
        cancel: threading.Event | None,
    ) -> tuple[list[list[Draft]], RequestHandle | None]:
        check_wanted(deadline, cancel)
        handle = None if model is None else RequestHandle(model, deadline, cancel, decoding)
        renditions = [self._pictures.at(picture, bound.size_px) for picture in ask.pictures]
        own = dataclasses.replace(bound, model=handle)
        outcomes = self._host.describe(own, renditions, [()] * len(renditions))
        drafts = []
        for outcome in outcomes:
            if not isinstance(outcome, list):
                told = failure(outcome, bound.generator.model)
                raise told from (None if isinstance(outcome, Skip) or told is outcome else outcome)
            drafts.append(outcome)
        return drafts, handle


def joined(texts: Sequence[str]) -> str:
    """Return what was said of several pictures as one text; of one, what was said."""
    if len(texts) == 1:
        return texts[0]
    return "\n".join(f"Picture {number}: {text}" for number, text in enumerate(texts, 1))


def _are_in(language: str, drafts: Sequence[Sequence[Draft]]) -> bool:
    return all(fits(kinds.text_of(one), language) for one in drafts)


def _insisting(ask: Ask, language: str) -> Ask:
    """Return the same question, in words that say the language, where it is asked in words."""
    if ask.prompt is None:
        return ask
    return dataclasses.replace(ask, prompt=insisting(ask.prompt, language))


def _reply(
    ask: Ask,
    model: Model | None,
    drafts: Sequence[Sequence[Draft]],
    handle: RequestHandle | None,
    language: str | None,
) -> Reply:
    data = kinds.data_of(ask.kind, drafts[0][0])
    texts = [kinds.text_of(one) for one in drafts]
    return Reply(
        text=joined(texts) if ask.kind in kinds.WORDS else None,
        data=data,
        language=language,
        model=kinds.model_of("" if model is None else model.name),
        prompt_tokens=0 if handle is None else handle.prompt_tokens,
        completion_tokens=0 if handle is None else handle.completion_tokens,
        finish="stop" if handle is None else handle.finish,
    )
