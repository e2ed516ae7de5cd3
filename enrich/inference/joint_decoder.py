"""A decoder that reads pictures and words in one row: features stand where the text has image tokens.

The graphs are those of the hub's ONNX repositories: ``embed_tokens`` from tokens to embeddings, and
``decoder_model_merged`` from embeddings and a past, of length 0 in the first run, to logits. The cache
stays where the graphs run.

Texts of different lengths run in one batch, filled up on the left with a past that the attention mask
leaves out. Not every export heeds the mask there (grouped-query attention as a single operator counts
it from the left), so that is tried when the decoder is opened, and without it rows of one run must have
read equally many tokens.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from enrich.errors import InferenceError, ManifestError
from enrich.inference.devices import Device
from enrich.inference.joint_cache import JointCache, padded
from enrich.inference.session import Session, open_session
from enrich.inference.stored import StoredModel

__all__ = ["JointDecoder", "Scene"]

_PAST, _PRESENT = "past_key_values.", "present."
_EMBEDDINGS, _MASK, _POSITIONS = "inputs_embeds", "attention_mask", "position_ids"
#: Some graphs give logits for the last tokens only, and want to be told for how many.
_KEPT = "num_logits_to_keep"
#: Of one run at the start: most graphs give logits for each of them, and 50,000 words of 2,000 tokens
#: are 400 MB.
_PREFILL_TOKENS = 2048
#: How far the logits of a padded row may be from those of the row alone, of their range: float16 rounds.
_PADDING_TOLERANCE = 0.02


@dataclass(frozen=True, eq=False, slots=True)
class Scene:
    """What a prompt's text does not say: its pictures, and where its tokens stand.

    Parameters
    ----------
    features : tuple of ndarray
        float32, (T, D) each: the rows that go in the place of the image tokens, in their order.
    positions : ndarray
        int64, (S,) or (3, S): of the prompt's tokens.
    ahead : int
        By how much the positions of later tokens run ahead of their count.
    """

    features: tuple[NDArray[np.float32], ...]
    positions: NDArray[np.int64]
    ahead: int

    @property
    def shape(self) -> tuple[int, ...]:
        """What prompts that are read in together have in common, besides their length: nothing more."""
        return ()


class JointDecoder:
    """Reads prompts with pictures in them and says what may come next.

    Parameters
    ----------
    embed, decoder : Session
        The two graphs.
    image_token_id : int
        What stands for a row of a picture's features.

    Raises
    ------
    ManifestError
        The graphs are of another kind.
    InferenceError
        They refuse a prompt of one token.

    None of them is retryable.
    """

    def __init__(self, embed: Session, decoder: Session, *, image_token_id: int) -> None:
        self._embed, self._decoder = embed, decoder
        self._image_token_id = image_token_id
        self._dtypes = {port.name: port.dtype for port in decoder.inputs}
        ranks = {port.name: len(port.shape) for port in decoder.inputs}
        # Three, where they count time, rows and columns.
        self._position_axes = 3 if ranks.get(_POSITIONS) == 3 else 1
        self._one = np.ones((1,) * ranks.get(_KEPT, 0), np.int64)
        self._empty = _empty(decoder)
        self._present = {name: _PRESENT + name.removeprefix(_PAST) for name in self._empty}
        self._check()
        #: Whether rows that read differently many tokens can run together.
        self.pads = False
        logits, _ = self._read_plain(1)
        #: How many tokens it knows.
        self.words = logits.shape[1]
        self.pads = self._heeds_mask()

    @property
    def token_bytes(self) -> int:
        """What the cache of one token of one row takes."""
        return sum(
            heads * width * self._dtypes[name].itemsize for name, (heads, _, width) in self._empty.items()
        )

    @classmethod
    def open(
        cls,
        model: StoredModel,
        device: Device,
        *,
        image_token_id: int,
        threads: int | None = None,
    ) -> JointDecoder:
        """Load the graphs ``embed`` and ``decoder``.

        Raises
        ------
        ExtraMissing, ManifestError, ProviderError, InferenceError
            As ``Session`` and this class do. Not retryable.
        """
        # Each prompt and each step has a shape of its own.
        embed, decoder = (
            open_session(model.graphs[part], device, threads=threads, keeps_memory=False)
            for part in ("embed", "decoder")
        )
        return cls(embed, decoder, image_token_id=image_token_id)

    def prefill(
        self, ids: NDArray[np.int64], states: Sequence[Scene]
    ) -> tuple[NDArray[np.float32], JointCache]:
        """Read the rows' prompts.

        Parameters
        ----------
        ids : ndarray
            int64, (B, S).
        states : sequence of Scene
            Aligned: what each prompt shows.

        Returns
        -------
        logits : ndarray
            float32, (B, V), after the last token of each row.
        cache : JointCache
            What was read.

        Raises
        ------
        InferenceError
            A prompt has not as many image tokens as its pictures have features, or the runtime refused
            the run. Not retryable.
        """
        size = max(1, _PREFILL_TOKENS // ids.shape[1])
        parts = [
            self._prefill(ids[start : start + size], states[start : start + size])
            for start in range(0, len(ids), size)
        ]
        return np.concatenate([logits for logits, _ in parts]), self.join([cache for _, cache in parts])

    def step(self, tokens: Sequence[int], cache: JointCache) -> tuple[NDArray[np.float32], JointCache]:
        """Read one token more in each row; returns as ``prefill`` does, and leaves ``cache`` as it is.

        Raises
        ------
        InferenceError
            The runtime refused the run. Not retryable.
        """
        embeddings = self._embedded(np.asarray(tokens, np.int64)[:, None])
        # At the place of the token, the padding not counted.
        places = np.asarray([cache.length - pad for pad in cache.pads], np.int64)
        positions = (places + np.asarray(cache.ahead, np.int64))[:, None]
        if self._position_axes > 1:
            positions = np.tile(positions, (self._position_axes, 1, 1))
        return self._run(embeddings, positions, cache)

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

    def _prefill(
        self, ids: NDArray[np.int64], scenes: Sequence[Scene]
    ) -> tuple[NDArray[np.float32], JointCache]:
        rows = len(ids)
        embeddings = self._embedded(ids)
        for index, scene in enumerate(scenes):
            self._show(embeddings[index], ids[index], scene)
        # (B, S) or (3, B, S).
        positions = np.stack([scene.positions for scene in scenes], axis=self._position_axes > 1)
        nothing = {name: np.zeros((rows, *shape), self._dtypes[name]) for name, shape in self._empty.items()}
        ahead = tuple(scene.ahead for scene in scenes)
        return self._run(embeddings, positions, JointCache(nothing, 0, (0,) * rows, ahead, self._kind(0)))

    def _embedded(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        (embeddings,) = self._embed.run({self._embed.inputs[0].name: ids}, [self._embed.outputs[0].name])
        return embeddings.astype(np.float32)

    def _show(self, row: NDArray[np.float32], ids: NDArray[np.int64], scene: Scene) -> None:
        places = np.flatnonzero(ids == self._image_token_id)
        features = np.concatenate(scene.features) if scene.features else np.zeros((0, row.shape[1]))
        if features.shape != (len(places), row.shape[1]):
            raise InferenceError(
                f"{self._decoder.graph.parent}: a prompt has {len(places)} places of {row.shape[1]} numbers "
                f"for pictures, and its pictures have {len(features)} of {features.shape[1]}"
            )
        row[places] = features

    def _run(
        self, embeddings: NDArray[np.float32], positions: NDArray[np.int64], cache: JointCache
    ) -> tuple[NDArray[np.float32], JointCache]:
        length = cache.length + embeddings.shape[1]
        mask = np.arange(length)[None] >= np.asarray(cache.pads)[:, None]
        feeds = {
            _EMBEDDINGS: embeddings,
            _MASK: mask.astype(np.int64),
            _POSITIONS: positions,
            _KEPT: self._one,
            **cache.values,
        }
        bound = self._decoder.run_bound(feeds, ["logits"], list(self._present.values()))
        values = {name: bound.kept[present] for name, present in self._present.items()}
        logits = bound.arrays[0][:, -1].astype(np.float32)
        return logits, JointCache(values, length, cache.pads, cache.ahead, self._kind(length))

    def _kind(self, length: int) -> Hashable:
        return () if self.pads else length

    def _placed(self, values: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
        return {name: self._decoder.place(value, self._dtypes[name]) for name, value in values.items()}

    def _heeds_mask(self) -> bool:
        """Read a short text alone, and beside a longer one: whether the past that is left out counts."""
        if not {_MASK, _POSITIONS} <= set(self._dtypes):
            return False
        caches = [self._read_plain(length)[1] for length in (1, 4)]
        alone, _ = self.step([1], caches[0])
        together, _ = self.step([1, 1], self.join(caches))
        span = float(np.ptp(alone))
        return bool(np.abs(together[0] - alone[0]).max() <= _PADDING_TOLERANCE * span)

    def _read_plain(self, length: int) -> tuple[NDArray[np.float32], JointCache]:
        # Tokens 1, 2 ... are there in every vocabulary.
        ids = np.arange(1, length + 1)[None]
        ids[ids == self._image_token_id] = 0
        positions = np.arange(length)
        if self._position_axes > 1:
            positions = np.tile(positions, (self._position_axes, 1))
        return self._prefill(ids, [Scene((), positions, 0)])

    def _check(self) -> None:
        wanted = {"logits", *self._present.values()}
        known = {_EMBEDDINGS, _MASK, _POSITIONS, _KEPT, *self._empty}
        strange = sorted(set(self._dtypes) - known)
        given = {port.name for port in self._decoder.outputs}
        if not self._empty or _EMBEDDINGS not in self._dtypes or strange or not wanted <= given:
            raise ManifestError(
                f"{self._decoder.graph}: is no decoder of a vision-language model with a cache "
                "(decoder_model_merged.onnx of the hub's ONNX repositories): it takes "
                f"{', '.join(sorted(self._dtypes))}"
            )
        if len(self._embed.inputs) != 1 or len(self._embed.outputs) != 1:
            raise ManifestError(f"{self._embed.graph}: must take input_ids and give inputs_embeds, no more")


def _empty(decoder: Session) -> dict[str, tuple[int, int, int]]:
    """Return the shape of a row's past of no tokens by the decoder's input: heads, 0, the width of a head."""
    shapes: dict[str, tuple[int, int, int]] = {}
    for port in decoder.inputs:
        if not port.name.startswith(_PAST):
            continue
        heads, width = (port.shape[1], port.shape[3]) if len(port.shape) == 4 else (None, None)
        if heads is None or width is None or port.shape[0] is not None or port.shape[2] is not None:
            raise ManifestError(
                f"{decoder.graph}: its input {port.name} must be of (batch, heads, past, width), heads and "
                "width fixed, batch and past symbolic; export it again so"
            )
        shapes[port.name] = (heads, 0, width)
    return shapes
