"""Text in the picture, read offline by the models inside the rapidocr package, or by a model that reads.

rapidocr's own line-turning classifier stays off: it squeezes every line into 192 x 48 pixels, calls
most long lines of small print upside down, and then reads them so. Instead a line that reads badly is
turned by 180 degrees and read again, which keeps captions that run up the side of a picture legible.
"""

from __future__ import annotations

import functools
import importlib.util
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydantic
from numpy.typing import NDArray

import enrich
from enrich.errors import ExtraMissing, InferenceError
from enrich.inference.runtime import load_runtime

__all__ = ["Options", "check", "enrich_shutdown", "enrich_text", "revision", "size_px"]

size_px = 2048

# No letter is legible under this height.
_MIN_SIDE_PX = 8

# The detector sees sides as multiples of 32 pixels, so it would lose or squash a narrow strip: its
# short side is padded to this part of the long one.
_MAX_ASPECT = 8

# What is thinner than this is a rule or an edge, and would cost more to read than a page.
_MAX_LINE_ASPECT = 128

# Lines upside down read with a confidence of 0.4 to 0.75, upright ones mostly above 0.9.
_SURE = 0.8

# The engine is made once, by whoever comes first.
_lock = threading.Lock()

Box = tuple[float, float, float, float]


class Options(pydantic.BaseModel):
    """What a step may set."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    min_confidence: float = pydantic.Field(
        default=0.5,
        ge=0,
        le=1,
        description="Lines that were read with less confidence are left out, if it is said.",
    )
    detect_px: int = pydantic.Field(
        default=1536,
        ge=320,
        le=8192,
        description="Longest edge at which text is looked for (it is read at size_px). Letters under 9 px "
        "high there are missed; time and memory grow with its square.",
    )


def check(options: Options, model: Any) -> None:
    """Check that the step's model can read; without one, that the text reader can be loaded.

    Raises
    ------
    ExtraMissing
        rapidocr or ONNX Runtime is not installed.
    UsageError
        The model reads no text.

    None of them is retryable.
    """
    if model is not None:
        model.read([])
        return
    _require_reader()


def _require_reader() -> None:
    if importlib.util.find_spec("rapidocr") is None:
        raise ExtraMissing("reading text needs rapidocr; run: pip install 'enrich-dam[ocr]'")
    if importlib.util.find_spec("onnxruntime") is None:
        raise ExtraMissing("reading text needs ONNX Runtime; run: pip install 'enrich-dam[cpu]'")


def _bundled_model(task: str) -> Path:
    """Return rapidocr's own model file for ``task`` ("det" or "rec"), without importing rapidocr."""
    spec = importlib.util.find_spec("rapidocr")
    found = sorted(Path(spec.origin).parent.glob(f"models/*_{task}_*.onnx")) if spec and spec.origin else []
    if len(found) != 1:
        raise ExtraMissing(
            f"rapidocr should bring one {task} model and has {len(found)}; "
            "run: pip install --force-reinstall 'enrich-dam[ocr]'"
        )
    return found[0]


def _revision() -> str:
    try:
        return f"1 {_bundled_model('rec').stem}"
    except ExtraMissing:
        return "1"


# Another model reads something else of the same picture.
revision = _revision()


@enrich.hookimpl
def enrich_text(
    renditions: Sequence[enrich.Rendition], context: enrich.Context
) -> list[list[enrich.TextLine]]:
    """Return the lines of text in each picture, from top to bottom and left to right.

    A model's lines come in its own order.

    Raises
    ------
    ExtraMissing
        rapidocr or ONNX Runtime is not installed. Not retryable.
    InferenceError
        The reader failed on a picture. Not retryable.
    """
    options: Options = context.options
    if context.model is not None:
        return [_kept(lines, options) for lines in context.model.read(renditions)]
    return [_read(rendition.pixels, options) for rendition in renditions]


@enrich.hookimpl
def enrich_shutdown() -> None:
    """Let go of the models."""
    with _lock:
        _load_engine.cache_clear()


def _kept(lines: Sequence[enrich.TextLine], options: Options) -> list[enrich.TextLine]:
    return [line for line in lines if line.confidence is None or line.confidence >= options.min_confidence]


def _read(pixels: NDArray[np.uint8], options: Options) -> list[enrich.TextLine]:
    height_px, width_px = pixels.shape[:2]
    if min(height_px, width_px) < _MIN_SIDE_PX:
        return []
    engine = _engine(options.detect_px)
    try:
        boxes, crops = _find_lines(engine, _pad(pixels))
        readings = _read_lines(engine, crops)
    # rapidocr lets cv2, ONNX Runtime, numpy and its own errors through, without a common ancestor.
    except Exception as error:
        said = " ".join(str(error).split())[-200:]
        raise InferenceError(f"the text reader failed: {type(error).__name__}: {said}") from error
    return [
        enrich.TextLine(readings[i][0], readings[i][1], _region(boxes[i], width_px, height_px))
        for i in _reading_order(boxes)
        if readings[i][0] and readings[i][1] >= options.min_confidence
    ]


