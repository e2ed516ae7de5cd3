"""A tiny language: decoder graphs whose next logits are looked up by what was read, and how to tell them.

The logits after some tokens stand in a table's row ``(7 * sum(token + 1) + state) % ROWS``; the cache
holds the tokens themselves. A state below 0 is refused at run time, and one that is no number makes logits
that are none.
"""

import json
from pathlib import Path

import numpy as np
import tiny_graphs
import tokenizers
from onnx import TensorProto, helper

from enrich.inference.decoder import Decoder
from enrich.inference.devices import Device
from enrich.inference.session import Session
from enrich.inference.text import Tokenizer

WORDS, ROWS, STATES = 24, 97, 256
TABLE = np.random.default_rng(5).normal(size=(ROWS, WORDS)).astype(np.float32) * 2

_INT, _FLOAT = TensorProto.INT64, TensorProto.FLOAT
_IDS = ("input_ids", _INT, ["b", "s"])
_SEEN = ("encoder_hidden_states", _FLOAT, ["b", "t", 2])
_CONSTANTS = {
    "table": TABLE,
    "nothing": np.zeros(STATES, np.float32),
    "rows": np.array(ROWS, np.int64),
    "unit": np.array(1, np.float32),
    "seven": np.array(7, np.float32),
    "thirteen": np.array([13], np.float32),
    "zero": np.array(0, np.int64),
    "one": np.array(1, np.int64),
    "axis1": np.array([1], np.int64),
    "axes12": np.array([1, 2], np.int64),
    "axes13": np.array([1, 3], np.int64),
    "axes123": np.array([1, 2, 3], np.int64),
}


def state(value: float, *, is_number: bool = True) -> np.ndarray:
    """The encoder's states of a picture: float32, (1, 2)."""
    return np.array([[value, 0 if is_number else np.nan]], np.float32)


def logits_after(ids, value: int) -> np.ndarray:
    """The logits that every one of the graphs gives after these tokens: float32, (WORDS,)."""
    return TABLE[(7 * (sum(ids) + len(ids)) + value) % ROWS]


def greedy(ids, value: int, count: int, ends=()) -> list[int]:
    """What a decoder writes that takes the likeliest token each time."""
    made: list[int] = []
    while len(made) < count:
        token = int(logits_after([*ids, *made], value).argmax())
        if token in ends:
            break
        made.append(token)
    return made


def save_merged(path: Path, *, has_branch: bool = False) -> Path:
    """One graph whose past may have length 0; where ``use_cache_branch`` is true, the row is 13 further."""
    past = [(f"past_key_values.0.{half}", _FLOAT, ["b", 1, "p", 1]) for half in ("key", "value")]
    inputs = [_IDS, _SEEN, ("attention_mask", _INT, ["b", "all"]), *past]
    nodes = _read()
    if has_branch:
        inputs.append(("use_cache_branch", TensorProto.BOOL, [1]))
        nodes += [
            helper.make_node("Cast", ["use_cache_branch"], ["branch"], to=_FLOAT),
            helper.make_node("Mul", ["branch", "thirteen"], ["moved"]),
        ]
    nodes += _look("encoder_hidden_states", *["moved"] * has_branch)
    return tiny_graphs.save(path, nodes, inputs, _outputs("present.0.key", "present.0.value"), _CONSTANTS)


def save_pair(first: Path, later: Path) -> None:
    """Two graphs; keys over the encoder's states are made by the first and only read by the later one."""
    cross = ("past_key_values.0.encoder.key", _FLOAT, ["b", 1, "t", 2])
    of_first = [
        helper.make_node("Identity", ["new"], ["present.0.decoder.key"]),
        helper.make_node("Unsqueeze", ["encoder_hidden_states", "axis1"], ["present.0.encoder.key"]),
    ]
    nodes = [*_tokens(), *of_first, *_sum("present.0.decoder.key"), *_look("encoder_hidden_states")]
    outputs = _outputs("present.0.decoder.key")
    crossed = [("present.0.encoder.key", _FLOAT, ["b", 1, "t", 2])]
    tiny_graphs.save(first, nodes, [_IDS, _SEEN], [*outputs, *crossed], _CONSTANTS)

    past = ("past_key_values.0.decoder.key", _FLOAT, ["b", 1, "p", 1])
    nodes = [
        *_tokens(),
        helper.make_node("Concat", [past[0], "new"], ["present.0.decoder.key"], axis=2),
        *_sum("present.0.decoder.key"),
        helper.make_node("Squeeze", [cross[0], "axis1"], ["seen"]),
        *_look("seen"),
    ]
    tiny_graphs.save(later, nodes, [_IDS, past, cross], outputs, _CONSTANTS)


