"""Where the time of a decoder's steps goes, by ONNX Runtime's own profile of its kernels."""

import json
from collections import Counter

import numpy as np
import onnxruntime

from enrich.inference.stored import StoredModel

#: By what the exporters leave of the modules' names in a node's; the first that fits.
PARTS = {
    "crossattention/c_attn": "keys and values over the picture",
    "crossattention": "the rest of the cross-attention",
    "/attn/": "self-attention",
    "/mlp/": "feed-forward",
    "lm_head": "logits",
}


def profile(stored: StoredModel, rows: int, tokens: int, *, threads: int) -> None:
    """Print each part's share of the steps after the first run, and each operator's."""
    options = onnxruntime.SessionOptions()
    options.enable_profiling = True
    options.enable_mem_pattern = False
    options.intra_op_num_threads = threads
    options.profile_file_prefix = str(stored.folder / "profile")
    session = onnxruntime.InferenceSession(
        stored.graphs["decoder"], options, providers=["CPUExecutionProvider"]
    )
    _write(session, stored, rows, tokens)
    with open(session.end_profiling(), encoding="utf-8") as file:
        events = json.load(file)
    starts = sorted(event["ts"] for event in events if event["name"] == "model_run")
    kernels = [
        event
        for event in events
        if event["name"].endswith("_kernel_time")
        and event["ts"] >= starts[1]
        # Its own time is that of the nodes within it.
        and event["args"]["op_name"] != "If"
    ]
    parts, operators = Counter(), Counter()
    for event in kernels:
        known = (part for key, part in PARTS.items() if key in event["name"])
        parts[next(known, "other")] += event["dur"]
        operators[event["args"]["op_name"]] += event["dur"]
    whole = parts.total()
    per_step = whole / 1e3 / (len(starts) - 1)
    print(f"{stored.name}: {rows} rows, {per_step:.2f} ms of kernels a step")
    for name, spent in [*parts.most_common(), *operators.most_common(5)]:
        print(f"  {name:<34} {100 * spent / whole:5.1f} %")


def _write(session: onnxruntime.InferenceSession, stored: StoredModel, rows: int, tokens: int) -> None:
    """Run a first token and the following ones; which they are does not matter."""
    encoder = stored.config["encoder"]
    length = (encoder["image_size"] // encoder["patch_size"]) ** 2 + 1
    states = np.random.default_rng(3).standard_normal((rows, length, encoder["hidden_size"]))
    ports = session.get_inputs()
    outputs = [port.name for port in session.get_outputs()]
    past = {
        port.name: np.zeros((rows, port.shape[1], 0, port.shape[3]), np.float32)
        for port in ports
        if port.name.startswith("past")
    }
    for step in range(tokens):
        feeds = {
            "input_ids": np.full((rows, 1), step, np.int64),
            "encoder_hidden_states": states.astype(np.float32),
            "use_cache_branch": np.array([step > 0]),
            **past,
        }
        made = session.run(outputs, {port.name: feeds[port.name] for port in ports})
        present = dict(zip(outputs, made, strict=True))
        for name in past:
            if step == 0 or ".encoder." not in name:
                past[name] = present[name.replace("past_key_values", "present")]
