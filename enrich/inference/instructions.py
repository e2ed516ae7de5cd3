"""The words that a model which follows instructions is asked with: what to say, how much, in what language.

They are English, which all of these models were taught best; what they answer in is asked for by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from enrich.inference.manifest import Manifest
from enrich.inference.prompting import Prompt, Prompting

__all__ = ["TALK_TOKENS", "Instructions"]

#: Tokens that are enough for what was asked: these models end by themselves, and German takes more than
#: English.
_BUDGETS = {"short": 64, "normal": 160, "long": 512, "alt_text": 96, "answer": 256}
#: The same for a conversation in somebody's own words.
TALK_TOKENS = 512

_CAPTIONS = {
    "short": "Describe this image in one short sentence.",
    "normal": "Describe this image in two sentences: what it shows, and where.",
    "long": "Describe this image in detail: the objects and people in it, the scene, the composition and the "
    "style.",
    "alt_text": "Write an alternative text for this image, for people who cannot see it: one plain sentence "
    "of at most 125 characters that says what matters, without saying that it is an image.",
}

#: What languages are called in an English sentence; others are asked for by their tag.
_NAMES: Mapping[str, str] = {
    "ar": "Arabic", "bg": "Bulgarian", "bn": "Bengali", "ca": "Catalan", "cs": "Czech", "da": "Danish",
    "de": "German", "el": "Greek", "en": "English", "es": "Spanish", "et": "Estonian", "fa": "Persian",
    "fi": "Finnish", "fr": "French", "he": "Hebrew", "hi": "Hindi", "hr": "Croatian", "hu": "Hungarian",
    "id": "Indonesian", "it": "Italian", "ja": "Japanese", "ko": "Korean", "lt": "Lithuanian",
    "lv": "Latvian", "ms": "Malay", "nb": "Norwegian", "nl": "Dutch", "no": "Norwegian", "pl": "Polish",
    "pt": "Portuguese", "ro": "Romanian", "ru": "Russian", "sk": "Slovak", "sl": "Slovenian",
    "sr": "Serbian", "sv": "Swedish", "ta": "Tamil", "th": "Thai", "tr": "Turkish", "uk": "Ukrainian",
    "ur": "Urdu", "vi": "Vietnamese", "zh": "Chinese", "zh-hans": "Simplified Chinese",
    "zh-hant": "Traditional Chinese",
}  # fmt: skip


class Instructions(Prompting):
    """How a model is asked that does what it is told; its manifest's templates go before these words.

    Parameters
    ----------
    name, manifest, languages, hooks
        As for ``Prompting``.
    """

    def __init__(self, name: str, manifest: Manifest, languages: Sequence[str], hooks: Sequence[str]) -> None:
        super().__init__(name, manifest, languages, hooks, _BUDGETS)
        self._has_captions = manifest.prompts.caption is not None
        self._has_answers = manifest.prompts.answer is not None

    def caption(self, length: str | None, language: str | None) -> Prompt:
        """Return the instruction to write a caption; see ``Prompting.caption``.

        Raises
        ------
        UsageError
            As there. Not retryable.
        """
        if self._has_captions:
            return super().caption(length, language)
        self._check_captions()
        length = "normal" if length is None else length
        if length not in _CAPTIONS:
            raise self._unknown_length(length, _CAPTIONS)
        tongue = self._language(language)
        # Asked in English, it answers in English.
        end = "" if tongue.lower().split("-")[0] == "en" else f" Write it in {_name(tongue)}."
        return Prompt(_CAPTIONS[length] + end, length)

    def answer(self, question: str, language: str | None) -> Prompt:
        """Return a question, and what it shall be answered in; see ``Prompting.answer``.

        Without a language nothing is said about it: questions are answered in their own.

        Raises
        ------
        UsageError
            As there. Not retryable.
        """
        asked = super().answer(question, language)
        if self._has_answers or language is None:
            return asked
        return Prompt(f"{asked} Answer in {_name(self._language(language))}.", asked.purpose)


def _name(language: str) -> str:
    tag = language.lower().replace("_", "-")
    found = _NAMES.get(tag) or _NAMES.get(tag.split("-")[0])
    return found or f"the language {language}"
