"""Tiny dual encoders whose space is known by heart.

A picture is its mean colour, and a text the sum of its words: red is "red" and so on, "grey" is all three.
Where pads count, as with SigLIP, each adds a little of the third axis.
"""

import json
from pathlib import Path

import numpy as np
import tiny_graphs
import tokenizers
from onnx import TensorProto, helper
from tokenizers import models, pre_tokenizers, processors

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
WORDS = ("<unk>", "red", "green", "blue", "grey", "a", "of")
# Added later, so that they are no words.
SPECIAL = ("<pad>", "<start>", "<end>")
VECTORS = {
    "<pad>": (0, 0, 0.01),
    "red": (1, 0, 0),
    "green": (0, 1, 0),
    "blue": (0, 0, 1),
    "grey": (1, 1, 1),
    "<end>": (0.1, 0.1, 0.1),
}
TABLE = np.asarray([VECTORS.get(word, (0, 0, 0)) for word in WORDS + SPECIAL], np.float32)
PIXELS = ("pixel_values", FLOAT, ["pictures", 3, "height", "width"])
IDS = ("input_ids", INT64, ["texts", "words"])
MASK = ("attention_mask", INT64, ["texts", "words"])
SIDE = 8

_SEE = helper.make_node("ReduceMean", ["pixel_values"], ["seen"], axes=[2, 3], keepdims=0)
_GATHER = helper.make_node("Gather", ["table", "input_ids"], ["words"])
_MASKED = [
    helper.make_node("Cast", ["attention_mask"], ["counted"], to=FLOAT),
    helper.make_node("Unsqueeze", ["counted", "last"], ["column"]),
    helper.make_node("Mul", ["words", "column"], ["kept"]),
    helper.make_node("ReduceSum", ["kept", "middle"], ["read"], keepdims=0),
]
_UNMASKED = [helper.make_node("ReduceSum", ["words", "middle"], ["read"], keepdims=0)]
_CONSTANTS = {"table": TABLE, "last": np.asarray([-1]), "middle": np.asarray([1])}


def _normalised(source: str, target: str) -> list:
    return [
        helper.make_node("ReduceL2", [source], [f"{source}_length"], axes=[1], keepdims=1),
        helper.make_node("Max", [f"{source}_length", "tiny"], [f"{source}_divisor"]),
        helper.make_node("Div", [source, f"{source}_divisor"], [target]),
    ]


def save_whole(path: Path, *, scale: float, bias: float = 0.0, masked: bool = True) -> Path:
    """One graph, with outputs as optimum names them."""
    nodes = [
        _SEE,
        _GATHER,
        *(_MASKED if masked else _UNMASKED),
        *_normalised("seen", "image_embeds"),
        *_normalised("read", "text_embeds"),
        helper.make_node("Transpose", ["text_embeds"], ["turned"], perm=[1, 0]),
        helper.make_node("MatMul", ["image_embeds", "turned"], ["cosines"]),
        helper.make_node("Mul", ["cosines", "scale"], ["scaled"]),
        helper.make_node("Add", ["scaled", "bias"], ["logits_per_image"]),
    ]
    constants = {
        **_CONSTANTS,
        "tiny": np.float32([1e-9]),
        "scale": np.float32([scale]),
        "bias": np.float32([bias]),
    }
    inputs = [IDS, PIXELS, *([MASK] if masked else [])]
    outputs = [
        ("logits_per_image", FLOAT, ["pictures", "texts"]),
        ("text_embeds", FLOAT, ["texts", 3]),
        ("image_embeds", FLOAT, ["pictures", 3]),
    ]
    return tiny_graphs.save(path, nodes, inputs, outputs, constants)


def save_split(
    folder: Path, *, masked: bool = True, outputs: tuple = ("image_embeds", "text_embeds")
) -> None:
    """vision_model.onnx and text_model.onnx."""
    seen, read = outputs
    nodes = [_SEE, helper.make_node("Identity", ["seen"], [seen])]
    tiny_graphs.save(folder / "vision_model.onnx", nodes, [PIXELS], [(seen, FLOAT, ["pictures", 3])])
    nodes = [_GATHER, *(_MASKED if masked else _UNMASKED), helper.make_node("Identity", ["read"], [read])]
    inputs = [IDS, *([MASK] if masked else [])]
    tiny_graphs.save(folder / "text_model.onnx", nodes, inputs, [(read, FLOAT, ["texts", 3])], _CONSTANTS)


def save_tokenizer(folder: Path, *, ended: bool = True) -> None:
    made = tokenizers.Tokenizer(
        models.WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token="<unk>")
    )
    made.add_special_tokens(list(SPECIAL))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if ended:
        made.post_processor = processors.TemplateProcessing(
            single="<start> $A <end>", special_tokens=[("<start>", len(WORDS) + 1), ("<end>", len(WORDS) + 2)]
        )
    made.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"pad_token": {"content": "<pad>"}}))


def write_dual(
    folder: Path, *, siglip: bool = False, split: bool = False, words: int = 6, **manifest: object
) -> Path:
    """A folder as an export leaves it; with a manifest only where one is given.

    The whole graph's logits are 50 times the cosine; with SigLIP less 7.
    """
    folder.mkdir(parents=True)
    if split:
        save_split(
            folder,
            masked=not siglip,
            outputs=("pooler_output",) * 2 if siglip else ("image_embeds", "text_embeds"),
        )
    elif siglip:
        save_whole(folder / "model.onnx", scale=50, bias=-7, masked=False)
    else:
        save_whole(folder / "model.onnx", scale=50)
    config = {
        "architectures": ["SiglipModel" if siglip else "CLIPModel"],
        "text_config": {"max_position_embeddings": words},
    }
    (folder / "config.json").write_text(json.dumps(config))
    processor = {
        "image_processor_type": "SiglipImageProcessor" if siglip else "CLIPImageProcessor",
        "size": {"height": SIDE, "width": SIDE},
        "do_normalize": False,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    save_tokenizer(folder)
    if manifest:
        (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder
