"""A tiny language of pictures and words: the graphs of a joint decoder, and how to tell what they say.

Token t is embedded as (t + 1, 0) and a picture's features are (n, 0). The logits after some of them stand in
a table's row ``(7 * sum + 3 * position of the last) % ROWS``; the cache holds what was read. What the
attention mask leaves out does not count, unless the graph is one that counts its places. The last token's
logits are the only ones, unless the graph gives ``words`` of them for each; the others' are 0.
"""

from pathlib import Path

import numpy as np
import tiny_graphs
from onnx import TensorProto, helper
from tiny_decoder import ROWS, TABLE, WORDS

from enrich.inference.devices import Device
from enrich.inference.joint_decoder import JointDecoder
from enrich.inference.session import Session

IMAGE = 9

_INT, _FLOAT = TensorProto.INT64, TensorProto.FLOAT
_CPU = Device("cpu")
_CONSTANTS = {
    "table": TABLE,
    "rows": np.array(ROWS, np.int64),
    "zero": np.array([0], np.int64),
    "last": np.array([-1], np.int64),
    "seven": np.array(7, np.float32),
    "three": np.array(3, np.float32),
    "axis0": np.array([0], np.int64),
    "axis1": np.array([1], np.int64),
    "axis3": np.array([3], np.int64),
    "one": np.array([1], np.int64),
    "many": np.array([2**31], np.int64),
    "axis2": np.array([2], np.int64),
    "axes13": np.array([1, 3], np.int64),
    "axes123": np.array([1, 2, 3], np.int64),
}


def logits_after(total: float, position: int) -> np.ndarray:
    """The logits after things of this sum, the last of them at this position: float32, (WORDS,)."""
    return TABLE[int(7 * total + 3 * position) % ROWS]


def greedy(ids, shown, count: int, *, ahead: int = 0) -> list[int]:
    """What a decoder writes that takes the likeliest token each time."""
    features = iter(shown)
    total = sum(next(features) if token == IMAGE else token + 1 for token in ids)
    made, place = [], len(ids) - 1
    for step in range(count):
        token = int(logits_after(total, place + (ahead if step else 0)).argmax())
        made.append(token)
        total += token + 1
        place += 1
    return made


def save_embedding(path: Path, *, width: int = 2) -> Path:
    table = np.zeros((WORDS, width), np.float32)
    table[:, 0] = np.arange(1, WORDS + 1)
    return tiny_graphs.save(
        path,
        [helper.make_node("Gather", ["embeddings", "input_ids"], ["inputs_embeds"])],
        [("input_ids", _INT, ["b", "s"])],
        [("inputs_embeds", _FLOAT, ["b", "s", width])],
        {"embeddings": table},
    )


def save_decoder(
    path: Path,
    *,
    counts_places: bool = False,
    has_positions: bool = True,
    axes: int = 1,
    keeps: bool = False,
    bakes: str | None = None,
    words: int | None = None,
) -> Path:
    """Write the decoder.

    ``bakes``: several tokens count as if they were the first ones (``Slice``), or over a past they are
    refused (``Add``).
    """
    inputs = [("inputs_embeds", _FLOAT, ["b", "s", 2]), ("attention_mask", _INT, ["b", "all"])]
    inputs += [(f"past_key_values.0.{half}", _FLOAT, ["b", 1, "p", 2]) for half in ("key", "value")]
    if has_positions:
        inputs.append(("position_ids", _INT, [3, "b", "s"] if axes == 3 else ["b", "s"]))
    if keeps:
        inputs.append(("num_logits_to_keep", _INT, []))
    nodes = [
        helper.make_node("Unsqueeze", ["inputs_embeds", "axis1"], ["new"]),
        helper.make_node("Concat", ["past_key_values.0.key", "new"], ["present.0.key"], axis=2),
        helper.make_node("Concat", ["past_key_values.0.value", "new"], ["present.0.value"], axis=2),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=_FLOAT),
        helper.make_node("Unsqueeze", ["mask", "axes13"], ["weights"]),
        helper.make_node("Mul", ["present.0.value", "weights"], ["masked"]),
        *_baked(bakes),
        helper.make_node("ReduceSum", ["seen", "axes123"], ["sum"], keepdims=0),
    ]
    if counts_places:
        # Every place counts one more, also where the mask is 0.
        nodes += [
            helper.make_node("Cos", ["present.0.key"], ["cosines"]),
            helper.make_node("Gather", ["cosines", "last"], ["ones"], axis=3),
            helper.make_node("ReduceSum", ["ones", "axes123"], ["places"], keepdims=0),
            helper.make_node("Add", ["sum", "places"], ["total"]),
        ]
    else:
        nodes.append(helper.make_node("Identity", ["sum"], ["total"]))
    nodes += _place(has_positions, axes)
    nodes += [
        helper.make_node("Mul", ["total", "seven"], ["sevenfold"]),
        helper.make_node("Add", ["sevenfold", "threefold"], ["row"]),
        helper.make_node("Cast", ["row"], ["row_int"], to=_INT),
        helper.make_node("Mod", ["row_int", "rows"], ["row_of"]),
        helper.make_node("Gather", ["table", "row_of"], ["found"], axis=0),
        helper.make_node("Unsqueeze", ["found", "axis1"], ["logits" if words is None else "last_logits"]),
    ]
    if words is not None:
        nodes += _logits_of_each()
    outputs = [("logits", _FLOAT, ["b", 1, WORDS] if words is None else ["b", "s", words])]
    outputs += [(f"present.0.{half}", _FLOAT, ["b", 1, "all", 2]) for half in ("key", "value")]
    constants = {**_CONSTANTS, "more_words": np.array([(words or WORDS) - WORDS], np.int64)}
    return tiny_graphs.save(path, nodes, inputs, outputs, constants)


