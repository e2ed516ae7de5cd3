"""Qwen2-VL and Qwen2.5-VL as three graphs, for pictures of every size.

The towers of transformers split their patches by lists of Python numbers, which a tracer bakes in: an
export of them is right for the traced size alone. Here the same arithmetic follows from the number of
patches and from ``image_grid_thw`` as a tensor, so that one graph takes any number of pictures of any grids.

Source of the arithmetic: ``modeling_qwen2_vl.py``, ``modeling_qwen2_5_vl.py`` and ``vision_utils.py`` of
Hugging Face transformers 5.23.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from enrich.exporters.joint_decoder import export_text
from enrich.exporters.tracing import module_of, trace

__all__ = ["VisionTower", "export"]

# Frames, rows and columns of tokens: pictures that are not square, with windows cut off and whole.
_TRACED_GRIDS = ((1, 3, 5), (1, 2, 1))
#: A logit so low that its share is 0, and that float16 still has.
_HIDDEN = -30000.0
_HEADS_TOGETHER = 4
_OTHER_GRIDS = (((1, 1, 1),), ((1, 9, 13),), ((1, 8, 4), (1, 1, 17), (1, 6, 6)))


class VisionTower(nn.Module):
    """The eyes of both generations, from patches and grids to one feature for each group of patches.

    Parameters
    ----------
    visual : torch.nn.Module
        ``model.model.visual`` of transformers.
    """

    def __init__(self, visual: nn.Module) -> None:
        super().__init__()
        config: Any = visual.config
        self.visual = visual
        self.heads: int = config.num_heads
        self.merge: int = config.spatial_merge_size
        # Windows, in groups of patches, and the blocks that look beyond them: of Qwen2.5 alone.
        size = getattr(config, "window_size", None)
        self.window: int | None = size // self.merge // config.patch_size if size else None
        self.unbounded = frozenset(getattr(config, "fullatt_block_indexes", ()))

    def forward(self, pixel_values: Tensor, image_grid_thw: Tensor) -> Tensor:
        """Return (N / merge², D) for patches (N, channels * frames * height * width) in groups of merge²."""
        visual: Any = self.visual
        states = visual.patch_embed(pixel_values)
        count = states.shape[0]
        frames, rows, columns, windows = self._places(count, image_grid_thw)
        order = None
        if self.window is not None:
            # Whole groups change places, so that those of a window stand together.
            groups = torch.argsort(windows[:: self.merge**2])
            order = (groups[:, None] * self.merge**2 + torch.arange(self.merge**2)).flatten()
            states, frames, windows = states[order], frames[order], windows[order]
            rows, columns = rows[order], columns[order]
        turns = self._turns(rows, columns)
        for index, block in enumerate(visual.blocks):
            query, key, value = self._project(block, states, turns)
            if self.window is None or index in self.unbounded:
                seen = _attend(query, key, value, frames[:, None] == frames[None])
            else:
                seen = _attend_near(query, key, value, windows, (self.window * self.merge) ** 2)
            states = states + block.attn.proj(seen)
            states = states + block.mlp(block.norm2(states))
        features: Tensor = visual.merger(states)
        return features if order is None else features[torch.argsort(groups)]

    def _places(self, count: int, grids: Tensor) -> tuple[Tensor, ...]:
        """Return each patch's frame, row, column and window; frames and windows by numbers of their own."""
        place = torch.arange(count)
        sizes = grids.prod(1)
        ends = sizes.cumsum(0)
        picture = (place[:, None] >= ends[None]).sum(1)
        start = (ends - sizes)[picture]
        height, width = grids[picture, 1], grids[picture, 2]
        within = (place - start) % (height * width)
        # A frame, and the windows in it, are numbered from the place of its first patch.
        frame = place - within
        group, rest = within // self.merge**2, within % self.merge**2
        across = width // self.merge
        row = group // across * self.merge + rest // self.merge
        column = group % across * self.merge + rest % self.merge
        if self.window is None:
            return frame, row, column, frame
        edge = self.window * self.merge
        window = frame + row // edge * ((width + edge - 1) // edge) + column // edge
        return frame, row, column, window

    def _turns(self, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
        """Return cosines and sines, (N, 1, width of a head), of how far each place turns a head."""
        speeds = self.visual.rotary_pos_emb.inv_freq
        angles = torch.cat([places[:, None].float() * speeds for places in (rows, columns)], dim=-1)
        angles = torch.cat([angles, angles], dim=-1)[:, None]
        return angles.cos(), angles.sin()

    def _project(self, block: Any, states: Tensor, turns: tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
        """Return queries, keys and values, (heads, N, width of a head)."""
        cosines, sines = turns
        split = block.attn.qkv(block.norm1(states)).reshape(states.shape[0], 3, self.heads, -1)
        query, key, value = split.unbind(1)
        query, key = (one * cosines + _turned(one) * sines for one in (query, key))
        query = query * block.attn.scaling
        return tuple(one.transpose(0, 1) for one in (query, key, value))


def export(model: nn.Module, folder: Path) -> dict[str, float]:
    """Write vision_encoder.onnx, embed_tokens.onnx and decoder_model_merged.onnx.

    Parameters
    ----------
    model : torch.nn.Module
        ``Qwen2VLForConditionalGeneration`` or ``Qwen2_5_VLForConditionalGeneration``, in float32.
    folder : Path
        Where.

    Returns
    -------
    dict of str to float
        By graph, how far it was from torch at most, as a share of torch's largest number.

    Raises
    ------
    Refused
        A graph says something else at other sizes. Not retryable.
    """
    inner: Any = model.eval().model
    return {
        "vision_encoder": _export_vision(inner.visual, folder / "vision_encoder.onnx"),
        **export_text(inner.language_model, model.lm_head, folder, position_axes=3),
    }


def _export_vision(visual: Any, graph: Path) -> float:
    tower = VisionTower(visual)

    def inputs(grids: tuple[tuple[int, int, int], ...]) -> dict[str, Tensor]:
        config = visual.config
        width = config.in_channels * config.temporal_patch_size * config.patch_size**2
        rows = torch.tensor(grids) * torch.tensor([1, tower.merge, tower.merge])
        return {"pixel_values": torch.randn(int(rows.prod(1).sum()), width), "image_grid_thw": rows}

    def see(pixels: Tensor, grids: Tensor) -> Tensor:
        return visual(pixels, grid_thw=grids).pooler_output

    return trace(
        module_of(tower, tower),
        graph,
        inputs(_TRACED_GRIDS),
        ["image_features"],
        {
            "pixel_values": {0: "patches"},
            "image_grid_thw": {0: "pictures"},
            "image_features": {0: "tokens"},
        },
        others=[inputs(grids) for grids in _OTHER_GRIDS],
        reference=module_of(visual, see),
    )


def _attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
    """Return what (heads, N, D) see of each other where the mask, (N, N), lets them: (N, heads * D).

    A few heads after the other: a picture of 1,000 tokens has 4,000 patches, and a table of all pairs of
    them is 64 MB; for 16 heads, in each of the steps it goes through, it would be gigabytes. One head alone
    would be a graph that is long in the making: 32 blocks took more than ten minutes.
    """
    bias = _bias(mask)
    parts = (one.split(_HEADS_TOGETHER) for one in (query, key.transpose(1, 2), value))
    seen = [
        torch.softmax(asked @ known + bias, dim=-1) @ given
        for asked, known, given in zip(*parts, strict=True)
    ]
    return torch.cat(seen).transpose(0, 1).flatten(1)


def _attend_near(query: Tensor, key: Tensor, value: Tensor, windows: Tensor, size: int) -> Tensor:
    """Return what (heads, N, D) see of their window: (N, heads * D).

    Windows stand together and have at most ``size`` patches, so the patches of a stretch of that length see
    no further than the stretches beside it. The work grows with N, not with its square.
    """
    count = query.shape[1]
    stretches = (count + size - 1) // size
    missing = stretches * size - count
    asked, known, given = (
        nn.functional.pad(one, (0, 0, 0, missing)).unflatten(1, (stretches, size)).transpose(0, 1)
        for one in (query, key, value)
    )
    # Of no window: they see each other, and nobody looks at what they see.
    numbers = nn.functional.pad(windows, (0, missing), value=-1).unflatten(0, (stretches, size))
    beside = nn.functional.pad(numbers, (0, 0, 1, 1), value=-1)
    beside = torch.cat([beside[:-2], beside[1:-1], beside[2:]], dim=1)
    known, given = (_with_neighbours(one) for one in (known, given))
    bias = _bias(numbers[:, :, None] == beside[:, None])[:, None]
    seen = torch.softmax(asked @ known.transpose(2, 3) + bias, dim=-1) @ given
    return seen.transpose(1, 2).flatten(0, 1)[:count].flatten(1)


def _bias(mask: Tensor) -> Tensor:
    """Return what is added to logits, so that those that the mask leaves out come to nothing."""
    return torch.where(mask, 0.0, _HIDDEN)


def _with_neighbours(stretches: Tensor) -> Tensor:
    """Return each of (S, heads, L, D) with those before and after it: (S, heads, 3 * L, D)."""
    padded = nn.functional.pad(stretches, (0, 0, 0, 0, 0, 0, 1, 1))
    return torch.cat([padded[:-2], padded[1:-1], padded[2:]], dim=2)


def _turned(heads: Tensor) -> Tensor:
    first, second = heads.chunk(2, dim=-1)
    return torch.cat([-second, first], dim=-1)
