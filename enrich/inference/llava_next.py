"""LLaVA-NeXT: the whole picture made small, and cut into tiles, whose margins are left out.

Source of the arithmetic: ``image_processing_pil_llava_next.py``, ``processing_llava_next.py`` and
``pack_image_features`` in ``modeling_llava_next.py`` of Hugging Face transformers 5.23.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from enrich.errors import ManifestError
from enrich.inference.devices import Device
from enrich.inference.llava import FEATURES, IMAGE, PIXELS, buckets_of, tensors_of
from enrich.inference.ports import choose_port, picture_port
from enrich.inference.preprocess import Preprocessing
from enrich.inference.processor import read_processor
from enrich.inference.scheduler import Scheduler
from enrich.inference.session import Session, open_session
from enrich.inference.sight import Look, Sight
from enrich.inference.stored import StoredModel
from enrich.inference.text import Tokenizer

__all__ = ["AnyResolution", "LlavaNextSight", "margins"]

_NEWLINE = "image_newline"
#: The configuration's own default.
_PINPOINTS = ((336, 672), (672, 336), (672, 672), (1008, 336), (336, 1008))
_LONGEST_PX = 4096


class AnyResolution:
    """How a picture is laid on the best of several sizes, each of whole tiles.

    Parameters
    ----------
    pinpoints : sequence of (int, int)
        The sizes, (height, width) in px.
    edge : int
        A tile's, in px.
    resample : PIL.Image.Resampling
        Pillow's filter.
    """

    def __init__(
        self, pinpoints: Sequence[tuple[int, int]], edge: int, resample: PIL.Image.Resampling
    ) -> None:
        self._pinpoints, self._edge, self._resample = pinpoints, edge, resample

    def best(self, width: int, height: int) -> tuple[int, int]:
        """Return the size, (height, width), that shows most of a picture and wastes least of itself."""

        def worth(size: tuple[int, int]) -> tuple[int, int]:
            scale = min(size[1] / width, size[0] / height)
            shown = min(int(width * scale) * int(height * scale), width * height)
            return shown, shown - size[0] * size[1]

        # Of equals, the first.
        return max(self._pinpoints, key=worth)

    def cut(self, picture: PIL.Image.Image) -> tuple[list[PIL.Image.Image], tuple[int, int]]:
        """Return the whole picture and its tiles row by row, and how many rows and columns they are."""
        edge = self._edge
        height, width = self.best(*picture.size)
        sheet = PIL.Image.new("RGB", (width, height))
        laid = picture.resize(_within(picture.size, (width, height)), self._resample)
        sheet.paste(laid, ((width - laid.width) // 2, (height - laid.height) // 2))
        whole = picture.resize((edge, edge), self._resample)
        tiles = [
            sheet.crop((left, top, left + edge, top + edge))
            for top in range(0, height, edge)
            for left in range(0, width, edge)
        ]
        return [whole, *tiles], (height // edge, width // edge)


def margins(grid: tuple[int, ...], side: int) -> tuple[int, int]:
    """Return how many rows above and below, and columns left and right, of the features are no picture.

    Parameters
    ----------
    grid : tuple of int
        Rows and columns of tiles; the picture's width and height.
    side : int
        Features along a tile's edge.
    """
    rows, columns, width, height = grid
    high, wide = rows * side, columns * side
    # Rounded like this on both sides of the model, or counts would differ by one.
    if width / height > wide / high:
        return (high - int(round(height * (wide / width), 7))) // 2, 0
    return 0, (wide - int(round(width * (high / height), 7))) // 2


class LlavaNextSight(Sight):
    """The eyes of LLaVA-NeXT; each tile is one row, so that all callers' tiles are merged.

    Parameters
    ----------
    model : StoredModel
        Whose eyes they are.
    session : Session
        The vision graph: ``pixel_values`` (B, 3, H, W) to (B, T, D), and the constant ``image_newline``
        (D,), which ends a row of features.
    prepare : Preprocessing
        From a tile to a tensor.
    layout : AnyResolution
        How pictures are cut.
    size_px : int
        The longest edge of which anything is left.

    Raises
    ------
    ManifestError
        The graph takes tiles of another size, lacks an output, or gives rows that are no square.
    InferenceError
        The graph refused a grey tile.

    None of them is retryable.
    """

    placeholder = IMAGE
    image_token = IMAGE

    def __init__(
        self,
        model: StoredModel,
        session: Session,
        prepare: Preprocessing,
        layout: AnyResolution,
        size_px: int,
    ) -> None:
        self._session, self._prepare, self._layout, self.size_px = session, prepare, layout, size_px
        self._input = picture_port(model, session.inputs, prepare.shape).name
        self._output = choose_port(model, session.outputs, FEATURES, [], "output").name
        newline = choose_port(model, session.outputs, _NEWLINE, [], "output").name
        blank = np.zeros((1, *prepare.shape), np.float32)
        features, ending = session.run({self._input: blank}, [self._output, newline])
        self._newline = ending.reshape(-1).astype(np.float32)
        self._side = math.isqrt(features.shape[1])
        if self._side**2 != features.shape[1]:
            raise ManifestError(
                f"{model.folder}: the vision graph gives {features.shape[1]} rows for a tile, no square; "
                "export it with vision_feature_select_strategy default"
            )
        self._scheduler = Scheduler(self._infer, buckets_of(session, features.shape[1]), name=model.name)

    @classmethod
    def open(
        cls, model: StoredModel, tokenizer: Tokenizer, device: Device, *, threads: int | None = None
    ) -> Self:
        """Load the vision graph, look at a grey tile, and start the scheduler.

        Raises
        ------
        ExtraMissing, ManifestError, ProviderError, InferenceError
            See ``Session`` and this class. Not retryable.
        """
        processor, path = read_processor(model)
        prepare = tensors_of(processor, path)
        edge = prepare.shape[1]
        pinpoints = _pinpoints(processor.get("image_grid_pinpoints") or _PINPOINTS, edge)
        if pinpoints is None:
            raise ManifestError(
                f"{path}: image_grid_pinpoints: must be heights and widths that are multiples of {edge} px, "
                f"the edge of a tile, and at most {_LONGEST_PX}"
            )
        session = open_session(model.graphs["vision"], device, threads=threads)
        longest = max(max(size) for size in pinpoints)
        return cls(model, session, prepare, AnyResolution(pinpoints, edge, prepare.resample), longest)

    def look(self, picture: PIL.Image.Image) -> Look:
        """Cut a picture of mode RGB; ``pixel_values`` are float32, (N, 3, H, W), the whole picture first."""
        tiles, (rows, columns) = self._layout.cut(picture)
        grid = (rows, columns, *picture.size)
        above, left = margins(grid, self._side)
        high, wide = rows * self._side - 2 * above, columns * self._side - 2 * left
        count = self._side**2 + high * (wide + 1)
        return Look({PIXELS: np.stack([self._prepare(tile) for tile in tiles])}, IMAGE * count, grid)

    def see(self, looks: Sequence[Look], *, interactive: bool = False) -> list[NDArray[np.float32]]:
        """Return the features of each picture, (T, D): the whole, then row by row with the end of each.

        Raises
        ------
        InferenceError
            The runtime refused a tile. Not retryable.
        """
        tiles = [tile for look in looks for tile in look.inputs[PIXELS]]
        rows = self._scheduler.run(tiles, interactive=interactive)
        seen: list[NDArray[np.float32]] = []
        start = 0
        for look in looks:
            end = start + len(look.inputs[PIXELS])
            seen.append(np.concatenate([rows[start], self._laid_out(rows[start + 1 : end], look.grid)]))
            start = end
        return seen

    def _laid_out(self, tiles: Sequence[NDArray[np.float32]], grid: tuple[int, ...]) -> NDArray[np.float32]:
        rows, columns = grid[:2]
        side = self._side
        # Tiles beside and below one another, to one sheet.
        sheet = np.stack(tiles).reshape(rows, columns, side, side, -1).transpose(0, 2, 1, 3, 4)
        sheet = sheet.reshape(rows * side, columns * side, -1)
        above, left = margins(grid, side)
        sheet = sheet[above : len(sheet) - above, left : sheet.shape[1] - left]
        ends = np.broadcast_to(self._newline, (len(sheet), 1, len(self._newline)))
        return np.concatenate([sheet, ends], axis=1).reshape(-1, len(self._newline))

    def _infer(self, tiles: NDArray[np.float32]) -> NDArray[np.float32]:
        (features,) = self._session.run({self._input: tiles}, [self._output])
        return features.astype(np.float32, copy=False)


def _within(size: tuple[int, int], target: tuple[int, int]) -> tuple[int, int]:
    """Return the largest size of a picture's shape, all (width, height), that lies within another."""
    width, height = size
    by_width, by_height = target[0] / width, target[1] / height
    if by_width < by_height:
        return target[0], min(math.ceil(height * by_width), target[1])
    return min(math.ceil(width * by_height), target[0]), target[1]


def _pinpoints(said: Any, edge: int) -> tuple[tuple[int, int], ...] | None:
    """Return sizes as (height, width); None where they are none."""
    try:
        sizes = tuple((int(height), int(width)) for height, width in said)
    except (TypeError, ValueError):
        return None
    fits = (0 < px <= _LONGEST_PX and px % edge == 0 for size in sizes for px in size)
    return sizes if sizes and all(fits) else None
