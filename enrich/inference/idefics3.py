"""The eyes of Idefics3 and SmolVLM: they look at a picture tile by tile.

Source of the text that stands for the tiles: ``processing_idefics3.py`` of Hugging Face transformers 5.23;
SmolVLM's is the same.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from enrich.errors import ManifestError
from enrich.inference.batches import BUCKETS
from enrich.inference.devices import Device
from enrich.inference.huggingface import PROCESSOR_NAMES
from enrich.inference.manifest import read_json
from enrich.inference.ports import choose_port
from enrich.inference.processor import parse_processor
from enrich.inference.scheduler import Scheduler
from enrich.inference.session import Port, Session, open_session
from enrich.inference.sight import Look, Sight
from enrich.inference.stored import StoredModel
from enrich.inference.text import Tokenizer
from enrich.inference.tiling import Tiling

__all__ = ["Idefics3Sight"]

_PIXELS, _MASK, _FEATURES = "pixel_values", "pixel_attention_mask", "image_features"
_TILES = "tiles"
_IMAGE, _AROUND, _WHOLE = "<image>", "<fake_token_around_image>", "<global-img>"
#: The processor's own default, where its files leave it out.
_TOKENS = 169
#: Pixels in one run: on the CPU one tile of SmolVLM's, elsewhere four. Each more takes 300 MB, because the
#: square of its patches is held for each head; and cores are as busy with one (3.2 s a tile, 3.3 in fours).
_CPU_PIXELS_MAX, _PIXELS_MAX = 2**18, 2**20


class Idefics3Sight(Sight):
    """The eyes of Idefics3 and SmolVLM: each tile is one row, so that all callers' tiles are merged.

    Parameters
    ----------
    model : StoredModel
        Whose eyes they are.
    session : Session
        The vision graph: ``pixel_values`` (B, N, 3, H, W) and, where it takes one, their mask.
    tiling : Tiling
        How pictures are cut.
    tokens : int
        Rows of features, and image tokens, of each tile.

    Raises
    ------
    ManifestError
        The graph and the files are not of one model.
    InferenceError
        The graph refused a white tile.

    None of them is retryable.
    """

    placeholder = _IMAGE
    image_token = _IMAGE
    marks = (_AROUND,)

    def __init__(self, model: StoredModel, session: Session, tiling: Tiling, tokens: int) -> None:
        self.size_px = tiling.size_px
        self._tiling, self._tokens = tiling, tokens
        self._prepare = tiling.preprocessing()
        self._session = session
        port = choose_port(model, session.inputs, None, [_PIXELS], "input")
        _check_tiles(model, port, tiling.tile_px)
        self._output = choose_port(model, session.outputs, None, [_FEATURES], "output").name
        self._try(model)
        pixels = _CPU_PIXELS_MAX if session.provider == "CPUExecutionProvider" else _PIXELS_MAX
        most = 1 if port.shape[1] == 1 else max(1, pixels // tiling.tile_px**2)
        self._scheduler = Scheduler(self._infer, [one for one in BUCKETS if one <= most], name=model.name)

    @classmethod
    def open(
        cls, model: StoredModel, tokenizer: Tokenizer, device: Device, *, threads: int | None = None
    ) -> Self:
        """Load the vision graph, look at a white tile, and start the scheduler.

        Raises
        ------
        ExtraMissing, ManifestError, ProviderError, InferenceError
            See ``Session`` and this class; or the tokenizer lacks what stands for a picture. Not retryable.
        """
        cls.image_token_id(model, tokenizer)
        tiling = parse_processor(Tiling, model, "Idefics3", "SmolVLM")
        tokens = _read_tokens(model)
        session = open_session(model.graphs["vision"], device, threads=threads)
        return cls(model, session, tiling, tokens)

    def look(self, picture: PIL.Image.Image) -> Look:
        """Cut a picture of mode RGB; ``tiles`` are uint8, (N, H, W, 3), the whole picture last.

        They are normalised when it is their turn: as float32 the seventeen tiles of SmolVLM are 53 MB.
        """
        tiles, grid = self._tiling.cut(picture)
        return Look({_TILES: tiles}, self._text(*grid), grid)

    def see(self, looks: Sequence[Look], *, interactive: bool = False) -> list[NDArray[np.float32]]:
        """Return the features of each picture, (T, D), those of its tiles one after the other.

        Raises
        ------
        InferenceError
            The runtime refused a tile. Not retryable.
        """
        counts = [len(look.inputs[_TILES]) for look in looks]
        tiles = [tile for look in looks for tile in look.inputs[_TILES]]
        rows = iter(self._scheduler.run(tiles, interactive=interactive))
        return [np.concatenate(list(itertools.islice(rows, count))) for count in counts]

    def _text(self, rows: int, columns: int) -> str:
        """Return what stands for a picture: each tile under its place, a line for each row, and the whole."""
        seen = _IMAGE * self._tokens
        lines = [
            "".join(f"{_AROUND}<row_{row}_col_{column}>{seen}" for column in range(1, columns + 1)) + "\n"
            for row in range(1, rows + 1)
        ]
        return "".join(lines) + ("\n" if lines else "") + f"{_AROUND}{_WHOLE}{seen}{_AROUND}"

    def _infer(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        pixels = np.stack([self._prepare(tile) for tile in tiles])
        # (N, T, D) or (N T, D). The scheduler counts the rows.
        features = self._run(pixels)
        return features.reshape(-1, self._tokens, features.shape[-1])

    def _run(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        # As the pictures of one prompt, the only way in which published graphs are used; all of each tile
        # is picture, for they are stretched instead of padded.
        mask = np.ones((1, len(pixels), *pixels.shape[-2:]), np.bool_)
        (features,) = self._session.run({_PIXELS: pixels[None], _MASK: mask}, [self._output])
        return features.astype(np.float32, copy=False)

    def _try(self, model: StoredModel) -> None:
        edge = self._tiling.tile_px
        # Not of zeros: transformers' model takes those for padding and leaves them out, and so may an export.
        features = self._run(np.ones((1, 3, edge, edge), np.float32))
        found = features.size // features.shape[-1]
        if found != self._tokens:
            raise ManifestError(
                f"{model.folder / PROCESSOR_NAMES[1]}: image_seq_len: is {self._tokens}, and the vision "
                f"graph gives {found} rows for a tile of {edge} px; copy it from where the weights come from"
            )


def _read_tokens(model: StoredModel) -> int:
    path = model.folder / PROCESSOR_NAMES[1]
    values: Mapping[str, Any] = read_json(path) if path.is_file() else {}
    tokens = values.get("image_seq_len", _TOKENS)
    if not isinstance(tokens, int) or tokens < 1:
        raise ManifestError(f"{path}: image_seq_len: must be a number of tokens, not {tokens!r}")
    return tokens


def _check_tiles(model: StoredModel, port: Port, edge: int) -> None:
    wanted = (None, None, 3, edge, edge)
    fits = len(port.shape) == len(wanted) and all(
        found is None or expected is None or found == expected
        for found, expected in zip(port.shape, wanted, strict=True)
    )
    if not fits or port.shape[1] not in (None, 1):
        raise ManifestError(
            f"{model.folder}: the vision graph's {port.name} must take (batch, tiles, 3, {edge}, {edge}), "
            "any number of tiles, as the exports of SmolVLM on the hub do"
        )
