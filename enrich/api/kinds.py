"""What each kind of request runs: a plugin with a model and options; and what its annotations come to."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from enrich.api.errors import InvalidParameter
from enrich.api.requests import Ask
from enrich.prompts import MAX_PROMPT, PromptTemplate
from enrich.results import Draft

__all__ = ["MAX_PHRASES", "TEXT_READER", "WORDS", "Plan", "data_of", "model_of", "plan", "text_of"]

#: The plugin that reads text brings its own models, and is asked for by its name.
TEXT_READER = "ocr"
#: Kinds whose replies have words.
WORDS = ("caption", "answer", "text", "tag", "phrases")

# The name of the one question that a request has.
_QUESTION = "question"
MAX_PHRASES = 100
_LONGEST_PHRASE = 200

_AGE_QUESTION = "Which age group does the main person in the picture belong to?"
_AGE_GROUPS = ("0-12", "13-20", "21-44", "45-64", "65+", "no one")

#: What a client may set of a plugin's options: numbers, and nothing that could name a file.
_NUMBERS = {"tag": ("threshold", "limit"), "age": ("threshold",), "text": ("min_confidence",)}


@dataclass(frozen=True, slots=True)
class Plan:
    """A step that is made up for a request.

    Parameters
    ----------
    plugin : str
        Which plugin.
    hook : str
        Which work hook a model must serve for it.
    options : mapping
        The plugin's.
    """

    plugin: str
    hook: str
    options: Mapping[str, Any]


def plan(ask: Ask, hooks: Sequence[str], configured: Mapping[str, Any] | None = None) -> Plan:
    """Return what an ``Ask`` runs with a model that serves ``hooks``.

    Parameters
    ----------
    ask : Ask
        What is asked.
    hooks : sequence of str
        The model's work hooks.
    configured : mapping or None
        What config.yaml sets for ages that this model judges.

    Raises
    ------
    InvalidParameter
        Something is missing for this kind, or out of bounds. Not retryable.
    """
    if ask.kind == "caption":
        return _caption(ask)
    if ask.kind == "answer":
        return _answer(ask, _prompt(ask), {})
    if ask.kind == "phrases":
        phrases = _phrases(ask)
        return Plan("tags", "enrich_tag", {"vocabulary": phrases, "threshold": 0.0, "limit": len(phrases)})
    if ask.kind == "text":
        return Plan(TEXT_READER, "enrich_text", _numbers(ask))
    if ask.kind == "tag":
        return Plan("tags", "enrich_tag", _numbers(ask))
    if "enrich_age" not in hooks and "enrich_answer" in hooks:
        # A model that answers questions is asked one; the tokens' probability is its confidence.
        return _answer(ask, _AGE_QUESTION, {"type": "choice", "choices": _AGE_GROUPS})
    return Plan("age", "enrich_age", {**(configured or {}), **_numbers(ask)})


def _caption(ask: Ask) -> Plan:
    # Whoever asks over HTTP is told of another language in an error of their dialect.
    options: dict[str, Any] = {"length": ask.length, "check_lang": False}
    if ask.prompt is None:
        return Plan("caption", "enrich_caption", {**options, "lang": ask.language or "en"})
    if ask.language is not None:
        options["lang"] = ask.language
    return Plan("caption", "enrich_caption", {**options, "prompt": str(PromptTemplate.quoting(_prompt(ask)))})


def _answer(ask: Ask, question: str, more: Mapping[str, Any]) -> Plan:
    asked = {"ask": str(PromptTemplate.quoting(question)), **more}
    options: dict[str, Any] = {"questions": {_QUESTION: asked}, "check_lang": False}
    return Plan(
        "answer", "enrich_answer", options if ask.language is None else {**options, "lang": ask.language}
    )


def _prompt(ask: Ask) -> str:
    prompt = (ask.prompt or "").strip()
    if not prompt:
        raise InvalidParameter("the prompt is empty", "prompt")
    # A brace is written twice in a template.
    if len(prompt) + prompt.count("{") + prompt.count("}") > MAX_PROMPT:
        raise InvalidParameter(f"the prompt has more than {MAX_PROMPT} characters", "prompt")
    return prompt


def _phrases(ask: Ask) -> list[str]:
    given = ask.options.get("phrases")
    if given is None:
        given = re.split(r"[\n,;]+", ask.prompt or "")
    if not isinstance(given, (list, tuple)) or not all(isinstance(phrase, str) for phrase in given):
        raise InvalidParameter("the phrases must be a list of texts", "prompt")
    by_words = {words.casefold(): words for phrase in given if (words := " ".join(phrase.split()))}
    phrases = list(by_words.values())
    if not phrases:
        raise InvalidParameter("phrases to rank are missing: one a line, or separated by commas", "prompt")
    if len(phrases) > MAX_PHRASES or max(map(len, phrases)) > _LONGEST_PHRASE:
        raise InvalidParameter(
            f"at most {MAX_PHRASES} phrases of {_LONGEST_PHRASE} characters are ranked", "prompt"
        )
    if not all(phrase.isprintable() for phrase in phrases):
        raise InvalidParameter("a phrase has control characters", "prompt")
    return phrases


def _numbers(ask: Ask) -> dict[str, Any]:
    allowed = _NUMBERS.get(ask.kind, ())
    return {
        name: value
        for name in allowed
        if isinstance(value := ask.options.get(name), (int, float)) and not isinstance(value, bool)
    }


def model_of(name: str) -> str:
    """Return what a model is called; without one it is the plugin that reads text."""
    return name or TEXT_READER


def text_of(drafts: Sequence[Draft]) -> str:
    """Return what annotations say in words."""
    return "\n".join(draft.text for draft in drafts if draft.text)


def data_of(kind: str, draft: Draft) -> dict[str, Any] | None:
    """Return an annotation's structured data as ``Reply.data`` has it."""
    if kind == "age":
        return _age(draft)
    if kind in ("tag", "phrases"):
        return {"tags": [{"name": tag.name, "confidence": tag.confidence} for tag in draft.tags]}
    if kind == "text":
        return {"lines": draft.data or []}
    return None


def _age(draft: Draft) -> dict[str, Any]:
    if draft.kind == "answer":
        value = (draft.data or {}).get("value")
        is_there = isinstance(value, str) and value != _AGE_GROUPS[-1]
        return {"ageGroup": value if is_there else None, "confidence": draft.confidence if is_there else None}
    return {"ageGroup": draft.text, "confidence": draft.confidence}
