"""Writing about 16 pictures at once, against transformers' `generate` on torch, on the same weights.

Greedy, 32 tokens each, no early end; the tokens must be the same. Two models: our drawings-vlm (its
torch weights are what `training/make` left), and a ViT-base + GPT-2 small with random weights, made in
the export environment on the first run. Each from pictures to text, and the decoder alone. Our side
prepares the pictures too; torch gets them ready. `--profile` says where the decoder's time goes instead.
"""

import argparse
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import tokenizers
from generation_profile import profile
from measure import report, timed
from numpy.typing import NDArray

from enrich.inference.devices import Device
from enrich.inference.encoder_decoder import EncoderDecoder
from enrich.inference.stored import StoredModel, read_model
from enrich.types import Decoding, Generated, Rendition

ROOT = Path(__file__).resolve().parents[1]
PYTHON = ROOT / "training" / ".venv" / "bin" / "python"
REFERENCE = ROOT / "benchmarks" / "generation_reference.py"
TINY = ROOT / "enrich" / "drawings" / "models" / "drawings-vlm"
TINY_TORCH = ROOT / "training" / "out" / "vlm" / "torch"
PARTS = {"whole": "pictures to text", "decode": "the decoder alone"}

#: Asks the reference for a part; returns its seconds and tokens.
Ask = Callable[[str], tuple[float, list[list[int]]]]


def command(*arguments: object) -> list[str]:
    """Return the command line of the reference side."""
    return [str(PYTHON), "-W", "ignore", str(REFERENCE), *map(str, arguments)]


def environment() -> dict[str, str]:
    """Return the reference side's: it stays off the network and off the accelerator."""
    return {**os.environ, "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}


@contextmanager
def reference(torch: Path, pixels: Path, prompt: Sequence[int], tokens: int, threads: int) -> Iterator[Ask]:
    """Keep the reference side ready in a process of its own."""
    process = subprocess.Popen(
        command("serve", torch, pixels, json.dumps(list(prompt)), tokens, threads),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    assert process.stdin and process.stdout

    def ask(part: str) -> tuple[float, list[list[int]]]:
        assert process.stdin and process.stdout
        print(part, file=process.stdin, flush=True)
        line = process.stdout.readline()
        if not line:
            raise SystemExit(f"the reference side ended with {process.wait()}")
        seconds, made = json.loads(line)
        return seconds, made

    # At the end its input is closed, and it ends.
    with process:
        yield ask


def copy_without_end(graphs: Path, torch: Path, folder: Path) -> StoredModel:
    """Make a model of another's files that no token ends, and whose text says each token's id."""
    folder.mkdir()
    for name in ("encoder_model.onnx", "decoder_model_merged.onnx"):
        try:
            (folder / name).hardlink_to(graphs / name)
        except OSError:  # on another file system
            shutil.copyfile(graphs / name, folder / name)
    shutil.copyfile(torch / "preprocessor_config.json", folder / "preprocessor_config.json")
    config = json.loads((torch / "config.json").read_text())
    for part in (config, config["decoder"]):
        part["eos_token_id"] = None
    (folder / "config.json").write_text(json.dumps(config))
    # GPT2Config's own, where the file leaves it out.
    size = config["decoder"].get("vocab_size", 50257)
    words = tokenizers.models.WordLevel({str(token): token for token in range(size)}, unk_token="0")
    tokenizer = tokenizers.Tokenizer(words)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(folder / "tokenizer.json"))
    return read_model(folder)


def draw_renditions(count: int, edge: int) -> list[Rendition]:
    """Return pictures of a few soft patches, each of its own."""
    rng = np.random.default_rng(5)
    coarse = rng.integers(0, 256, (count, 4, 4, 3), np.uint8)
    pixels = coarse.repeat(edge // 4, 1).repeat(edge // 4, 2)
    return [fresh(one) for one in pixels]


def fresh(pixels: NDArray[np.uint8]) -> Rendition:
    """Return a rendition that no model has seen yet."""
    height, width = pixels.shape[:2]
    return Rendition(None, None, 0, pixels, width, height, width, height)


def measure(stored: StoredModel, torch: Path, prompt: Sequence[int], given: argparse.Namespace) -> None:
    """Compare one model's two parts and print."""
    name = f"{stored.name}, {given.batch} pictures, {given.tokens} tokens each, greedy"
    seen = draw_renditions(given.batch, stored.preprocessing.shape[-1])
    pixels = stored.folder / "pixels.npy"
    np.save(pixels, np.stack([stored.preprocessing.tensor(one) for one in seen]))
    start = json.loads((stored.folder / "config.json").read_text())["decoder_start_token_id"]
    texts = [" ".join(map(str, prompt))] * given.batch
    decoding = Decoding(max_tokens=given.tokens)
    model = EncoderDecoder.open(stored, Device("cpu"), threads=given.threads)

    def write(renditions: Sequence[Rendition]) -> list[Generated]:
        return model.generate(renditions, texts, decoding)

    ours: dict[str, Callable[[], list[Generated]]] = {
        "whole": lambda: write([fresh(one.pixels) for one in seen]),
        # The renditions keep their states from the first time.
        "decode": lambda: write(seen),
    }
    with reference(torch, pixels, [start, *prompt], given.tokens, given.threads) as ask:
        for part, what in PARTS.items():
            tokens = [[int(word) for word in one.text.split()] for one in ours[part]()]
            if tokens != ask(part)[1]:
                raise SystemExit(f"{name}: the tokens differ from torch's: are these the same weights?")
            pairs = [(timed(ours[part]), ask(part)[0]) for _ in range(given.runs)]
            items = given.batch if part == "whole" else given.batch * given.tokens
            report("generation", f"{name}, {what}", "torch", items, pairs, ">= 1.5")
    model.close()


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only", choices=("drawings-vlm", "vit-gpt2", "vit-gpt2-optimum"))
    parser.add_argument("--model", type=Path, default=ROOT / "training" / "out" / "generation")
    parser.add_argument("--profile", action="store_true")
    given = parser.parse_args()
    if not PYTHON.exists():
        raise SystemExit("generation needs the export environment: training/make environment")
    real = given.model / "torch"
    models = {
        "drawings-vlm": (TINY, TINY_TORCH, (17, 23)),
        "vit-gpt2": (given.model / "writer", real, ()),
        "vit-gpt2-optimum": (given.model / "optimum", real, ()),
    }
    given.model.mkdir(parents=True, exist_ok=True)
    for name, (graphs, torch, prompt) in models.items():
        if given.only not in (None, name):
            continue
        if torch == TINY_TORCH and not torch.exists():
            print(f"generation: {name} is left out: its torch weights come with training/make")
            continue
        if torch == real and not (given.model / "writer" / "decoder_model_merged.onnx").exists():
            export = command("export", given.model)
            subprocess.run(export, check=True, stdout=subprocess.DEVNULL, env=environment())
        # Beside the large graphs, so that they can be linked to.
        with tempfile.TemporaryDirectory(dir=given.model) as folder:
            stored = copy_without_end(graphs, torch, Path(folder, name))
            if given.profile:
                profile(stored, given.batch, given.tokens, threads=given.threads)
            else:
                measure(stored, torch, prompt, given)


if __name__ == "__main__":
    main()
