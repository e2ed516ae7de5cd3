"""Drawn faces, and drawings without one, as the model sees them: at many sizes, saved, read, resized."""

from __future__ import annotations

import io
import random
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from enrich.drawings.faces import AGE_GROUPS, draw_face
from enrich.drawings.poster import draw_poster
from enrich.drawings.scenes import draw_scene

__all__ = [
    "HELD_OUT_SEED",
    "INPUT_PX",
    "LABELS",
    "RESAMPLE",
    "TRAINING_SEED",
    "drawn_face",
    "drawn_faces",
    "saved",
]

#: Training takes seeds from 0; all seeds from 1,000,000 on are held out and never trained with.
TRAINING_SEED = 0
HELD_OUT_SEED = 1_000_000

#: What the model says: an age group, or that there is no face.
LABELS = (*AGE_GROUPS, "no one")

INPUT_PX = 64
RESAMPLE = PIL.Image.Resampling.BILINEAR

_SIZES_PX = (64, 80, 96, 128, 160, 224)
_RENDITION_PX = (64, 96, 128, 224)


def drawn_face(seed: int) -> tuple[PIL.Image.Image, int]:
    """Draw the picture of ``seed`` and save it as an asset might be; return it with its label's index."""
    rng = random.Random(seed)
    label = rng.randrange(len(LABELS))
    size_px = rng.choice(_SIZES_PX)
    if label < len(AGE_GROUPS):
        image = draw_face(rng, LABELS[label], size_px)
    else:
        image, _ = rng.choice((draw_scene, draw_scene, draw_poster))(rng, size_px)
    return saved(rng, image), label


def drawn_faces(first_seed: int, count: int, cache: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return ``count`` faces as the model's preprocessing leaves them, drawing them once.

    Returns
    -------
    pixels : ndarray
        uint8, (count, 64, 64, 3), RGB.
    groups : ndarray
        int64, (count,): indices into `LABELS`.
    """
    file = cache / f"drawings-{first_seed}-{count}.npz"
    if not file.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        with ProcessPoolExecutor() as pool:
            drawn = list(pool.map(_model_input, range(first_seed, first_seed + count), chunksize=64))
        np.savez(file, pixels=np.stack([pixels for pixels, _ in drawn]), groups=[group for _, group in drawn])
    with np.load(file) as stored:
        return stored["pixels"], stored["groups"]


def _model_input(seed: int) -> tuple[NDArray[np.uint8], int]:
    image, group = drawn_face(seed)
    return np.asarray(image.resize((INPUT_PX, INPUT_PX), RESAMPLE)), group


def saved(rng: random.Random, image: PIL.Image.Image) -> PIL.Image.Image:
    """Save and read again, half of the time as JPEG, and now and then make a rendition of it."""
    if rng.random() < 0.5:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=rng.randint(75, 95))
        image = PIL.Image.open(file).convert("RGB")
    if rng.random() < 0.3:
        edge = rng.choice(_RENDITION_PX)
        image.thumbnail((edge, edge), PIL.Image.Resampling.LANCZOS)
    return image
