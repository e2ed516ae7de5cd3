"""The JSON object in a reply, mended where a model writes it as people do: fences, quotes, commas, no end."""

from __future__ import annotations

import json
import re
from typing import Any

__all__ = ["read_object"]

_SPACE = re.compile(r"(?:\s|//[^\n]*)*")
_BARE = re.compile(r"[^\s,:{}\[\]\"'][^,:{}\[\]\n]*")
_BARE_KEY = re.compile(r"[^\s,:{}\[\]\"'][^:{}\[\]\n]*")
#: The quotation mark that ends what each of them begins.
_QUOTES = {'"': '"', "'": "'", "“": "”", "‘": "’", "`": "`"}
#: A quotation mark within a text is none at its end: after the end comes one of these, or another key.
_AFTER = re.compile(r"""\s*(?:[,:}\]]|$|["'“][^"'”:\n]{1,100}["'”]\s*:)""")
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_WORDS = {"true": True, "false": False, "null": None, "none": None, "undefined": None}
#: What is nested deeper, and what is longer, was not asked for.
_DEPTH_MAX, _LENGTH_MAX = 8, 100_000


def read_object(reply: str) -> dict[str, Any] | None:
    """Return the first JSON object in a reply; None where there is none.

    Text and fences around it, comments, single and curly quotation marks, keys and words without any,
    commas that are missing or too many, and an end that the budget cut are mended; of what was cut, a
    number or word is left out, for it may be half of one.
    """
    start = reply.find("{")
    if start < 0:
        return None
    try:
        value, _ = json.JSONDecoder().raw_decode(reply, start)
    except (ValueError, RecursionError):
        value = _Mending(reply[start : start + _LENGTH_MAX]).object(0)
    return value if isinstance(value, dict) else None


class _Cut(Exception):
    """The text ends within a value; what of it may be kept is its argument, if anything."""


class _Mending:
    """Reads one object from a text that begins with it."""

    def __init__(self, text: str) -> None:
        self._text, self._place = text, 0

    def object(self, depth: int) -> dict[str, Any]:
        """Read from ``{`` to ``}``, or to the end of the text."""
        found: dict[str, Any] = {}
        self._place += 1
        while self._next() not in ("}", ""):
            before = self._place
            key = self._key()
            if self._next() == ":":
                self._place += 1
                try:
                    value = self._value(depth)
                except _Cut as cut:
                    return found | ({key: cut.args[0]} if cut.args and key else {})
                if key:
                    found[key] = value
            if self._place == before:
                self._place += 1  # a stray comma or bracket
        self._place += 1
        return found

    def _list(self, depth: int) -> list[Any]:
        found: list[Any] = []
        self._place += 1
        while self._next() not in ("]", "}", ""):
            before = self._place
            if self._next() not in (",", ":"):
                found.append(self._value(depth))
            if self._place == before:
                self._place += 1
        if self._next() == "]":
            self._place += 1
        return found

    def _value(self, depth: int) -> Any:
        first = self._next()
        if first in ("{", "[") and depth < _DEPTH_MAX:
            return self.object(depth + 1) if first == "{" else self._list(depth + 1)
        if first in _QUOTES:
            return self._quoted(first)
        bare = self._match(_BARE).strip()
        if self._place >= len(self._text):
            raise _Cut
        if bare.lower() in _WORDS:
            return _WORDS[bare.lower()]
        try:
            return json.loads(bare)
        except ValueError:
            return bare or None

    def _key(self) -> str:
        first = self._next()
        if first not in _QUOTES:
            return self._match(_BARE_KEY).strip()
        try:
            return self._quoted(first)
        except _Cut:
            return ""

    def _quoted(self, first: str) -> str:
        start = self._place + 1
        place = start
        while place < len(self._text):
            if self._text[place] == "\\":
                place += 1
            elif self._text[place] == _QUOTES[first] and _AFTER.match(self._text, place + 1):
                self._place = place + 1
                return _unescaped(self._text[start:place])
            place += 1
        self._place = len(self._text)
        raise _Cut(_unescaped(self._text[start:]).rstrip("\\`").rstrip())

    def _next(self) -> str:
        """Return the next character that counts; "" at the end."""
        self._match(_SPACE)
        return self._text[self._place : self._place + 1]

    def _match(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._place)
        if match is None:
            return ""
        self._place = match.end()
        return match[0]


def _unescaped(text: str) -> str:
    # Characters beyond U+FFFF are escaped in halves.
    halves = _ESCAPE.sub(_character, text).encode("utf-16", "surrogatepass")
    return halves.decode("utf-16", "replace")


def _character(match: re.Match[str]) -> str:
    said = match[1]
    if len(said) == 5:
        return chr(int(said[1:], 16))
    return {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}.get(said, said)
