"""Whether a text is in the language that was asked for.

Scripts tell Chinese, Japanese and Korean apart, and all of them from the others; the languages that are
written in Latin letters are told apart by py3langid, which is loaded when the first text is judged; where
it is not installed, they are all alike.
"""

from __future__ import annotations

import threading
import unicodedata
from collections import Counter
from collections.abc import Mapping
from typing import Any

__all__ = ["INSTRUCTIONS", "LANGUAGES", "Languages"]

#: What can be asked for.
LANGUAGES = ("en", "zh", "fr", "de", "es", "ja", "ko")

#: How a model is told once more, where it was asked in words.
INSTRUCTIONS: Mapping[str, str] = {
    "en": "Answer in English.",
    "zh": "请用中文回答。",
    "fr": "Réponds en français.",
    "de": "Antworte auf Deutsch.",
    "es": "Responde en español.",
    "ja": "日本語で答えてください。",
    "ko": "한국어로 대답해 주세요.",
}

# Fewer letters may be a name, or a word that is the same elsewhere; a Han character says a word's worth.
_MIN_LETTERS = {"latin": 20, "han": 4, "kana": 4, "hangul": 4}
_MIN_WORDS = 4
# Japanese without a kana in so many characters would be a headline.
_MIN_JAPANESE = 10
# What a text in Latin letters may be mistaken for; more would only add mistakes.
_CANDIDATES = ("de", "en", "es", "fr", "it", "nl", "pt")
# Below it a text is not in that language; it leaves doubtful ones alone.
_MIN_PROBABILITY = 0.02
# So much of a text in another script is more than a quoted name.
_MAX_FOREIGN_SHARE = 0.5

_SCRIPTS: Mapping[str, str] = {
    "LATIN": "latin",
    "CJK": "han",
    "HIRAGANA": "kana",
    "KATAKANA": "kana",
    "HANGUL": "hangul",
}
_OWN = {"zh": {"han"}, "ja": {"han", "kana"}, "ko": {"hangul", "han"}}


class Languages:
    """Judges texts, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._identifier: Any = None

    def fits(self, text: str, language: str) -> bool:
        """Tell whether a text may be in a language; a short one, or an unknown language, always may.

        Parameters
        ----------
        text : str
            What was said.
        language : str
            BCP 47; only the language itself is looked at.
        """
        wanted = language.lower().replace("_", "-").split("-")[0]
        if wanted not in LANGUAGES:
            return True
        counted = _scripts(text)
        own = _OWN.get(wanted, {"latin"})
        letters = counted.total()
        if not any(counted[script] >= least for script, least in _MIN_LETTERS.items()):
            return True
        if sum(counted[script] for script in own) < (1 - _MAX_FOREIGN_SHARE) * letters:
            return False
        if own == {"latin"}:
            return self._fits_latin(text, wanted)
        if wanted == "ja":
            return counted["kana"] > 0 or letters < _MIN_JAPANESE
        return counted["hangul"] > 0 if wanted == "ko" else counted["kana"] + counted["hangul"] == 0

    def _fits_latin(self, text: str, wanted: str) -> bool:
        if len(text.split()) < _MIN_WORDS:
            return True
        identifier = self._loaded()
        if identifier is None:
            return True
        probabilities = dict(identifier.rank(text))
        return bool(probabilities[wanted] >= _MIN_PROBABILITY)

    def _loaded(self) -> Any:
        with self._lock:
            if self._identifier is None:
                try:
                    from py3langid.langid import MODEL_FILE, LanguageIdentifier
                except ImportError:
                    return None
                identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
                identifier.set_languages(_CANDIDATES)
                self._identifier = identifier
            return self._identifier


def _scripts(text: str) -> Counter[str]:
    """Count a text's letters by script."""
    counted: Counter[str] = Counter()
    for character in text:
        if character.isalpha():
            first = unicodedata.name(character, "").partition(" ")[0]
            counted[_SCRIPTS.get(first, "other")] += 1
    return counted
