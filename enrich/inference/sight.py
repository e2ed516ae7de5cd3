"""How a vision-language architecture looks at pictures: one module implements this for each."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import PIL.Image
from numpy.typing import NDArray

if TYPE_CHECKING:
    from enrich.inference.devices import Device
    from enrich.inference.scheduler import Stats
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
    #: The longest edge of a picture that it makes use of, px.
    size_px: int

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

    @property
    @abc.abstractmethod
    def provider(self) -> str:
        """The execution provider in use, as ONNX Runtime names it."""

    @property
    @abc.abstractmethod
    def stats(self) -> Stats:
        """What the scheduler did so far."""

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

    @abc.abstractmethod
    def close(self) -> None:
        """Finish what waits; later calls are refused."""
