"""Words without what does not tell them apart: case, accents, articles, punctuation."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["listed", "plain", "same_words"]


def listed(text: str) -> list[str]:
    """Return the words of a table that is written as prose."""
    return text.split()


#: Of English, French, German and Spanish; Chinese, Japanese and Korean have none.
_ARTICLES = frozenset(
    listed(
        "a an the le la les l un une des du der die das den dem ein eine einen einem einer "
        "el los las lo una unos unas"
    )
)

_ACCENTS = re.compile("[\u0300-\u036f]")
_NO_WORD = re.compile(r"[^\w]+")


def plain(text: str) -> str:
    """Return a text folded to lower case without accents, in the width that is usual."""
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
    # Latin accents only: what makes other Japanese letters of them stays.
    return unicodedata.normalize("NFC", _ACCENTS.sub("", folded))


def same_words(text: str) -> str:
    """Return what two texts have in common that say the same in other spelling.

    Case, accents, width, punctuation and articles in front do not count; a text of nothing but
    articles keeps its last.
    """
    words = _NO_WORD.sub(" ", plain(text)).replace("_", " ").split()
    first = next((place for place, word in enumerate(words) if word not in _ARTICLES), len(words) - 1)
    return " ".join(words[max(first, 0) :])
