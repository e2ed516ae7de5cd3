"""The texts of a dual encoder: made to tokens as the model wants them, placed in batches, remembered."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from enrich.errors import InferenceError
from enrich.inference.batches import decompose

__all__ = ["Reader", "TextInput", "unit"]

#: Token ids and attention mask, both int64, (B, L); gives (B, D).
Place = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float32]]

#: Texts that came alone or in small groups: searches, questions, a few labels.
_TEXTS_KEPT = 4096
#: From here on a list is a vocabulary, and kept whole, so that it never pushes out itself.
_VOCABULARY_TEXTS = 256
#: 20,000 words of 1,024 dimensions are 82 MB.
_VOCABULARIES_BYTES = 256 * 2**20


@dataclass(frozen=True, slots=True)
class TextInput:
    """What a text encoder reads.

    Parameters
    ----------
    encode : callable
        From a text to its token ids with start and end, at most the last of ``lengths``.
    pad_id : int
        What shorter texts are filled up with.
    lengths : tuple of int
        The lengths texts are filled up to, ascending: every new shape costs a runtime memory for good.
    pads_count : bool
        Whether the model looks at what was filled up (SigLIP does, CLIP does not).
    """

    encode: Callable[[str], list[int]]
    pad_id: int
    lengths: tuple[int, ...]
    pads_count: bool

    def batch(self, rows: Sequence[Sequence[int]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Fill token ids up to one length.

        Returns
        -------
        ids, mask : ndarray
            int64, (B, L); the mask is 1 where the model shall look.
        """
        length = self.length(max(map(len, rows)))
        ids = np.full((len(rows), length), self.pad_id, np.int64)
        mask = np.full((len(rows), length), self.pads_count, np.int64)
        for index, row in enumerate(rows):
            ids[index, : len(row)] = row
            mask[index, : len(row)] = 1
        return ids, mask

    def length(self, count: int) -> int:
        """Return what ``count`` tokens are filled up to."""
        return next(length for length in self.lengths if length >= count)


class Reader:
    """Places texts in a model's space, each once.

    Parameters
    ----------
    text_input : TextInput
        How the model reads.
    place : callable
        Runs the text encoder on one batch.
    buckets : sequence of int
        The batch sizes, ascending, from 1.
    name : str
        The model's name, for messages.
    texts_kept : int
        How many single texts are remembered.
    vocabularies_bytes : int
        How much memory whole vocabularies may take; the last one is kept in any case.
    """

    def __init__(
        self,
        text_input: TextInput,
        place: Place,
        buckets: Sequence[int],
        *,
        name: str,
        texts_kept: int = _TEXTS_KEPT,
        vocabularies_bytes: int = _VOCABULARIES_BYTES,
    ) -> None:
        self._input = text_input
        self._place = place
        self._buckets = tuple(buckets)
        self._name = name
        self._texts_kept = texts_kept
        self._vocabularies_bytes = vocabularies_bytes
        # Held while a vocabulary is placed: whoever else wants it waits and finds it. Others' few texts
        # do not wait for it.
        self._vocabularies_lock = threading.Lock()
        self._texts_lock = threading.Lock()
        self._texts: OrderedDict[str, NDArray[np.float32]] = OrderedDict()
        self._vocabularies: OrderedDict[tuple[str, ...], NDArray[np.float32]] = OrderedDict()

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Place texts.

        Returns
        -------
        ndarray
            float32, (N, D), rows of unit length, aligned with ``texts``; read-only.

        Raises
        ------
        InferenceError
            The runtime refused them, or a vector is not finite. Not retryable.
        """
        key = tuple(texts)
        if len(key) < _VOCABULARY_TEXTS:
            return self._few(key)
        with self._vocabularies_lock:
            matrix = self._vocabularies.get(key)
            if matrix is None:
                matrix = self._many(key)
                self._vocabularies[key] = matrix
                self._forget()
            self._vocabularies.move_to_end(key)
            return matrix

    def _few(self, texts: tuple[str, ...]) -> NDArray[np.float32]:
        with self._texts_lock:
            found = {text: self._texts[text] for text in texts if text in self._texts}
        missing = [text for text in dict.fromkeys(texts) if text not in found]
        if missing:
            # Copied: a row would keep the whole batch alive.
            rows = (row.copy() for row in self._run(missing))
            found |= dict(zip(missing, rows, strict=True))
        with self._texts_lock:
            for text, row in found.items():
                self._texts[text] = row
                self._texts.move_to_end(text)
            while len(self._texts) > self._texts_kept:
                self._texts.popitem(last=False)
        return _frozen(np.stack([found[text] for text in texts]))

    def _many(self, texts: tuple[str, ...]) -> NDArray[np.float32]:
        places = {text: index for index, text in enumerate(dict.fromkeys(texts))}
        rows = self._run(list(places))
        if len(places) < len(texts):
            rows = rows[[places[text] for text in texts]]
        return _frozen(rows)

    def _run(self, texts: Sequence[str]) -> NDArray[np.float32]:
        tokens = [self._input.encode(text) for text in texts]
        # By length, so that a batch of short ones is not filled up for a long one.
        order = sorted(range(len(texts)), key=lambda index: len(tokens[index]))
        groups: dict[int, list[int]] = {}
        for index in order:
            groups.setdefault(self._input.length(len(tokens[index])), []).append(index)
        vectors: NDArray[np.float32] | None = None
        for group in groups.values():
            for size in decompose(len(group), self._buckets):
                part, group = group[:size], group[size:]
                placed = unit(self._name, self._place(*self._input.batch([tokens[one] for one in part])))
                if vectors is None:
                    vectors = np.empty((len(texts), placed.shape[1]), np.float32)
                vectors[part] = placed
        assert vectors is not None, "called with at least one text"
        return vectors

    def _forget(self) -> None:
        while (
            len(self._vocabularies) > 1
            and sum(matrix.nbytes for matrix in self._vocabularies.values()) > self._vocabularies_bytes
        ):
            self._vocabularies.popitem(last=False)


def unit(name: str, vectors: NDArray[Any]) -> NDArray[np.float32]:
    """Scale vectors to unit length.

    Parameters
    ----------
    name : str
        The model's, for the message.
    vectors : ndarray
        (N, D).

    Raises
    ------
    InferenceError
        One is not finite, or of length 0. Not retryable.
    """
    lengths = np.linalg.norm(vectors.astype(np.float32), axis=1, keepdims=True)
    if not (np.isfinite(lengths) & (lengths > 0)).all():
        raise InferenceError(f"{name}: an embedding is not finite, or of length 0")
    return np.asarray(vectors / lengths, np.float32)


def _frozen(array: NDArray[np.float32]) -> NDArray[np.float32]:
    array.setflags(write=False)
    return array
