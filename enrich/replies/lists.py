"""Replies that list things: commas, lines, bullets, numbers or a JSON list, as models write them."""

from __future__ import annotations

import re

from enrich.replies.words import same_words

__all__ = ["read_list"]

#: Between things; a comma in a number stays where it is.
_BETWEEN = re.compile(r"[;、；\n•]|[,，](?!\d{3}\b)|\s(?=#\w)")
_FENCE = re.compile(r"```\w*")
_BULLET = re.compile(r"^\s*(?:[-*•·–]+|\(?\d{1,3}[.):])\s+")
_HEAD = re.compile(r"^[^,;\n、，；]{0,60}:\s*")
_FRAME = " \t\r\"'`“”‘’«»「」[](){}*_#.。!?"
#: What is longer is a sentence and no keyword.
_MAX_WORDS, _MAX_LENGTH = 4, 40
#: That there is nothing to list.
_NOTHING = frozenset({"none", "nothing", "n a", "null", "no keywords", "no tags"})
_AND = re.compile(r"^(?:and|or|und|et|y)\s+", re.IGNORECASE)


def read_list(reply: str, *, is_cut: bool = False) -> list[str]:
    """Return the things that a reply lists, each once, in its order; sentences are left out.

    Parameters
    ----------
    reply : str
        The model's words.
    is_cut : bool
        The budget ended it: the last thing may be half of one, and is left out.
    """
    parts = _BETWEEN.split(_HEAD.sub("", _FENCE.sub("", reply).strip()))
    if is_cut and len(parts) > 1:
        del parts[-1]
    things: dict[str, str] = {}
    for part in parts:
        thing = " ".join(_AND.sub("", _BULLET.sub("", part).strip(_FRAME)).strip(_FRAME).split())
        if thing.count("(") > thing.count(")"):
            thing += ")"  # it was a bracket of its own
        words = same_words(thing)
        if words and len(thing) <= _MAX_LENGTH and len(thing.split()) <= _MAX_WORDS:
            things.setdefault(words, thing)
    return [] if things.keys() <= _NOTHING else list(things.values())
