"""Qwen2-VL and Qwen2.5-VL: each picture keeps its shape, and takes as many tokens as it is large.

Source of positions and of the text: ``modeling_qwen2_5_vl.py`` and ``processing_qwen2_vl.py`` of Hugging Face
transformers 5.23.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Self

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from enrich.errors import InferenceError, ManifestError
from enrich.inference.devices import Device
from enrich.inference.huggingface import PROCESSOR_NAMES
from enrich.inference.patching import Patching
from enrich.inference.ports import choose_port
from enrich.inference.processor import parse_processor
from enrich.inference.scheduler import Scheduler
from enrich.inference.session import Session, open_session
from enrich.inference.sight import Look, Sight
from enrich.inference.stored import StoredModel
from enrich.inference.text import Tokenizer

__all__ = ["QwenSight"]

_PIXELS, _FEATURES = "pixel_values", "image_features"
#: Two names for one input: transformers', and that of the hub's graphs for transformers.js.
_GRIDS = ("image_grid_thw", "grid_thw")
_IMAGE, _START, _END = "<|image_pad|>", "<|vision_start|>", "<|vision_end|>"
#: What a picture is decoded to, however much its files allow: about 1,000 tokens for 4:3; the model card of
#: Qwen2.5-VL advises up to 1,280 for speed. Attention takes their number squared.
_LONGEST_PX = 1024


class QwenSight(Sight):
    """The eyes of Qwen2-VL and Qwen2.5-VL: one picture a run, for attention is over all patches of a run.

    Parameters
    ----------
    model : StoredModel
        Whose eyes they are.
    session : Session
        The vision graph: ``pixel_values`` (N, W) and ``image_grid_thw`` (I, 3).
    patching : Patching
        How pictures are prepared.
    image_id : int
        The image token's id.

    Raises
    ------
    ManifestError
        The graph and the files are not of one model, or it looks at one size of pictures only. Not
        retryable.
    """

    placeholder = f"{_START}{_IMAGE}{_END}"
    image_token = _IMAGE
    marks = (_START, _END)

    def __init__(self, model: StoredModel, session: Session, patching: Patching, image_id: int) -> None:
        # Of a picture four times as wide as high that edge is what the bounds leave.
        self.size_px = min(_LONGEST_PX, 2 * math.isqrt(patching.bounds[1]))
        self._patching, self._session, self._image_id = patching, session, image_id
        self._output = choose_port(model, session.outputs, None, [_FEATURES], "output").name
        self._try()
        self._scheduler = Scheduler(self._infer, (1,), name=model.name)

    @classmethod
    def open(
        cls, model: StoredModel, tokenizer: Tokenizer, device: Device, *, threads: int | None = None
    ) -> Self:
        """Load the vision graph, look at two grey pictures, and start the scheduler.

        Raises
        ------
        ExtraMissing, ManifestError, ProviderError, InferenceError
            See ``Session`` and this class; or the tokenizer lacks what stands for a picture. Not retryable.
        """
        image_id = cls.image_token_id(model, tokenizer)
        patching = parse_processor(Patching, model, "Qwen2VL")
        # Each picture's size is a shape of its own.
        session = open_session(model.graphs["vision"], device, threads=threads, keeps_memory=False)
        return cls(model, session, patching, image_id)

    def look(self, picture: PIL.Image.Image) -> Look:
        """Cut a picture of mode RGB into patches.

        Raises
        ------
        UsageError
            One edge is more than 200 times the other. Not retryable.
        """
        patches, grid = self._patching.cut(picture)
        tokens = math.prod(grid) // self._patching.merge_size**2
        text = f"{_START}{_IMAGE * tokens}{_END}"
        return Look({_PIXELS: patches, _GRIDS[0]: np.asarray([grid], np.int64)}, text, grid)

    def see(self, looks: Sequence[Look], *, interactive: bool = False) -> list[NDArray[np.float32]]:
        """Return the features of each picture, (T, D).

        Raises
        ------
        InferenceError
            The runtime refused a picture. Not retryable.
        """
        # Pictures of all sizes: no array but one of objects holds them.
        items = np.empty(len(looks), np.object_)
        items[:] = looks
        return self._scheduler.run(items, interactive=interactive)

    def positions(self, ids: NDArray[np.int64], looks: Sequence[Look]) -> tuple[NDArray[np.int64], int]:
        """Return positions, (3, S): words count on all three axes, a picture its rows and columns apart."""
        positions = np.empty((3, len(ids)), np.int64)
        merge = self._patching.merge_size
        places = iter(np.flatnonzero(ids == self._image_id).tolist())
        done = reached = 0
        for look in looks:
            frames, rows, columns = look.grid[0], look.grid[1] // merge, look.grid[2] // merge
            first, *_ = tokens = [next(places) for _ in range(frames * rows * columns)]
            words = first - done
            positions[:, done:first] = reached + np.arange(words)
            reached += words
            positions[:, tokens] = reached + np.indices((frames, rows, columns)).reshape(3, -1)
            reached += max(rows, columns)
            done = tokens[-1] + 1
        positions[:, done:] = reached + np.arange(len(ids) - done)
        return positions, reached - done

    def _infer(self, looks: NDArray[np.object_]) -> NDArray[np.object_]:
        features = np.empty(len(looks), np.object_)
        for index, look in enumerate(looks):
            features[index] = self._features(look)
        return features

    def _features(self, look: Look) -> NDArray[np.float32]:
        feeds = {_PIXELS: look.inputs[_PIXELS], **dict.fromkeys(_GRIDS, look.inputs[_GRIDS[0]])}
        (features,) = self._session.run(feeds, [self._output])
        return features.astype(np.float32, copy=False)

    def _try(self) -> None:
        unit = self._patching.unit_px
        for size in ((4 * unit, 2 * unit), (3 * unit, 6 * unit)):
            look = self.look(PIL.Image.new("RGB", size, (128, 128, 128)))
            wanted = look.text.count(_IMAGE)
            try:
                found: object = len(self._features(look))
            # A graph that was traced for one size says nothing of it, and fails at all others.
            except InferenceError as error:
                found = error
            if found != wanted:
                raise ManifestError(
                    f"{self._session.graph}: must give {wanted} features for a picture of {wanted} tokens "
                    f"({found}): it is not of one model with {PROCESSOR_NAMES[0]}, or was exported for one "
                    f"size of pictures; `enrich models export` makes one for all sizes"
                )
