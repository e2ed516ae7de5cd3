"""How a vision-language architecture looks at pictures: one module implements this for each."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from enrich.errors import ManifestError

if TYPE_CHECKING:
    from enrich.inference.devices import Device
    from enrich.inference.scheduler import Scheduler, Stats
    from enrich.inference.session import Session
    from enrich.inference.stored import StoredModel
    from enrich.inference.text import Tokenizer

__all__ = ["Look", "Sight"]


@dataclass(frozen=True, eq=False, slots=True)
class Look:
    """One picture as the vision graph takes it, and what stands for it in the text.

    Parameters
    ----------
    inputs : mapping of str to ndarray
        Rows by the graph's input.
    text : str
        What stands in the prompt instead of the template's placeholder.
    grid : tuple of int
        The architecture's own facts about it: tiles, or frames, rows and columns of patches.
    """

    inputs: Mapping[str, NDArray[Any]]
    text: str
    grid: tuple[int, ...]


class Sight(abc.ABC):
    """The eyes of one model: its preprocessing, its vision graph, and where pictures stand in the text."""

    #: What the chat template writes where a picture is.
    placeholder: str
    #: The token whose embeddings are replaced by the picture's features.
    image_token: str
    #: What else the text must be able to say around a picture.
    marks: tuple[str, ...] = ()
    #: The longest edge of a picture that it makes use of, px.
    size_px: int
    #: The graph ``vision``, and what merges all callers' pictures for it.
    _session: Session
    _scheduler: Scheduler

    @classmethod
    @abc.abstractmethod
    def open(
        cls, model: StoredModel, tokenizer: Tokenizer, device: Device, *, threads: int | None = None
    ) -> Self:
        """Load the graph ``vision``, look at a blank picture, and start the scheduler.

        Raises
        ------
        ExtraMissing, ManifestError, ProviderError, InferenceError
            It cannot be loaded, or the files are not of one model. Not retryable.
        """

    @classmethod
    def image_token_id(cls, model: StoredModel, tokenizer: Tokenizer) -> int:
        """Return the id of ``image_token``.

        Raises
        ------
        ManifestError
            The tokenizer is not that of such a model, or not of this one. Not retryable.
        """
        missing = [token for token in (cls.image_token, *cls.marks) if tokenizer.token_id(token) is None]
        found = tokenizer.token_id(cls.image_token)
        if missing or found is None:
            raise ManifestError(
                f"{model.folder}: tokenizer.json has no {', '.join(missing)}, which stands for pictures; "
                "copy it from where the weights come from"
            )
        # transformers 4 has the other name for LLaVA's.
        for key in ("image_token_id", "image_token_index"):
            said = model.config.get(key)
            if said not in (None, found):
                raise ManifestError(
                    f"{model.folder}: config.json: {key}: is {said}, and {cls.image_token} of tokenizer.json "
                    f"is {found}: they are not of one model"
                )
        return found

    @property
    def provider(self) -> str:
        """The execution provider in use, as ONNX Runtime names it."""
        return self._session.provider

    @property
    def stats(self) -> Stats:
        """What the scheduler did so far; its items are pictures, or tiles of such."""
        return self._scheduler.stats

    @abc.abstractmethod
    def look(self, picture: PIL.Image.Image) -> Look:
        """Prepare a picture of mode RGB, and say what stands for it in the text."""

    @abc.abstractmethod
    def see(self, looks: Sequence[Look], *, interactive: bool = False) -> list[NDArray[np.float32]]:
        """Return the features of each picture, (T, D): a row for each ``image_token`` of its text.

        Raises
        ------
        InferenceError
            The runtime refused a picture. Not retryable.
        """

    def positions(self, ids: NDArray[np.int64], looks: Sequence[Look]) -> tuple[NDArray[np.int64], int]:
        """Return the positions of a prompt's tokens, and by how much later ones run ahead of their count.

        Parameters
        ----------
        ids : ndarray
            int64, (S,): the whole prompt, with the image tokens.
        looks : sequence of Look
            Its pictures, in the order in which they stand there.

        Returns
        -------
        positions : ndarray
            int64, (S,); or (3, S) where they count time, rows and columns.
        ahead : int
            The token at place n after the prompt has the position n + ahead.
        """
        return np.arange(len(ids)), 0

    def close(self) -> None:
        """Finish what waits; later calls are refused."""
        self._scheduler.close()
