"""What all models have that write: words to ask them with, and a scheduler of their texts."""

from __future__ import annotations

from enrich.inference.generator import Generator
from enrich.inference.handle import Model
from enrich.inference.prompting import Prompt, Prompting
from enrich.inference.scheduler import Stats

__all__ = ["Writer"]


class Writer(Model):
    """A model that writes about pictures, from any thread."""

    #: The words it is asked with.
    _prompting: Prompting
    _generator: Generator

    @property
    def writer_stats(self) -> Stats:
        """What the scheduler of its texts did so far: runs of the decoder by their rows."""
        return self._generator.stats

    def caption_prompt(self, length: str | None, language: str | None) -> Prompt:
        """Return the prompt that asks for a caption; the length's budget goes with it.

        Parameters
        ----------
        length : {"short", "normal", "long", "alt_text"} or None
            None: normal.
        language : str or None
            BCP 47; a region or script that the model does not know is left out. None: its first.

        Raises
        ------
        UsageError
            The model writes no captions, or does not know this language or length. Not retryable.
        """
        return self._prompting.caption(length, language)

    def answer_prompt(self, question: str, language: str | None) -> Prompt:
        """Return the prompt that asks a question; the budget of an answer goes with it.

        Raises
        ------
        UsageError
            The model answers no questions, or not in this language; or the question is empty. Not
            retryable.
        """
        return self._prompting.answer(question, language)
