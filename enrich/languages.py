"""Whether a text is in the language that was asked for, and how a model is asked once more where it is not.

Scripts tell Chinese, Japanese and Korean apart, and all of them from the others; the languages that are
written in Latin letters are told apart by py3langid, which is loaded when the first text is judged; where
it is not installed, they are all alike.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import pydantic

from enrich.errors import InferenceError
from enrich.types import Decoding, Generated, ModelHandle, Rendition

__all__ = [
    "INSTRUCTIONS",
    "LANGUAGES",
    "LanguageTag",
    "differently",
    "fits",
    "insisting",
    "may_be_in",
    "write",
]

#: What a language is called. Source: BCP 47, without checking the registry.
LanguageTag = Annotated[str, pydantic.Field(pattern=r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$")]

#: What can be asked for.
LANGUAGES = ("en", "zh", "fr", "de", "es", "ja", "ko")

#: How a model is told once more, where it was asked in the user's words.
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

#: What was read in the picture, and may be in any language.
_QUOTED = re.compile(r'"[^"]*+"|“[^”]*+”|„[^“”]*+[“”]|«[^»]*+»|「[^」]*+」|『[^』]*+』')
#: A model that wrote in another language is asked again with words drawn.
_SECOND_TEMPERATURE = 0.7

_SCRIPTS: Mapping[str, str] = {
    "LATIN": "latin",
    "CJK": "han",
    "HIRAGANA": "kana",
    "KATAKANA": "kana",
    "HANGUL": "hangul",
}
_OWN = {"zh": {"han"}, "ja": {"han", "kana"}, "ko": {"hangul", "han"}}


def fits(text: str, language: str) -> bool:
    """Tell whether a text may be in a language; a short one, or an unknown language, always may.

    Parameters
    ----------
    text : str
        What was said; what stands in quotation marks is not judged.
    language : str
        BCP 47; only the language itself is looked at.
    """
    wanted = language.lower().replace("_", "-").split("-")[0]
    if wanted not in LANGUAGES:
        return True
    text = _QUOTED.sub(" ", text)
    counted = _scripts(text)
    own = _OWN.get(wanted, {"latin"})
    letters = counted.total()
    if not any(counted[script] >= least for script, least in _MIN_LETTERS.items()):
        return True
    if sum(counted[script] for script in own) < (1 - _MAX_FOREIGN_SHARE) * letters:
        return False
    if own == {"latin"}:
        return _fits_latin(text, wanted)
    if wanted == "ja":
        return counted["kana"] > 0 or letters < _MIN_JAPANESE
    return counted["hangul"] > 0 if wanted == "ko" else counted["kana"] + counted["hangul"] == 0


def _fits_latin(text: str, wanted: str) -> bool:
    identifier = _identifier()
    if identifier is None or len(text.split()) < _MIN_WORDS:
        return True
    probabilities = dict(identifier.rank(text))
    return bool(probabilities[wanted] >= _MIN_PROBABILITY)


@functools.cache
def _identifier() -> Any:
    """Return what tells languages in Latin letters apart, loaded once for all; None: it is not installed."""
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ImportError:
        return None
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages(_CANDIDATES)
    return identifier


def write(
    model: ModelHandle,
    renditions: Sequence[Rendition],
    prompts: Sequence[str],
    decoding: Decoding,
    languages: Sequence[str | None],
    insist: Callable[[int], str],
    *,
    deadline: float | None,
) -> list[Generated]:
    """Continue prompts as ``ModelHandle.generate`` does, and once more what is in another language.

    Parameters
    ----------
    model, renditions, prompts, decoding, deadline
        As of ``ModelHandle.generate``.
    languages : sequence of str or None
        What each text shall be in (BCP 47); None: in any.
    insist : callable
        Returns the prompt of an index for the second time.

    Raises
    ------
    UsageError
        A prompt is too long for the model. Not retryable.
    InferenceError
        The model failed, or wrote in another language twice; or the deadline passed. Not retryable.
    """
    written = list(model.generate(renditions, prompts, decoding, deadline=deadline))
    wrong = [i for i, one in enumerate(written) if not may_be_in(languages[i], one.text, model)]
    if not wrong:
        return written
    again = model.generate(
        [renditions[index] for index in wrong],
        [insist(index) for index in wrong],
        differently(decoding),
        deadline=deadline,
    )
    for index, one in zip(wrong, again, strict=True):
        if not may_be_in(languages[index], one.text, model):
            raise InferenceError(
                f"the model {model.name} was asked twice and did not write in the language "
                f"{languages[index]}; ask for another language, take another model, or set check_lang: false"
            )
        written[index] = one
    return written


def may_be_in(language: str | None, text: str, model: ModelHandle) -> bool:
    """Tell whether a model's text may be in a language (BCP 47; None: any of them is right).

    A model that knows a single one is not judged: it was refused where another one was wanted.
    """
    if language is None or len(getattr(model, "languages", ())) < 2:
        return True
    return fits(text, language)


def differently(decoding: Decoding) -> Decoding:
    """Return how words are chosen the second time: drawn, and others than were drawn before."""
    return dataclasses.replace(
        decoding,
        beams=1,
        temperature=decoding.temperature or _SECOND_TEMPERATURE,
        seed=(decoding.seed or 0) + 1,
    )


def insisting(words: str, language: str | None) -> str:
    """Return the user's own words with their language said in them, where we know how."""
    instruction = INSTRUCTIONS.get((language or "").lower().replace("_", "-").split("-")[0])
    return words if instruction is None else f"{words} {instruction}"


def _scripts(text: str) -> Counter[str]:
    """Count a text's letters by script."""
    counted: Counter[str] = Counter()
    for character in text:
        if character.isalpha():
            first = unicodedata.name(character, "").partition(" ")[0]
            counted[_SCRIPTS.get(first, "other")] += 1
    return counted