def open_decoder(folder: Path, *, kind: type[Session] = Session, **options: object) -> JointDecoder:
    embed = Session(save_embedding(folder / "embed_tokens.onnx"), _CPU, threads=1)
    decoder = kind(save_decoder(folder / "decoder_model_merged.onnx", **options), _CPU, threads=1)
    return JointDecoder(embed, decoder, image_token_id=IMAGE)


def _baked(kind: str | None) -> list:
    """From what the mask leaves to what counts; see ``save_decoder``."""
    if kind is None:
        return [helper.make_node("Identity", ["masked"], ["seen"])]
    nodes = [
        helper.make_node("Shape", ["inputs_embeds"], ["new_count"], start=1, end=2),
        helper.make_node("Equal", ["new_count", "one"], ["is_step"]),
    ]
    if kind == "Slice":
        return [
            *nodes,
            helper.make_node("Where", ["is_step", "many", "new_count"], ["end"]),
            helper.make_node("Slice", ["masked", "zero", "end", "axis2"], ["seen"]),
        ]
    return [
        *nodes,
        helper.make_node("Where", ["is_step", "one", "new_count"], ["baked"]),
        helper.make_node("Concat", ["one", "one", "baked", "one"], ["baked_shape"], axis=0),
        helper.make_node("ConstantOfShape", ["baked_shape"], ["nothing"]),
        helper.make_node("Add", ["masked", "nothing"], ["seen"]),
    ]


def _logits_of_each() -> list:
    """From the last token's logits to those of each, and of more words: all others are 0."""
    return [
        helper.make_node("Shape", ["inputs_embeds"], ["count"], start=1, end=2),
        helper.make_node("Sub", ["count", "one"], ["before"]),
        helper.make_node("Concat", ["zero", "before", *["zero"] * 3, "more_words"], ["around"], axis=0),
        helper.make_node("Pad", ["last_logits", "around"], ["logits"]),
    ]


def _place(has_positions: bool, axes: int) -> list:
    """From the positions to three times the last one's; of several axes, their sum."""
    if not has_positions:
        return [
            helper.make_node("Sub", ["sum", "sum"], ["threefold"]),
        ]
    nodes = [helper.make_node("Cast", ["position_ids"], ["floats"], to=_FLOAT)]
    if axes == 3:
        nodes.append(helper.make_node("ReduceSum", ["floats", "axis0"], ["places_of"], keepdims=0))
    else:
        nodes.append(helper.make_node("Identity", ["floats"], ["places_of"]))
    return [
        *nodes,
        helper.make_node("Gather", ["places_of", "last"], ["last_place"], axis=1),
        helper.make_node("Squeeze", ["last_place", "axis1"], ["last_of"]),
        helper.make_node("Mul", ["last_of", "three"], ["threefold"]),
    ]
