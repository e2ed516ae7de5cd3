"""LLaVA: a picture of one size is one row of the vision graph, and as many image tokens as that gives.

Source of the preprocessing and of what stands in the text: ``image_processing_pil_llava.py`` (and CLIP's and
SigLIP's, which most models of this kind name instead) and ``processing_llava.py`` of Hugging Face
transformers 5.23.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from enrich.inference.batches import BUCKETS
from enrich.inference.devices import Device
from enrich.inference.huggingface import input_of
from enrich.inference.ports import choose_port, picture_port
from enrich.inference.preprocess import Preprocessing
from enrich.inference.processor import read_processor
from enrich.inference.scheduler import Scheduler
from enrich.inference.session import Session, open_session
from enrich.inference.sight import Look, Sight
from enrich.inference.stored import StoredModel
from enrich.inference.text import Tokenizer

__all__ = ["FEATURES", "IMAGE", "PIXELS", "LlavaSight", "buckets_of", "tensors_of"]

IMAGE = "<image>"
PIXELS, FEATURES = "pixel_values", "image_features"
#: Rows of features in one run. Attention takes their number squared for each head and picture.
_ROWS_MAX = 4608


class LlavaSight(Sight):
    """The eyes of LLaVA.

    Parameters
    ----------
    model : StoredModel
        Whose eyes they are.
    session : Session
        The vision graph: ``pixel_values`` (B, 3, H, W) to (B, T, D).
    prepare : Preprocessing
        From a picture to a tensor.
    margin : tuple of int or None
        The colour with which pictures are made square before; None: they are not.

    Raises
    ------
    ManifestError
        The graph takes pictures of another size.
    InferenceError
        The graph refused a grey picture.

    None of them is retryable.
    """

    placeholder = IMAGE
    image_token = IMAGE

    def __init__(
        self, model: StoredModel, session: Session, prepare: Preprocessing, margin: tuple[int, ...] | None
    ) -> None:
        self._session, self._prepare, self._margin = session, prepare, margin
        self.size_px = _longest(prepare)
        self._input = picture_port(model, session.inputs, prepare.shape).name
        self._output = choose_port(model, session.outputs, None, [FEATURES], "output").name
        (features,) = self._infer(np.zeros((1, *prepare.shape), np.float32))
        self._text = IMAGE * len(features)
        self._scheduler = Scheduler(self._infer, buckets_of(session, len(features)), name=model.name)

    @classmethod
    def open(
        cls, model: StoredModel, tokenizer: Tokenizer, device: Device, *, threads: int | None = None
    ) -> Self:
        """Load the vision graph, look at a grey picture, and start the scheduler.

        Raises
        ------
        ExtraMissing, ManifestError, ProviderError, InferenceError
            See ``Session`` and this class. Not retryable.
        """
        processor, path = read_processor(model)
        prepare = tensors_of(processor, path)
        margin = None
        if processor.get("do_pad"):
            margin = tuple(int(share * 255) for share in prepare.mean)
        return cls(model, open_session(model.graphs["vision"], device, threads=threads), prepare, margin)

    def look(self, picture: PIL.Image.Image) -> Look:
        """Prepare a picture of mode RGB; ``pixel_values`` are float32, (3, H, W)."""
        if self._margin is not None:
            picture = _square(picture, self._margin)
        return Look({PIXELS: self._prepare(picture)}, self._text, ())

    def see(self, looks: Sequence[Look], *, interactive: bool = False) -> list[NDArray[np.float32]]:
        """Return the features of each picture, (T, D).

        Raises
        ------
        InferenceError
            The runtime refused a picture. Not retryable.
        """
        return self._scheduler.run([look.inputs[PIXELS] for look in looks], interactive=interactive)

    def _infer(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        (features,) = self._session.run({self._input: pixels}, [self._output])
        return features.reshape(len(pixels), -1, features.shape[-1]).astype(np.float32, copy=False)


def tensors_of(processor: Mapping[str, Any], path: Path) -> Preprocessing:
    """Return the preprocessing of one picture, or one tile, that a processor's file describes.

    Raises
    ------
    ManifestError
        The processor is of another kind, or a key is missing or wrong. Not retryable.
    """
    values = dict(processor)
    if str(values.get("image_processor_type")).startswith("Llava"):
        # Its resizing and cropping are CLIP's.
        values["image_processor_type"] = "CLIPImageProcessor"
    return input_of(values, path).preprocessing()


def buckets_of(session: Session, rows: int) -> tuple[int, ...]:
    """Return how many pictures, of ``rows`` rows of features each, go into one run."""
    if session.buckets == (1,):
        return session.buckets
    return tuple(size for size in BUCKETS if size * rows <= _ROWS_MAX) or (1,)


def _longest(prepare: Preprocessing) -> int:
    # Of the shorter edge, twice as long a picture is still seen as sharp in its middle.
    if isinstance(prepare.resize, int):
        return 2 * prepare.resize
    return max(prepare.shape)


def _square(picture: PIL.Image.Image, colour: tuple[int, ...]) -> PIL.Image.Image:
    width, height = picture.size
    edge = max(width, height)
    square = PIL.Image.new("RGB", (edge, edge), colour)
    square.paste(picture, ((edge - width) // 2, (edge - height) // 2))
    return square
