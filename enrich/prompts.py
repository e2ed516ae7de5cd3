"""Prompts in the user's own words, with placeholders for what is known of a picture.

    {file_name}     the name of the file it was read from; empty outside the catalog
    {caption}       the description embedded in it by people or cameras
    {NAME}          what the earlier step NAME said of it
    {NAME.ITEM}     what it answered to its question ITEM
    {steps.NAME}    the same as {NAME}, also for a step whose name stands above
    {{ and }}       braces

What comes out of files and models is text of strangers: it is made one line and cut, and braces in
it mean nothing.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from enrich.types import Rendition, Statement

if TYPE_CHECKING:
    import pydantic
    import pydantic_core

__all__ = ["MAX_PROMPT", "MAX_VALUE", "PromptTemplate", "one_line"]

#: The most characters of a prompt, and of what one placeholder is filled with.
MAX_PROMPT = 4000
MAX_VALUE = 400

_PARTS = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_NAME = re.compile(r"(?:steps\.)?([A-Za-z0-9_-]+)(?:\.([A-Za-z0-9_-]+))?")
# Joiners are part of words and of emoji; other format characters can turn a text's direction round.
_JOINERS = "\u200c\u200d"


class PromptTemplate(str):
    """A prompt with placeholders; as the type of an option it is checked when the step starts.

    Raises
    ------
    ValueError
        A brace is open, a placeholder is no name, or the text is empty or over ``MAX_PROMPT``.
    """

    __slots__ = ("_names",)

    _names: tuple[str, ...]

    def __new__(cls, text: str) -> PromptTemplate:
        """Check the text and make a template of it."""
        if not text.strip():
            raise ValueError("the text is empty")
        if len(text) > MAX_PROMPT:
            raise ValueError(f"the text has {len(text)} characters; at most {MAX_PROMPT} are allowed")
        names = []
        for match in _PARTS.finditer(text):
            if match[0] in ("{", "}"):
                raise ValueError(f"a single {match[0]!r}; a brace in the text is written twice")
            if match[1] is not None:
                if not _NAME.fullmatch(match[1]):
                    raise ValueError(f"{match[0]} is no placeholder; a brace in the text is written twice")
                names.append(match[1])
        template = super().__new__(cls, text)
        template._names = tuple(dict.fromkeys(names))
        return template

    @classmethod
    def quoting(cls, text: str) -> PromptTemplate:
        """Return a template that says ``text`` and has no placeholders."""
        return cls(text.replace("{", "{{").replace("}", "}}"))

    @property
    def names(self) -> tuple[str, ...]:
        """The placeholders, each once, without braces."""
        return self._names

    def check(self, earlier: Mapping[str, Sequence[str] | None]) -> None:
        """Check that each placeholder can be filled.

        Parameters
        ----------
        earlier : mapping
            By step, the names of its questions, empty for a step that has none; None for a step
            that says nothing in words.

        Raises
        ------
        ValueError
            One cannot; the message names it.
        """
        for name in self._names:
            if name in _FACTS:
                continue
            step, item = _place(name)
            if step not in earlier:
                known = ", ".join([*_FACTS, *(f"steps.{one}" if one in _FACTS else one for one in earlier)])
                raise ValueError(f"{{{name}}} is no earlier step; there are: {known}")
            items = earlier[step]
            if items is None:
                raise ValueError(f"{{{name}}}: the step {step} says nothing in words")
            if item is not None and item not in items:
                raise ValueError(
                    f"{{{name}}}: the step {step} has no question {item}; "
                    f"it has: {', '.join(items) or 'none'}"
                )

    def fill(self, rendition: Rendition, statements: Sequence[Statement]) -> str:
        """Return the prompt for one rendition; what is not known of it is empty."""

        def filled(match: re.Match[str]) -> str:
            name = match[1]
            if name is None:
                return match[0][0]
            fact = _FACTS.get(name)
            return one_line(fact(rendition) if fact else _said(name, statements))

        return _PARTS.sub(filled, self)

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: Any, handler: pydantic.GetCoreSchemaHandler
    ) -> pydantic_core.CoreSchema:
        """Let pydantic make templates of strings."""
        from pydantic_core import core_schema

        return core_schema.no_info_after_validator_function(cls, core_schema.str_schema())


def one_line(text: str) -> str:
    """Return a stranger's text as one short line (``MAX_VALUE``) without control characters."""
    kept = []
    for character in text[: 8 * MAX_VALUE]:
        category = unicodedata.category(character)
        if category == "Cf" and character not in _JOINERS:
            continue
        kept.append(" " if category in ("Cc", "Cn", "Co", "Cs", "Zl", "Zp") else character)
    return " ".join("".join(kept).split())[:MAX_VALUE].rstrip()


def _place(name: str) -> tuple[str, str | None]:
    match = _NAME.fullmatch(name)
    assert match is not None  # checked when the template was made
    return match[1], match[2]


def _said(name: str, statements: Sequence[Statement]) -> str:
    step, item = _place(name)
    texts = [
        said.text for said in statements if said.step == step and item in (None, said.item) and said.text
    ]
    return ", ".join(texts)


def _file_name(rendition: Rendition) -> str:
    return rendition.path.name if rendition.path is not None else ""


def _caption(rendition: Rendition) -> str:
    description = rendition.embedded.get("description")
    return description if isinstance(description, str) else ""


_FACTS: Mapping[str, Callable[[Rendition], str]] = {"file_name": _file_name, "caption": _caption}
