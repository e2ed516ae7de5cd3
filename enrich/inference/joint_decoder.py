"""A decoder that reads pictures and words in one row: features stand where the text has image tokens.

The graphs are those of the hub's ONNX repositories: ``embed_tokens`` from tokens to embeddings, and
``decoder_model_merged`` from embeddings and a past to logits.

Long prompts are read in stretches, each over the past that those before it left: attention of all tokens
over all of them, and the logits that many graphs give for each, take far more memory than the model. Texts
of different lengths run in one batch, filled up on the left with a past that the attention mask leaves out.
Not every export is right about either: some bake the mask of the first run in, and grouped-query attention
as a single operator counts from the left. So both are tried when the decoder is opened. Without the one,
prompts are read at once; without the other, rows of one run must have read equally many tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from enrich.errors import InferenceError, ManifestError
from enrich.inference.devices import Device
from enrich.inference.joint_cache import JointCache
from enrich.inference.joint_graph import JointGraph
from enrich.inference.session import Session, open_session
from enrich.inference.stored import StoredModel

__all__ = ["JointDecoder", "Scene"]

#: Tokens of one run, and what their logits may take where the graph gives those of each. At the sizes of
#: SmolVLM-256M 5,000 tokens take 0.8 GB and 35 s of one core so, and 2.4 GB and 53 s at once.
_RUN_TOKENS, _LOGITS_BYTES = 512, 64 * 2**20
#: Of the text that is read at once and in stretches, to see whether that is the same.
_TRIAL_TOKENS, _TRIAL_STRETCH = 8, 5
#: How far the logits of one way to read may be from those of another, of their range: float16 rounds.
_APART_MAX = 0.02


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
    run_tokens : int
        Tokens of one run at most, of all its rows; fewer where their logits would take too much.

    Raises
    ------
    ManifestError
        The graphs are of another kind.
    InferenceError
        They refuse a prompt of a few tokens.

    None of them is retryable.
    """

    def __init__(
        self, embed: Session, decoder: Session, *, image_token_id: int, run_tokens: int = _RUN_TOKENS
    ) -> None:
        self._embed, self._graph = embed, JointGraph(decoder)
        self._folder = decoder.graph.parent
        self._image_token_id = image_token_id
        if len(embed.inputs) != 1 or len(embed.outputs) != 1:
            raise ManifestError(f"{embed.graph}: must take input_ids and give inputs_embeds, no more")
        logits, short = self._read_plain(1)
        #: How many tokens it knows.
        self.words = logits.shape[1]
        fitting = _LOGITS_BYTES // max(1, self.words * self._graph.logit_bytes)
        self._run_tokens = max(1, min(run_tokens, fitting))
        logits, longer = self._read_plain(_TRIAL_TOKENS)
        #: Whether a prompt can be read in stretches.
        self.continues = self._goes_on(logits)
        #: Whether rows that read differently many tokens can run together.
        self.pads = self._graph.pads = self._heeds_mask(short, longer)

    @property
    def token_bytes(self) -> int:
        """What the cache of one token of one row takes."""
        return self._graph.token_bytes

    @classmethod
    def open(
        cls,
        model: StoredModel,
        device: Device,
        *,
        image_token_id: int,
        threads: int | None = None,
        run_tokens: int = _RUN_TOKENS,
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
        return cls(embed, decoder, image_token_id=image_token_id, run_tokens=run_tokens)

    def embed(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the embeddings of tokens: (B, S, D) for (B, S).

        Raises
        ------
        InferenceError
            The runtime refused the run. Not retryable.
        """
        (embeddings,) = self._embed.run({self._embed.inputs[0].name: ids}, [self._embed.outputs[0].name])
        return embeddings.astype(np.float32)

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
        # As many prompts a run as are whole in it; one that is longer has its runs to itself.
        size = max(1, self._run_tokens // ids.shape[1])
        stretch = self._run_tokens if self.continues else ids.shape[1]
        parts = [
            self._read(ids[start : start + size], states[start : start + size], stretch)
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
        embeddings = self.embed(np.asarray(tokens, np.int64)[:, None])
        # At the place of the token, the padding not counted.
        places = np.asarray([cache.length - pad for pad in cache.pads], np.int64)
        positions = (places + np.asarray(cache.ahead, np.int64))[:, None]
        if self._graph.position_axes > 1:
            positions = np.tile(positions, (self._graph.position_axes, 1, 1))
        return self._graph.run(embeddings, positions, cache)

    def take(self, cache: JointCache, rows: Sequence[int]) -> JointCache:
        """Return a cache of these rows, in this order; a row may be taken several times."""
        return self._graph.take(cache, rows)

    def join(self, caches: Sequence[JointCache]) -> JointCache:
        """Return the rows of several caches of one kind as one, the shorter ones padded."""
        return self._graph.join(caches)

    def _read(
        self, ids: NDArray[np.int64], scenes: Sequence[Scene], stretch: int
    ) -> tuple[NDArray[np.float32], JointCache]:
        """Read prompts together, so many tokens of each in one run."""
        embeddings = self.embed(ids)
        for index, scene in enumerate(scenes):
            self._show(embeddings[index], ids[index], scene)
        # (B, S) or (3, B, S).
        positions = np.stack([scene.positions for scene in scenes], axis=self._graph.position_axes > 1)
        cache = self._graph.unread([scene.ahead for scene in scenes])
        for start in range(0, ids.shape[1], stretch):
            part = slice(start, start + stretch)
            logits, cache = self._graph.run(embeddings[:, part], positions[..., part], cache)
        return logits, cache

    def _show(self, row: NDArray[np.float32], ids: NDArray[np.int64], scene: Scene) -> None:
        places = np.flatnonzero(ids == self._image_token_id)
        features = np.concatenate(scene.features) if scene.features else np.zeros((0, row.shape[1]))
        if features.shape != (len(places), row.shape[1]):
            raise InferenceError(
                f"{self._folder}: a prompt has {len(places)} places of {row.shape[1]} numbers "
                f"for pictures, and its pictures have {len(features)} of {features.shape[1]}"
            )
        row[places] = features

    def _goes_on(self, whole: NDArray[np.float32]) -> bool:
        """Read in stretches what was read at once: whether the same may come next."""
        try:
            parted, _ = self._read_plain(_TRIAL_TOKENS, _TRIAL_STRETCH)
        except InferenceError:
            # Some operators take several tokens only in the first run.
            return False
        return _is_alike(parted[0], whole[0])

    def _heeds_mask(self, short: JointCache, longer: JointCache) -> bool:
        """Read on alone, and beside a longer text: whether the past that is left out counts."""
        if not self._graph.is_masked:
            return False
        alone, _ = self.step([1], short)
        together, _ = self.step([1, 1], self.join([short, longer]))
        return _is_alike(together[0], alone[0])

    def _read_plain(self, length: int, stretch: int | None = None) -> tuple[NDArray[np.float32], JointCache]:
        # Tokens 1, 2 ... are there in every vocabulary.
        ids = np.arange(1, length + 1)[None]
        ids[ids == self._image_token_id] = 0
        positions = np.arange(length)
        if self._graph.position_axes > 1:
            positions = np.tile(positions, (self._graph.position_axes, 1))
        return self._read(ids, [Scene((), positions, 0)], stretch or length)


def _is_alike(logits: NDArray[np.float32], expected: NDArray[np.float32]) -> bool:
    return bool(np.abs(logits - expected).max() <= _APART_MAX * np.ptp(expected))
