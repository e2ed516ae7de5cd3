"""The words a model is asked with: its manifest's templates, languages and budgets."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from enrich.errors import UsageError
from enrich.inference.manifest import Manifest

__all__ = ["Prompt", "Prompting"]

#: Tokens that are enough for what was asked, unless the manifest says otherwise.
_BUDGETS = {"short": 24, "normal": 48, "long": 96, "alt_text": 40, "answer": 16}
_LENGTHS = ("short", "normal", "long", "alt_text")


class Prompt(str):
    """A prompt that knows what it asks for, and so how long the text may be.

    Parameters
    ----------
    text : str
        The prompt.
    purpose : {"short", "normal", "long", "alt_text", "answer"}
        The caption's length, or an answer.
    """

    __slots__ = ("purpose",)

    purpose: str

    def __new__(cls, text: str, purpose: str) -> Prompt:
        """Make a string of it."""
        prompt = super().__new__(cls, text)
        prompt.purpose = purpose
        return prompt


class Prompting:
    """How one model is asked.

    Parameters
    ----------
    name : str
        The model's, for messages.
    manifest : Manifest
        Its templates and budgets.
    languages : sequence of str
        What it can be asked for (BCP 47); the first is its default.
    hooks : sequence of str
        The work hooks it can serve.
    budgets : mapping of str to int
        How many tokens a caption of each length, and an answer, may have where the manifest says nothing.
    """

    def __init__(
        self,
        name: str,
        manifest: Manifest,
        languages: Sequence[str],
        hooks: Sequence[str],
        budgets: Mapping[str, int] = _BUDGETS,
    ) -> None:
        self._name = name
        self._templates = manifest.prompts
        self._languages = tuple(languages)
        self._hooks = frozenset(hooks)
        self._budgets = {**budgets, **{str(key): count for key, count in manifest.max_tokens.items()}}

    def caption(self, length: str | None, language: str | None) -> Prompt:
        """Return the prompt that asks for a caption.

        Raises
        ------
        UsageError
            The model writes no captions, or does not know this language or length. Not retryable.
        """
        self._check_captions()
        length = "normal" if length is None else length
        said = self._templates.caption
        templates: dict[str, str] = (
            {str(key): text for key, text in said.items()}
            if isinstance(said, dict)
            else dict.fromkeys(_LENGTHS, said or "")
        )
        if length not in templates:
            raise self._unknown_length(length, templates)
        language = self._language(language)
        return Prompt(templates[length].format(language=language, length=length), length)

    def answer(self, question: str, language: str | None) -> Prompt:
        """Return the prompt that asks a question.

        Raises
        ------
        UsageError
            The model answers no questions, or not in this language; or the question is empty. Not
            retryable.
        """
        if "enrich_answer" not in self._hooks:
            raise UsageError(
                f"the model {self._name} answers no questions; `enrich models list` shows which models do"
            )
        question = question.strip()
        if not question:
            raise UsageError("the question is empty")
        template = self._templates.answer or "{question}"
        return Prompt(template.format(question=question, language=self._language(language)), "answer")

    def budget(self, prompt: str) -> int:
        """Return how many tokens a prompt's text may have; one in other words is asked as a caption."""
        return self._budgets[prompt.purpose if isinstance(prompt, Prompt) else "normal"]

    def _check_captions(self) -> None:
        if "enrich_caption" not in self._hooks:
            raise UsageError(f"the model {self._name} writes no captions; it answers questions")

    def _unknown_length(self, length: str, known: Collection[str]) -> UsageError:
        names = ", ".join(one for one in _LENGTHS if one in known)
        return UsageError(f'the model {self._name} knows no length "{length}"; known: {names}')

    def _language(self, language: str | None) -> str:
        """Return the language that the model knows this one by.

        Source: the lookup of RFC 4647, section 3.4: subtags are left out from the end.
        """
        if language is None:
            return self._languages[0]
        known = {one.lower(): one for one in self._languages}
        subtags = language.lower().replace("_", "-").split("-")
        for count in range(len(subtags), 0, -1):
            found = known.get("-".join(subtags[:count]))
            if found is not None:
                return found
        raise UsageError(
            f'the model {self._name} does not know the language "{language}"; known: '
            f"{', '.join(self._languages)}"
        )
