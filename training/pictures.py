"""Drawings as drawings-vlm and drawings-clip see them: scenes, faces and posters, saved, read, resized."""

from __future__ import annotations

import dataclasses
import pickle
import random
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from faces import saved
from numpy.typing import NDArray

from enrich.drawings.faces import AGE_GROUPS, draw_face
from enrich.drawings.poster import draw_poster
from enrich.drawings.scenes import COLOURS, PLACES, SHAPES, Scene, draw_scene

__all__ = ["INPUT_PX", "PATCH_PX", "RESAMPLE", "Pictures", "drawn_picture", "drawn_pictures", "patch_labels"]

INPUT_PX = 96
PATCH_PX = 12
RESAMPLE = 2  # Pillow's bilinear

_SIZES_PX = (96, 112, 128, 160, 224, 320, 400)
_KINDS, _COLOURS = sorted(SHAPES), sorted(COLOURS)
_MIRRORED = {
    place: place.replace("left", "?").replace("right", "left").replace("?", "right") for place in PLACES
}


@dataclasses.dataclass(frozen=True)
class Pictures:
    """Drawings with what they show.

    Parameters
    ----------
    pixels : ndarray
        uint8, (N, 96, 96, 3), RGB.
    scenes : list
        A `Scene`, or "face" or "poster", for each.
    """

    pixels: NDArray[np.uint8]
    scenes: list[Scene | str]


def drawn_picture(seed: int) -> tuple[NDArray[np.uint8], Scene | str]:
    """Draw the picture of ``seed`` as the model's preprocessing leaves it."""
    rng = random.Random(seed)
    size_px, lot = rng.choice(_SIZES_PX), rng.random()
    scene: Scene | str
    if lot < 0.88:
        image, scene = draw_scene(rng, size_px)
    elif lot < 0.95:
        image, scene = draw_face(rng, rng.choice(AGE_GROUPS), size_px), "face"
    else:
        image, scene = draw_poster(rng, size_px)[0], "poster"
    return np.asarray(saved(rng, image).resize((INPUT_PX, INPUT_PX), RESAMPLE)), scene


def drawn_pictures(first_seed: int, count: int, cache: Path) -> Pictures:
    """Return ``count`` drawings, drawing them once."""
    file = cache / f"pictures-{first_seed}-{count}.pickle"
    if not file.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        with ProcessPoolExecutor() as pool:
            drawn = list(pool.map(drawn_picture, range(first_seed, first_seed + count), chunksize=64))
        pictures = (np.stack([pixels for pixels, _ in drawn]), [scene for _, scene in drawn])
        file.write_bytes(pickle.dumps(pictures, protocol=5))
    # Our own file, written a moment or a training ago.
    return Pictures(*pickle.loads(file.read_bytes()))


def mirrored(scene: Scene | str) -> Scene | str:
    """Return the scene of the picture's mirror image."""
    if isinstance(scene, str):
        return scene
    shapes = [
        dataclasses.replace(shape, x=1 - shape.x, place=_MIRRORED[shape.place]) for shape in scene.shapes
    ]
    return Scene(scene.background, tuple(sorted(shapes, key=lambda shape: PLACES.index(shape.place))))


def patch_labels(scene: Scene | str) -> NDArray[np.int64]:
    """Return what each patch shows: int64, (4, 64), the kind, colour, size and place of its shape, or 0.

    Faces and posters are -100 throughout, which losses leave out.
    """
    edge = INPUT_PX // PATCH_PX
    if isinstance(scene, str):
        return np.full((4, edge * edge), -100)
    labels = np.zeros((4, edge * edge), np.int64)
    centres = (np.arange(edge) + 0.5) / edge
    y, x = (axis.reshape(-1) for axis in np.meshgrid(centres, centres, indexing="ij"))
    for shape in scene.shapes:
        inside = np.hypot(x - shape.x, y - shape.y) < shape.radius * 0.95
        labels[0, inside] = 1 + _KINDS.index(shape.kind)
        labels[1, inside] = 1 + _COLOURS.index(shape.colour)
        labels[2, inside] = 1 + shape.is_large
        labels[3, inside] = 1 + PLACES.index(shape.place)
    return labels


def background_label(scene: Scene | str) -> int:
    """Return the background's number; 11 for faces, 12 for posters."""
    if isinstance(scene, str):
        return len(_COLOURS) + (scene == "poster")
    return _COLOURS.index(scene.background)
