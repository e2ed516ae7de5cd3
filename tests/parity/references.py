"""The recorded references, read: numbers, the tiny models' folders, and models opened from them."""

from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from parity.cases import CASES
from parity.pictures import CHOSEN, odd_pictures

from enrich.inference import Models, ModelStore
from enrich.inference.handle import Model
from enrich.types import Rendition

__all__ = ["FOLDER", "References"]

#: Where `parity.record` leaves them.
FOLDER = Path(__file__).parents[1] / "references"


class References:
    """One recording; close it.

    Parameters
    ----------
    folder : Path
        With the numbers and models.tar.xz.
    work : Path
        An empty folder for the models.
    """

    def __init__(self, folder: Path, work: Path) -> None:
        self._folder = folder
        self._numbers: dict[str, dict[str, NDArray[Any]]] = {}
        self.about: dict[str, Any] = json.loads((folder / "about.json").read_text(encoding="utf-8"))
        self.models_dir = work
        with tarfile.open(folder / "models.tar.xz") as archive:
            archive.extractall(work, filter="data")
        self.store = ModelStore(work)
        self.models = Models(self.store, "cpu", threads=1)
        self.pictures = [_rendition(pixels) for pixels in odd_pictures()]

    @property
    def chosen(self) -> list[Rendition]:
        """The five pictures that captions and answers are made for; nothing of them is kept from before."""
        return [_rendition(self.pictures[index].pixels) for index in CHOSEN]

    def numbers(self, name: str) -> dict[str, NDArray[Any]]:
        """Return the arrays of ``<name>.npz``; those of another export are the same."""
        name = name.removesuffix("-split").removesuffix("-cached")
        if name not in self._numbers:
            with np.load(self._folder / f"{name}.npz") as arrays:
                self._numbers[name] = dict(arrays)
        return self._numbers[name]

    def close(self) -> None:
        self.models.close()

    def speaker(self, name: str, case_name: str) -> Model:
        """Open a model that generates, with what the case changes in its files."""
        case = CASES[case_name]
        if not case.is_ended and not case.settings:
            return self.models.open(name)
        changed = f"{name}-{case_name}"
        folder = self.models_dir / changed
        if not folder.exists():
            shutil.copytree(self.models_dir / name, folder)
            generation = dict(case.settings)
            ends = self.about[name.removesuffix("-cached")]["ends"]
            if case.is_ended and name.startswith("ved"):
                generation["eos_token_id"] = ends
            elif case.is_ended:
                _merge(folder / "config.json", {"text_config": {"sep_token_id": ends[0]}})
            _merge(folder / "generation_config.json", generation)
        return self.models.open(changed)


def _merge(path: Path, changes: dict[str, Any]) -> None:
    """Change keys of a JSON file; one level of objects is merged."""
    values = json.loads(path.read_text(encoding="utf-8"))
    for key, value in changes.items():
        values[key] = {**values[key], **value} if isinstance(value, dict) and key in values else value
    path.write_text(json.dumps(values, indent=2), encoding="utf-8")


def _rendition(pixels: NDArray[np.uint8]) -> Rendition:
    height, width = pixels.shape[:2]
    return Rendition(None, None, 0, pixels, width, height, width, height)
