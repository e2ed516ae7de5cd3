"""The graph of a joint decoder: from embeddings and a past to what may come next, and a longer past.

It is the hub's ``decoder_model_merged``; the past is of length 0 in the first run. What was read stays where
the graph runs.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from enrich.errors import ManifestError
from enrich.inference.joint_cache import JointCache, padded
from enrich.inference.session import Session

__all__ = ["JointGraph"]

_PAST, _PRESENT = "past_key_values.", "present."
_EMBEDDINGS, _MASK, _POSITIONS, _LOGITS = "inputs_embeds", "attention_mask", "position_ids", "logits"
#: Some graphs give logits for the last tokens only, and want to be told for how many.
_KEPT = "num_logits_to_keep"


class JointGraph:
    """Runs the graph, and keeps the books of what each row has read.

    Parameters
    ----------
    session : Session
        The graph.

    Raises
    ------
    ManifestError
        It is of another kind. Not retryable.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._dtypes = {port.name: port.dtype for port in session.inputs}
        ranks = {port.name: len(port.shape) for port in session.inputs}
        #: Three, where positions count time, rows and columns.
        self.position_axes = 3 if ranks.get(_POSITIONS) == 3 else 1
        self._one = np.ones((1,) * ranks.get(_KEPT, 0), np.int64)
        self._empty = _empty(session)
        self._present = {name: _PRESENT + name.removeprefix(_PAST) for name in self._empty}
        self._check()
        (logits,) = (port for port in session.outputs if port.name == _LOGITS)
        is_last_alone = _KEPT in self._dtypes or logits.shape[1:2] == (1,)
        #: What a word's logit takes, for each token of a run; 0: the graph gives the last token's alone.
        self.logit_bytes = 0 if is_last_alone else logits.dtype.itemsize
        #: Whether it is told where tokens stand and what does not count: only then rows may differ in length.
        self.is_masked = {_MASK, _POSITIONS} <= set(self._dtypes)
        #: Whether rows that read differently many tokens run together: found out by whoever opens it.
        self.pads = False

    @property
    def token_bytes(self) -> int:
        """What the cache of one token of one row takes."""
        return sum(
            heads * width * self._dtypes[name].itemsize for name, (heads, _, width) in self._empty.items()
        )

    def unread(self, ahead: Sequence[int]) -> JointCache:
        """Return the cache of rows that have read nothing yet, whose positions will run ahead so far."""
        rows = len(ahead)
        nothing = {name: np.zeros((rows, *shape), self._dtypes[name]) for name, shape in self._empty.items()}
        return JointCache(nothing, 0, (0,) * rows, tuple(ahead), self._kind(0))

    def run(
        self, embeddings: NDArray[np.float32], positions: NDArray[np.int64], cache: JointCache
    ) -> tuple[NDArray[np.float32], JointCache]:
        """Read on in each row.

        Parameters
        ----------
        embeddings : ndarray
            float32, (R, S, D): of the tokens that come next.
        positions : ndarray
            int64, (R, S) or (3, R, S): where they stand.
        cache : JointCache
            What the rows have read; it is left as it is.

        Returns
        -------
        logits : ndarray
            float32, (R, V), after the last token of each row.
        cache : JointCache
            What they have read then.

        Raises
        ------
        InferenceError
            The runtime refused the run. Not retryable.
        """
        length = cache.length + embeddings.shape[1]
        mask = np.arange(length)[None] >= np.asarray(cache.pads)[:, None]
        feeds = {
            _EMBEDDINGS: embeddings,
            _MASK: mask.astype(np.int64),
            _POSITIONS: positions,
            _KEPT: self._one,
            **cache.values,
        }
        bound = self._session.run_bound(feeds, [_LOGITS], list(self._present.values()))
        values = {name: bound.kept[present] for name, present in self._present.items()}
        logits = bound.arrays[0][:, -1].astype(np.float32)
        return logits, JointCache(values, length, cache.pads, cache.ahead, self._kind(length))

    def take(self, cache: JointCache, rows: Sequence[int]) -> JointCache:
        """Return a cache of these rows, in this order; a row may be taken several times."""
        rows = list(rows)
        if rows == list(range(len(cache.pads))):
            return cache
        pads = [cache.pads[row] for row in rows]
        # What is padding in every row is left behind.
        start = min(pads)
        values = {name: value.numpy()[rows, :, start:] for name, value in cache.values.items()}
        return JointCache(
            self._placed(values),
            cache.length - start,
            tuple(pad - start for pad in pads),
            tuple(cache.ahead[row] for row in rows),
            self._kind(cache.length - start),
        )

    def join(self, caches: Sequence[JointCache]) -> JointCache:
        """Return the rows of several caches of one kind as one, the shorter ones padded."""
        if len(caches) == 1:
            return caches[0]
        length = max(cache.length for cache in caches)
        values = {
            name: np.concatenate([padded(cache.values[name].numpy(), length) for cache in caches])
            for name in self._empty
        }
        return JointCache(
            self._placed(values),
            length,
            tuple(pad + length - cache.length for cache in caches for pad in cache.pads),
            tuple(ahead for cache in caches for ahead in cache.ahead),
            self._kind(length),
        )

    def _kind(self, length: int) -> Hashable:
        return () if self.pads else length

    def _placed(self, values: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
        return {name: self._session.place(value, self._dtypes[name]) for name, value in values.items()}

    def _check(self) -> None:
        wanted = {_LOGITS, *self._present.values()}
        known = {_EMBEDDINGS, _MASK, _POSITIONS, _KEPT, *self._empty}
        strange = sorted(set(self._dtypes) - known)
        given = {port.name for port in self._session.outputs}
        if not self._empty or _EMBEDDINGS not in self._dtypes or strange or not wanted <= given:
            raise ManifestError(
                f"{self._session.graph}: is no decoder of a vision-language model with a cache "
                "(decoder_model_merged.onnx of the hub's ONNX repositories): it takes "
                f"{', '.join(sorted(self._dtypes))}"
            )


def _empty(session: Session) -> dict[str, tuple[int, int, int]]:
    """Return the shape of a row's past of no tokens by the graph's input: heads, 0, the width of a head."""
    shapes: dict[str, tuple[int, int, int]] = {}
    for port in session.inputs:
        if not port.name.startswith(_PAST):
            continue
        heads, width = (port.shape[1], port.shape[3]) if len(port.shape) == 4 else (None, None)
        if heads is None or width is None or port.shape[0] is not None or port.shape[2] is not None:
            raise ManifestError(
                f"{session.graph}: its input {port.name} must be of (batch, heads, past, width), heads and "
                "width fixed, batch and past symbolic; export it again so"
            )
        shapes[port.name] = (heads, 0, width)
    return shapes