def _pad(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the pixels in rapidocr's BGR, a narrow strip widened below or to the right."""
    height_px, width_px = pixels.shape[:2]
    below = max(0, width_px // _MAX_ASPECT - height_px)
    right = max(0, height_px // _MAX_ASPECT - width_px)
    return np.pad(pixels[:, :, ::-1], ((0, below), (0, right), (0, 0)), mode="edge")


def _find_lines(engine: Any, bgr: NDArray[np.uint8]) -> tuple[list[Box], list[NDArray[np.uint8]]]:
    """Return each line's box (left, top, right, bottom in pixels) and its own upright picture."""
    from rapidocr.main import RapidOCRError

    try:
        crops, found = engine.detect_and_crop(bgr, {})
    except RapidOCRError:
        # How rapidocr says that there is no text.
        return [], []
    boxes, kept = [], []
    for corners, crop in zip(found.boxes, crops, strict=True):
        if crop.shape[1] <= _MAX_LINE_ASPECT * crop.shape[0]:
            (left, top), (right, bottom) = corners.min(axis=0), corners.max(axis=0)
            boxes.append((float(left), float(top), float(right), float(bottom)))
            kept.append(crop)
    return boxes, kept


def _read_lines(engine: Any, crops: Sequence[NDArray[np.uint8]]) -> list[tuple[str, float]]:
    readings = _recognise(engine, crops)
    unsure = [i for i, (_, confidence) in enumerate(readings) if confidence < _SURE]
    turned = _recognise(engine, [np.ascontiguousarray(np.rot90(crops[i], 2)) for i in unsure])
    for i, reading in zip(unsure, turned, strict=True):
        if reading[1] >= _SURE:
            readings[i] = reading
    return readings


def _recognise(engine: Any, crops: Sequence[NDArray[np.uint8]]) -> list[tuple[str, float]]:
    if not crops:
        return []
    said = engine.recognize_txt(list(crops))
    return [
        (text.strip(), float(confidence)) for text, confidence in zip(said.txts, said.scores, strict=True)
    ]


def _reading_order(boxes: Sequence[Box]) -> list[int]:
    """Return the boxes' indexes row by row; boxes that share half of their height stand in one row."""
    rows: list[list[int]] = []
    for i in sorted(range(len(boxes)), key=lambda i: boxes[i][1] + boxes[i][3]):
        _, top, _, bottom = boxes[i]
        if rows:
            _, row_top, _, row_bottom = boxes[rows[-1][0]]
            shared = min(bottom, row_bottom) - max(top, row_top)
            # Of the taller one, so that a line up the side of the page is a row of its own.
            if shared >= max(bottom - top, row_bottom - row_top) / 2:
                rows[-1].append(i)
                continue
        rows.append([i])
    return [i for row in rows for i in sorted(row, key=lambda i: boxes[i][0])]


def _region(box: Box, width_px: int, height_px: int) -> enrich.Region:
    left, right = (min(max(x / width_px, 0.0), 1.0) for x in (box[0], box[2]))
    top, bottom = (min(max(y / height_px, 0.0), 1.0) for y in (box[1], box[3]))
    return enrich.Region(*(round(part, 4) for part in (left, top, right - left, bottom - top)))


def _engine(detect_px: int) -> Any:
    with _lock:
        return _load_engine(detect_px)


@functools.cache
def _load_engine(detect_px: int) -> Any:
    """Load rapidocr with its bundled models; it may be used from several threads at once."""
    _require_reader()
    detector, reader = _bundled_model("det"), _bundled_model("rec")
    load_runtime()
    try:
        from rapidocr import RapidOCR
    except ImportError as error:
        raise ExtraMissing(
            f"rapidocr cannot be imported ({error}); run: pip install --force-reinstall 'enrich-dam[ocr]'"
        ) from error
    return RapidOCR(
        params={
            # Its log goes straight to stderr; what matters is raised.
            "Global.log_level": "critical",
            "Global.use_cls": False,
            "Global.use_vertical_padding": False,
            # Paths of our own: without them rapidocr checks, and may download, its models.
            "Det.model_path": str(detector),
            "Rec.model_path": str(reader),
            "Det.limit_type": "max",
            "Det.limit_side_len": detect_px,
            # Batches are no faster on a CPU (measured), and pad every line to the longest.
            "Rec.rec_batch_num": 1,
            # Each new size of picture would add a region to an arena that never shrinks.
            "EngineConfig.onnxruntime.enable_cpu_mem_arena": False,
        }
    )