def open_decoder(folder: Path) -> Decoder:
    session = Session(save_merged(folder / "decoder_model_merged.onnx"), Device("cpu"), threads=1)
    return Decoder(session, session)


def save_tokenizer(path: Path) -> Path:
    """Words w0, w1 and so on; <end> is no word and comes last."""
    vocabulary = {f"w{index}": index for index in range(WORDS - 1)} | {"<end>": WORDS - 1}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="w0"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(["<end>"])
    tokenizer.save(str(path))
    return path


def open_tokenizer(folder: Path) -> Tokenizer:
    return Tokenizer(save_tokenizer(folder / "tokenizer.json"))


def write_model(folder: Path, config: dict | None = None, **manifest: object) -> Path:
    """A vision encoder-decoder's folder: a picture's state is the mean of its red."""
    folder.mkdir(parents=True)
    save_encoder(folder / "encoder_model.onnx")
    save_merged(folder / "decoder_model_merged.onnx")
    save_tokenizer(folder / "tokenizer.json")
    values = {"architectures": ["VisionEncoderDecoderModel"], "decoder": {"n_positions": 64}}
    values |= {"decoder_start_token_id": 1, "eos_token_id": WORDS - 1} | (config or {})
    (folder / "config.json").write_text(json.dumps(values))
    manifest = {"input": {"resize": {"height": 8, "width": 8}, "scale": 1}, **manifest}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def save_encoder(path: Path) -> Path:
    nodes = [
        helper.make_node("ReduceMean", ["pixel_values"], ["means"], axes=[2, 3], keepdims=0),
        helper.make_node("Gather", ["means", "zero"], ["red"], axis=1),
        helper.make_node("Round", ["red"], ["value"]),
        helper.make_node("Sub", ["value", "value"], ["blank"]),
        helper.make_node("Unsqueeze", ["value", "axes12"], ["left"]),
        helper.make_node("Unsqueeze", ["blank", "axes12"], ["right"]),
        helper.make_node("Concat", ["left", "right"], ["last_hidden_state"], axis=2),
    ]
    ports = [("pixel_values", _FLOAT, ["b", 3, 8, 8])], [("last_hidden_state", _FLOAT, ["b", 1, 2])]
    return tiny_graphs.save(path, nodes, *ports, {name: _CONSTANTS[name] for name in ("zero", "axes12")})


def _outputs(*present: str) -> list:
    return [
        ("logits", _FLOAT, ["b", 1, WORDS]),
        *((name, _FLOAT, ["b", 1, "all", 1]) for name in present),
    ]


def _tokens() -> list:
    return [
        helper.make_node("Cast", ["input_ids"], ["numbers"], to=_FLOAT),
        # Or token 0 would change nothing.
        helper.make_node("Add", ["numbers", "unit"], ["counted"]),
        helper.make_node("Unsqueeze", ["counted", "axes13"], ["new"]),
    ]


def _read() -> list:
    return [
        *_tokens(),
        helper.make_node("Concat", ["past_key_values.0.key", "new"], ["present.0.key"], axis=2),
        helper.make_node("Concat", ["past_key_values.0.value", "new"], ["present.0.value"], axis=2),
        *_sum("present.0.value"),
    ]


def _sum(present: str) -> list:
    return [helper.make_node("ReduceSum", [present, "axes123"], ["total"], keepdims=0)]


def _look(states: str, *summands: str) -> list:
    """From ``total`` and the states to the logits."""
    return [
        helper.make_node("ReduceSum", [states, "axis1"], ["columns"], keepdims=0),
        helper.make_node("Gather", ["columns", "zero"], ["value"], axis=1),
        helper.make_node("Gather", ["columns", "one"], ["blank"], axis=1),
        helper.make_node("Cast", ["value"], ["state"], to=_INT),
        # Gather refuses what is out of its range; a small negative index would count from the end.
        helper.make_node("Gather", ["nothing", "state"], ["guard"], axis=0),
        helper.make_node("Mul", ["total", "seven"], ["sevenfold"]),
        helper.make_node("Sum", ["sevenfold", "value", "guard", *summands], ["place"]),
        helper.make_node("Cast", ["place"], ["place_int"], to=_INT),
        helper.make_node("Mod", ["place_int", "rows"], ["row"]),
        helper.make_node("Gather", ["table", "row"], ["found"], axis=0),
        helper.make_node("Unsqueeze", ["blank", "axis1"], ["blank_column"]),
        helper.make_node("Add", ["found", "blank_column"], ["last"]),
        helper.make_node("Unsqueeze", ["last", "axis1"], ["logits"]),
    ]
