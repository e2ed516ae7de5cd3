"""The recorded vision-language references, read without torch: numbers, and the model's folder."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from parity.pictures import odd_pictures
from parity.vlm.conversations import Conversation

from enrich.inference.stored import StoredModel, read_model
from enrich.types import Rendition, Turn

__all__ = ["FOLDER", "numbers_of", "pictures", "rows_of", "stored_model", "turns_of"]

FOLDER = Path(__file__).parents[2] / "references" / "vlm"


def numbers_of(name: str) -> dict[str, NDArray[Any]]:
    """Return the arrays of ``<name>.npz``."""
    with np.load(FOLDER / f"{name}.npz") as arrays:
        return dict(arrays)


def stored_model(name: str, work: Path) -> StoredModel:
    """Unpack a model's folder into ``work`` and read it."""
    folder = work / name
    with tarfile.open(FOLDER / f"{name}.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return read_model(folder)


def pictures() -> list[Rendition]:
    """Return ``odd_pictures`` as renditions, of which nothing is kept from before."""
    made = []
    for pixels in odd_pictures():
        height, width = pixels.shape[:2]
        made.append(Rendition(None, None, 0, pixels, width, height, width, height))
    return made


def turns_of(conversation: Conversation, renditions: list[Rendition]) -> list[Turn]:
    """Return a conversation with its pictures in their places."""
    return [
        Turn(role, tuple(renditions[one] if isinstance(one, int) else one for one in contents))  # type: ignore[arg-type]
        for role, contents in conversation
    ]


def rows_of(filled: NDArray[np.int64]) -> list[list[int]]:
    """Return rows without what they were filled up with, -1."""
    return [[token for token in row if token >= 0] for row in filled.tolist()]
