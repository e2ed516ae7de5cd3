"""Measure how often the domain check of the drawings models errs, on drawings and on photographs.

    python training/domain_rates.py [--photographs FOLDER ...]

Drawings are saved as PNG, JPEG and WebP at many sizes, and like the photographs made renditions as
the pipeline does. It runs in the project's own environment; the figures go into card.py by hand.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageOps
from faces import HELD_OUT_SEED
from numpy.typing import NDArray

from enrich.drawings.faces import AGE_GROUPS, draw_face
from enrich.drawings.scenes import draw_scene
from enrich.inference.domain import flat_share

MANIFEST = Path(__file__).parents[1] / "enrich" / "drawings" / "models" / "drawings-age" / "manifest.json"
SIZES_PX = (64, 80, 96, 128, 160, 200, 256, 320, 400, 512, 640, 800, 1024, 1500, 2000)
RENDITIONS_PX = (224, 512, 768)


def main() -> None:
    """Print one line per kind of drawing and size, and one per folder of photographs."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--photographs", type=Path, nargs="*", default=[])
    arguments.add_argument("--each", type=int, default=60, help="drawings of each kind and size")
    chosen = arguments.parse_args()
    least = json.loads(MANIFEST.read_text(encoding="utf-8"))["domain"]["flat_share_min"]
    for kind in ("face", "scene"):
        for size_px in SIZES_PX:
            below, share = _below(drawings(kind, size_px, chosen.each), 512, least)
            print(f"{kind} {size_px} px: {share:.2%} refused ({len(below)})", flush=True)
    for folder in chosen.photographs:
        files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".xmp")
        for edge_px in RENDITIONS_PX:
            below, share = _below(files, edge_px, least)
            inside = [str(path.relative_to(folder)) for path in files if path not in below]
            print(
                f"{folder.name} at {edge_px} px: {1 - share:.2%} let in of {len(files)}: {inside}", flush=True
            )


def drawings(kind: str, size_px: int, count: int) -> Iterator[io.BytesIO]:
    """Yield drawings as files."""
    for number in range(count):
        rng = random.Random(HELD_OUT_SEED * 3 + number * 10_000 + size_px)
        if kind == "face":
            image = draw_face(rng, rng.choice(AGE_GROUPS), size_px)
        else:
            image, _ = draw_scene(rng, size_px)
        form = rng.choice(("PNG", "JPEG", "WEBP"))
        file = io.BytesIO()
        image.save(file, form, **({} if form == "PNG" else {"quality": rng.randint(75, 95)}))
        yield file


def rendition(file: Path | io.BytesIO, edge_px: int) -> NDArray[np.uint8]:
    """Return pixels as the pipeline makes them: reduced decoding, upright, RGB, shrunk."""
    with PIL.Image.open(file) as image:
        image.draft("RGB", (edge_px, edge_px))
        upright = PIL.ImageOps.exif_transpose(image).convert("RGB")
    upright.thumbnail((edge_px, edge_px), PIL.Image.Resampling.LANCZOS, reducing_gap=2.0)
    return np.asarray(upright)


def _below(
    files: Iterable[Path | io.BytesIO], edge_px: int, least: float
) -> tuple[list[Path | io.BytesIO], float]:
    """Return the files that the check refuses, and their share."""
    listed = list(files)
    below = [file for file in listed if flat_share(rendition(file, edge_px)) < least]
    return below, len(below) / len(listed)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
