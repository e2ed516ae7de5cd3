"""The JSON object in a reply, mended where a model writes it as people do: fences, quotes, commas, no end."""

from __future__ import annotations

import json
import math
import re
from typing import Any

__all__ = ["read_object"]

# All that may repeat is bounded or possessive, so that no text takes more than its length.
_SPACE = re.compile(r"(?:\s++|(?://|#\s)[^\n]*+|/\*.{0,200}?\*/)*+", re.DOTALL)
_COLON = re.compile(r"(?:[:：]|=>?|->)++")
_COMMAS = ",，;；"
_BARE = re.compile(r"[^\s,，;；:：{}\[\]()\"'](?:[^,，;；:：{}\[\]\n]|[:：](?=\S))*+")
_BARE_KEY = re.compile(r"[^\s,，;；:：={}\[\]()\"'][^:：=,，{}\[\]\n]*+")
#: A comma in it is none between two values.
_GROUPED = re.compile(r"-?\d{1,3}(?:,\d{3})++(?=\s*+[,;}\n])")
#: What has an end of its own, where the comma behind it was left out.
_SHORT = re.compile(r"(?:-?\d[\d.]*+|true|false|null|none)(?=\s++[\"'“])", re.IGNORECASE)
#: The quotation mark that ends what each of them begins.
_QUOTES = {'"': '"', "'": "'", "“": "”", "‘": "’", "`": "`"}
#: A quotation mark within a text is none at its end: behind the end comes one of these.
_KEY = r"(?:[\"'“‘`][^\"'”’`:：\n]{1,100}[\"'”’`]|[\w-]{1,64})\s*+(?:[:：]|=)"
_END = rf"\s*+(?:[}}\]]|$|//|/\*|{_KEY}|[{_COMMAS}]\s*+(?:[}}\]/#.…]|$|{_KEY}|%s))"
_AFTER_KEY = re.compile(r"\s*+(?:[:：]|=|->)")
_AFTER_VALUE = re.compile(_END % r"[\"'][^\"'\n]{0,200}[\"']\s*+[,}\]]")
_AFTER_ITEM = re.compile(r"\s*+(?:[\[\](){},，]|$|//|/\*)")
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_HALF = re.compile(r"\\(?:u[0-9a-fA-F]{0,3})?$")
_WORDS = {"true": True, "false": False, "null": None, "none": None, "undefined": None, "nan": None}
#: What is nested deeper, and what is longer, was not asked for.
_DEPTH_MAX, _LENGTH_MAX = 8, 50_000
#: So many braces may stand in the words before the object.
_STARTS_MAX = 8

_DECODER = json.JSONDecoder()


def read_object(reply: str) -> dict[str, Any] | None:
    """Return the first JSON object in a reply that says anything; None where there is none.

    Text and fences around it, comments, single and curly quotation marks, keys and words without any,
    commas that are missing or too many, and an end that the budget cut are mended; of what was cut, a
    number, word or list is left out, for it may be half of one. What JSON has no number for is None, and
    so is what is nested deeper than anything that is asked for.
    """
    found: dict[str, Any] | None = None
    end = 0
    for _ in range(_STARTS_MAX):
        start = reply.find("{", end)
        if start < 0 or found:
            break
        found, end = _read(reply, start)
    return found


def _read(reply: str, start: int) -> tuple[dict[str, Any], int]:
    """Return the object that begins there, and where it ends."""
    try:
        value, end = _DECODER.raw_decode(reply, start)
    except (ValueError, RecursionError):
        mending = _Mending(_unwrapped(reply[start : start + _LENGTH_MAX]))
        value = mending.object(0)
        end = start + mending.place
    cleaned: dict[str, Any] = _cleaned(value)
    return cleaned, end


def _unwrapped(text: str) -> str:
    """Return a text without a second layer of escapes, as it has that is JSON within JSON."""
    return text.replace('\\"', '"') if re.match(r"\{\s*+\\\"", text) else text


def _cleaned(value: Any, depth: int = 0) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return _whole(value)
    if isinstance(value, (dict, list)) and depth > _DEPTH_MAX:
        return None
    if isinstance(value, dict):
        return {_whole(key): _cleaned(one, depth + 1) for key, one in value.items()}
    return [_cleaned(one, depth + 1) for one in value] if isinstance(value, list) else value


class _Cut(Exception):
    """The text ends within a value; what of it may be kept is its argument, if anything."""


class _Mending:
    """Reads one object from a text that begins with it."""

    def __init__(self, text: str) -> None:
        self._text, self.place = text, 0

    def object(self, depth: int) -> dict[str, Any]:
        """Read from ``{`` to ``}``, or to the end of the text."""
        found: dict[str, Any] = {}
        self.place += 1
        while self._next() not in ("}", ""):
            before = self.place
            key = self._key()
            self._next()
            if self._match(_COLON):
                try:
                    value = self._value(depth, _AFTER_VALUE)
                except _Cut as cut:
                    return found | ({key: cut.args[0]} if cut.args and key else {})
                if key:
                    found[key] = value
            if self.place == before:
                self.place += 1  # a stray comma or bracket
        self.place += 1
        return found

    def _list(self, depth: int) -> list[Any]:
        found: list[Any] = []
        self.place += 1
        while (first := self._next()) not in ("]", "}", ""):
            before = self.place
            if first not in _COMMAS and not self._match(_COLON):
                found.append(self._item(depth))
            if self.place == before:
                self.place += 1
        if not first:
            raise _Cut
        if first == "]":
            self.place += 1
        return found

    def _item(self, depth: int) -> Any:
        try:
            return self._value(depth, _AFTER_ITEM)
        except _Cut:
            raise _Cut from None  # half an item is no list

    def _value(self, depth: int, after: re.Pattern[str]) -> Any:
        first = self._next()
        if first in ("{", "["):
            if depth >= _DEPTH_MAX:
                self.place = len(self._text)
                raise _Cut
            return self.object(depth + 1) if first == "{" else self._list(depth + 1)
        if first in _QUOTES:
            return self._quoted(first, after)
        bare = self._match(_GROUPED) if after is _AFTER_VALUE else ""
        bare = bare or self._match(_SHORT) or self._match(_BARE).partition(" //")[0].strip()
        if self.place >= len(self._text):
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
            return self._quoted(first, _AFTER_KEY)
        except _Cut:
            return ""

    def _quoted(self, first: str, after: re.Pattern[str]) -> str:
        start = self.place + 1
        place = start
        while place < len(self._text):
            if self._text[place] == "\\":
                place += 1
            elif self._text[place] == _QUOTES[first] and after.match(self._text, place + 1):
                self.place = place + 1
                return _unescaped(self._text[start:place])
            place += 1
        self.place = len(self._text)
        raise _Cut(_unescaped(_HALF.sub("", self._text[start:])).rstrip("`").rstrip())

    def _next(self) -> str:
        """Return the next character that counts; "" at the end."""
        self._match(_SPACE)
        return self._text[self.place : self.place + 1]

    def _match(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self.place)
        if match is None:
            return ""
        self.place = match.end()
        return match[0]


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(_character, text)


def _character(match: re.Match[str]) -> str:
    said = match[1]
    if len(said) == 5:
        return chr(int(said[1:], 16))
    # What needs none, as in is\\_day; and what is none, as in C:\\Users.
    other = match[0] if said.isalnum() else said
    return {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}.get(said, other)


def _whole(text: str) -> str:
    # Characters beyond U+FFFF are escaped in halves; one without the other is no character.
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
