"""The two encoders of a dual encoder, whether they lie in one graph or in two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from enrich.errors import ManifestError
from enrich.inference.devices import Device
from enrich.inference.ports import choose_port, picture_port
from enrich.inference.session import Port, Session, open_session
from enrich.inference.stored import StoredModel

__all__ = ["Halves", "Split", "Whole", "open_halves"]

_Ids = NDArray[np.int64]
_Rows = NDArray[np.float32]

#: Large, for each run costs a picture, too.
_TEXT_BUCKETS = (1, 4, 16, 64)

_MASK = "attention_mask"
_IDS = "input_ids"
_PICTURE_OUTPUTS = ("image_embeds",)
_TEXT_OUTPUTS = ("text_embeds",)
# SigLIP has no projection: what its halves pool is the embedding. CLIP's lacks the projection.
_POOLED = "pooler_output"


class Halves(Protocol):
    """What a dual encoder consists of; every method may be called from any thread."""

    @property
    def provider(self) -> str: ...

    @property
    def picture_buckets(self) -> tuple[int, ...]: ...

    @property
    def text_buckets(self) -> tuple[int, ...]: ...

    @property
    def words(self) -> int | None:
        """The one length that texts must have; None where any will do."""
        ...

    def see(self, pixels: _Rows) -> _Rows:
        """Return the embeddings, (B, D), of preprocessed pictures, not normalised."""
        ...

    def read(self, ids: _Ids, mask: _Ids) -> _Rows:
        """Return the embeddings, (B, D), of token ids, (B, L), not normalised."""
        ...


class Split:
    """Two graphs: vision_model.onnx and text_model.onnx.

    Parameters
    ----------
    model : StoredModel
        Whose graphs they are.
    vision, text : Session
        The two.
    is_pooled : bool
        Whether ``pooler_output`` is the embedding.

    Raises
    ------
    ManifestError
        One of them does not take or give what it should. Not retryable.
    """

    def __init__(self, model: StoredModel, vision: Session, text: Session, *, is_pooled: bool) -> None:
        self._vision, self._text = vision, text
        self._pixels = picture_port(model, vision.inputs).name
        self._seen = _embedding(model, "vision", vision.outputs, _PICTURE_OUTPUTS, is_pooled=is_pooled)
        self._ids = _text_port(model, text.inputs, {_IDS, _MASK})
        self._read = _embedding(model, "text", text.outputs, _TEXT_OUTPUTS, is_pooled=is_pooled)
        self.provider = vision.provider
        self.picture_buckets, self.text_buckets = vision.buckets, text.buckets
        self.words = self._ids.shape[1]

    def see(self, pixels: _Rows) -> _Rows:
        (rows,) = self._vision.run({self._pixels: pixels}, [self._seen])
        return rows.astype(np.float32)

    def read(self, ids: _Ids, mask: _Ids) -> _Rows:
        (rows,) = self._text.run({self._ids.name: ids, _MASK: mask}, [self._read])
        return rows.astype(np.float32)


class Whole:
    """One graph over a batch of pictures and a batch of texts, which scores each against each.

    ONNX Runtime runs a whole graph or nothing, so the half that is not wanted gets one fixed dummy:
    a black picture, or one short text.

    Parameters
    ----------
    model : StoredModel
        Whose graph it is.
    session : Session
        The graph.

    Raises
    ------
    ManifestError
        It does not take or give what it should. Not retryable.
    """

    def __init__(self, model: StoredModel, session: Session) -> None:
        self._session = session
        port = choose_port(
            model,
            session.inputs,
            model.manifest.input.name if model.manifest.input else None,
            ["pixel_values"],
            "input",
        )
        self._pixels = picture_port(model, [port]).name
        self._ids = _text_port(model, session.inputs, {_IDS, _MASK, self._pixels})
        _check_outputs(model, session.outputs)
        self._picture = np.zeros((1, *model.preprocessing.shape), np.float32)
        self.provider = session.provider
        self.picture_buckets = session.buckets
        self.text_buckets = _TEXT_BUCKETS if len(session.buckets) > 1 else session.buckets
        self.words = self._ids.shape[1]

    def see(self, pixels: _Rows) -> _Rows:
        # Token 0 is there in every vocabulary; what it means does not matter.
        ids = np.zeros((1, self.words or 2), np.int64)
        (rows,) = self._session.run(self._feeds(pixels, ids, np.ones_like(ids)), ["image_embeds"])
        return rows.astype(np.float32)

    def read(self, ids: _Ids, mask: _Ids) -> _Rows:
        (rows,) = self._session.run(self._feeds(self._picture, ids, mask), ["text_embeds"])
        return rows.astype(np.float32)

    def judge(self, pixels: _Rows, ids: _Ids, mask: _Ids) -> tuple[float, float]:
        """Return the cosine of one picture and one text, and the logit the graph makes of it."""
        outputs = ["image_embeds", "text_embeds", "logits_per_image"]
        picture, text, logits = self._session.run(self._feeds(pixels, ids, mask), outputs)
        first, second = picture[0].astype(np.float64), text[0].astype(np.float64)
        cosine = first @ second / (np.linalg.norm(first) * np.linalg.norm(second))
        return float(cosine), float(logits[0, 0])

    def _feeds(self, pixels: _Rows, ids: _Ids, mask: _Ids) -> Mapping[str, NDArray[Any]]:
        return {self._pixels: pixels, self._ids.name: ids, _MASK: mask}


def open_halves(model: StoredModel, device: Device, *, threads: int | None, is_pooled: bool) -> Split | Whole:
    """Load the graphs: two where they are there, for each text would cost a picture in one.

    Raises
    ------
    ExtraMissing, ManifestError, ProviderError
        As ``open_session`` and the classes do. Not retryable.
    """
    if "vision" not in model.graphs:
        return Whole(model, open_session(model.graphs["model"], device, threads=threads))
    vision, text = (open_session(model.graphs[part], device, threads=threads) for part in ("vision", "text"))
    return Split(model, vision, text, is_pooled=is_pooled)


def _text_port(model: StoredModel, inputs: Sequence[Port], known: set[str]) -> Port:
    strange = [port.name for port in inputs if port.name not in known]
    if strange:
        raise ManifestError(
            f"{model.folder}: the text encoder wants {', '.join(strange)}, which CLIP and SigLIP do not have"
        )
    return choose_port(model, inputs, _IDS, (), "input")


def _embedding(
    model: StoredModel, part: str, outputs: Sequence[Port], usual: Sequence[str], *, is_pooled: bool
) -> str:
    names = [*usual, _POOLED] if is_pooled else usual
    for port in outputs:
        if port.name in names and len(port.shape) == 2:
            return port.name
    raise ManifestError(
        f"{model.folder}: {part}_model.onnx gives {', '.join(port.name for port in outputs)} and no "
        f"{' or '.join(names)}; export it with its projection, or use the export in one model.onnx"
    )


def _check_outputs(model: StoredModel, outputs: Sequence[Port]) -> None:
    found = {port.name for port in outputs}
    if not {"image_embeds", "text_embeds"} <= found:
        raise ManifestError(
            f"{model.folder}: the graph gives {', '.join(sorted(found))}, and image_embeds and text_embeds "
            "are needed; export it with: optimum-cli export onnx --task zero-shot-image-classification"
        )
