"""A text decoder with its cache, whatever form it was exported in.

Three forms are known: optimum's merged graph, whose input ``use_cache_branch`` says whether there is a
past; a merged graph without it, whose past may be of length 0; and a graph for the first run with
another, ``decoder_with_past``, for the rest. Each may take embeddings instead of tokens, which a graph of
their own gives then. The cache stays where the graphs run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from enrich.errors import ManifestError
from enrich.inference.devices import Device
from enrich.inference.external_data import external_files
from enrich.inference.session import Port, Session, open_session

__all__ = ["Cache", "Decoder"]

_PAST, _PRESENT = "past_key_values.", "present."
#: Keys and values over the encoder's states: made by the first run, and the same in all others.
_OF_STATES = ".encoder."
_STATES, _STATES_MASK = "encoder_hidden_states", "encoder_attention_mask"
_EMBEDS = "inputs_embeds"
_OTHERS = {"input_ids", _EMBEDS, "attention_mask", "position_ids", "use_cache_branch", _STATES, _STATES_MASK}

#: A step of a decoder no larger than this is over before a second thread has got to work: two took a
#: third more CPU and just as long, and kept the other core from the pictures that come next.
_SMALL_BYTES = 16_000_000


@dataclass(frozen=True, slots=True)
class Cache:
    """What a decoder read so far, row by row.

    Parameters
    ----------
    values : mapping of str to OrtValue
        By the decoder's input, the rows on the first axis.
    length : int
        Tokens read, the same in each row.
    rows : int
        How many rows there are.
    states_shape : (int, int)
        (T, D) of the encoder's states of each row.
    """

    values: Mapping[str, Any]
    length: int
    rows: int
    states_shape: tuple[int, ...]

    @property
    def kind(self) -> tuple[int, tuple[int, ...]]:
        """What caches that can be joined have in common: most exported decoders have no mask for the past."""
        return self.length, self.states_shape


class Decoder:
    """Reads tokens in view of an encoder's states and says what may come next.

    Parameters
    ----------
    first, later : Session
        The graph of the first run, and that of all others; one and the same where it is merged.
    words : Session or None
        From tokens to their embeddings, for graphs that take those.

    Raises
    ------
    ManifestError
        The graphs are of another kind. Not retryable.
    """

    def __init__(self, first: Session, later: Session, words: Session | None = None) -> None:
        self._first, self._later, self._words = first, later, words
        self._past = [port for port in later.inputs if port.name.startswith(_PAST)]
        self._later_names = {port.name for port in later.inputs}
        self._dtypes = {port.name: port.dtype for port in (*later.inputs, *first.inputs)}
        self._empty = {port.name: _empty(first, port) for port in self._past}
        self._check()

    @property
    def takes_embeddings(self) -> bool:
        """Whether it takes embeddings instead of tokens."""
        return _EMBEDS in self._dtypes

    @classmethod
    def open(cls, graphs: Mapping[str, Path], device: Device, *, threads: int | None = None) -> Decoder:
        """Load the graphs ``decoder`` and, where there are such, ``decoder_with_past`` and ``embed``.

        Raises
        ------
        ExtraMissing, ManifestError, ProviderError
            As ``Session`` does. Not retryable.
        """
        parts = [part for part in ("decoder", "decoder_with_past", "embed") if part in graphs]
        if threads is None and sum(_size_bytes(graphs[part]) for part in parts) <= _SMALL_BYTES:
            threads = 1
        # Each step has shapes of its own.
        sessions = {
            part: open_session(graphs[part], device, threads=threads, keeps_memory=False) for part in parts
        }
        first = sessions["decoder"]
        return cls(first, sessions.get("decoder_with_past", first), sessions.get("embed"))

    def embed(self, ids: NDArray[np.int64]) -> NDArray[np.floating]:
        """Return the embeddings of tokens: (B, S, D) for (B, S), of a decoder that takes those.

        Raises
        ------
        InferenceError
            The runtime refused the run. Not retryable.
        """
        assert self._words is not None, "checked when it was opened"
        (rows,) = self._words.run({"input_ids": ids}, [self._words.outputs[0].name])
        return rows

    def prefill(
        self, ids: NDArray[np.int64], states: Sequence[NDArray[np.float32]] | NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], Cache]:
        """Read the rows' first tokens.

        Parameters
        ----------
        ids : ndarray
            int64, (B, S).
        states : ndarray
            float32, (B, T, D): the encoder's.

        Returns
        -------
        logits : ndarray
            float32, (B, V), after the last token of each row.
        cache : Cache
            What was read.

        Raises
        ------
        InferenceError
            The runtime refused the run. Not retryable.
        """
        rows, length = ids.shape
        states = np.stack(list(states))
        values = {_STATES: self._first.place(states, self._dtypes[_STATES])}
        if _STATES_MASK in self._dtypes:
            ones = np.ones(states.shape[:2], self._dtypes[_STATES_MASK])
            values[_STATES_MASK] = self._first.place(ones, ones.dtype)
        nothing = {name: np.zeros((rows, *shape), self._dtypes[name]) for name, shape in self._empty.items()}
        logits, present = self._run(self._first, ids, length, {**nothing, **values}, is_first=True)
        kept = {name: value for name, value in values.items() if name in self._later_names}
        return logits, Cache({**kept, **present}, length, rows, states.shape[1:])

    def step(self, tokens: Sequence[int], cache: Cache) -> tuple[NDArray[np.float32], Cache]:
        """Read one token more in each row; returns as ``prefill`` does, and leaves ``cache`` as it is.

        Raises
        ------
        InferenceError
            The runtime refused the run. Not retryable.
        """
        ids = np.asarray(tokens, np.int64)[:, None]
        length = cache.length + 1
        logits, present = self._run(self._later, ids, length, cache.values, is_first=False)
        return logits, Cache({**cache.values, **present}, length, cache.rows, cache.states_shape)

    def take(self, cache: Cache, rows: Sequence[int]) -> Cache:
        """Return a cache of these rows, in this order; a row may be taken several times."""
        rows = list(rows)
        if rows == list(range(cache.rows)):
            return cache
        values = {
            name: self._later.place(value.numpy()[rows], self._dtypes[name])
            for name, value in cache.values.items()
        }
        return Cache(values, cache.length, len(rows), cache.states_shape)

    def join(self, caches: Sequence[Cache]) -> Cache:
        """Return the rows of several caches of one length and one shape of states as one."""
        values = {
            name: self._later.place(
                np.concatenate([cache.values[name].numpy() for cache in caches]), self._dtypes[name]
            )
            for name in caches[0].values
        }
        rows = sum(cache.rows for cache in caches)
        return Cache(values, caches[0].length, rows, caches[0].states_shape)

    def _run(
        self,
        session: Session,
        ids: NDArray[np.int64],
        length: int,
        values: Mapping[str, Any],
        *,
        is_first: bool,
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        feeds = {
            "input_ids": ids,
            "attention_mask": np.ones((len(ids), length), np.int64),
            "position_ids": np.tile(np.arange(length - ids.shape[1], length), (len(ids), 1)),
            "use_cache_branch": np.asarray([not is_first]),
            **values,
        }
        if self.takes_embeddings:
            feeds[_EMBEDS] = self.embed(ids)
        kept = {name: _present(name) for name in self._empty if is_first or _OF_STATES not in name}
        bound = session.run_bound(feeds, ["logits"], list(kept.values()))
        logits = bound.arrays[0][:, -1].astype(np.float32)
        return logits, {name: bound.kept[present] for name, present in kept.items()}

    def _check(self) -> None:
        given = {port.name for port in self._first.outputs} & {port.name for port in self._later.outputs}
        wanted = {"logits", *(_present(name) for name in self._empty if _OF_STATES not in name)}
        strange = sorted(set(self._dtypes) - _OTHERS - set(self._empty))
        if not self._past or not wanted <= given or _STATES not in self._dtypes or strange:
            raise ManifestError(
                f"{self._first.graph}: is no decoder with a cache as optimum exports it (the task "
                f"image-to-text-with-past): it takes {', '.join(sorted(self._dtypes))}"
            )
        if self.takes_embeddings and self._words is None:
            raise ManifestError(
                f"{self._first.graph}: it takes {_EMBEDS}, and there is no embed_tokens.onnx that makes them"
            )
        if any(port.shape[:1] != (None,) for port in self._past):
            raise ManifestError(f"{self._later.graph}: its batch is fixed; export it with a symbolic batch")


def _size_bytes(graph: Path) -> int:
    return sum(path.stat().st_size for path in (graph, *external_files(graph)))


def _present(past: str) -> str:
    return _PRESENT + past.removeprefix(_PAST)


def _empty(first: Session, port: Port) -> tuple[int, int, int]:
    """Return the shape of a row's past of no tokens: heads, 0, the width of a head."""
    heads, width = (port.shape[1], port.shape[3]) if len(port.shape) == 4 else (None, None)
    if heads is None or width is None:
        raise ManifestError(
            f"{first.graph}: its input {port.name} does not say how many heads of which width it has; "
            "export it again with both fixed"
        )
    return heads, 0, width
