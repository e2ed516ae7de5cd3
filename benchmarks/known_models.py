"""Models that people know, real in size and random in weights: `enrich run` against transformers on torch.

Three configurations: vit-age-classifier (ViT-B/16), clip-vit-base-patch32 and SmolVLM-256M. Each side is
a process of its own, from a folder of JPEGs to what is said of each. Speed is told with and without what
a process needs to start and to load its model (a run over one picture, taken off); memory is the most that
a process held. The weights are the same: made by the reference side, and exported by `enrich models
export`, on the first run. How many pictures both sides say the same of is printed; random weights leave
narrow margins.

The reference side runs in the environments that exports are made in. `--small` is for trying it out.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ingest import draw
from measure import report

from enrich.exporters.recipes import EnvironmentName
from enrich.hub.environments import python_of

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "benchmarks" / "known_models_reference.py"
# As the tokenizer of random weights has them.
VOCABULARY = [f"t{number}" for number in range(1, 25)]
PROMPT = "Describe this image."
MEGA = 1_000_000


@dataclass(frozen=True)
class Known:
    """A model, and how it is asked.

    Parameters
    ----------
    environment : str
        Whose Python makes it and runs it on torch.
    step : dict
        The step of config.yaml, but for its model.
    query : str
        Gives a path and what is said of it.
    share : int
        Of so many pictures it gets one: it takes longer than the others.
    """

    environment: EnvironmentName
    step: dict[str, object]
    query: str
    share: int = 1


MODELS = {
    "vit-age-classifier": Known("optimum", {"plugin": "age"}, "SELECT path, age_group FROM ages"),
    "clip-vit-base-patch32": Known(
        "optimum",
        {"plugin": "tags", "vocabulary": VOCABULARY, "threshold": 0, "limit": 1},
        "SELECT path, tag FROM asset_tags",
    ),
    "smolvlm-256m": Known("torch", {"plugin": "caption"}, "SELECT path, text FROM captions", share=16),
}


@dataclass(frozen=True)
class Ran:
    """A process: how long it took, the most memory it held, and what it printed."""

    seconds: float
    bytes_max: int
    printed: str


def run(*command: object) -> Ran:
    """Run a process to its end, off the network and off the accelerator."""
    words = [str(word) for word in command]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)}
    with tempfile.TemporaryFile("w+") as printed:
        started = time.perf_counter()
        process = subprocess.Popen(words, stdout=printed, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        # So that nobody waits for it again.
        process.returncode = os.waitstatus_to_exitcode(status)
        printed.seek(0)
        text = printed.read()
    if process.returncode:
        raise SystemExit(f"{' '.join(words)} ended with {process.returncode}: {text}")
    # Linux counts in KiB.
    return Ran(seconds, usage.ru_maxrss * 1024, text)


def enrich(config: Path, *arguments: object) -> Ran:
    """Run our command line."""
    return run(sys.executable, "-m", "enrich", "--config", config, *arguments)


@dataclass(frozen=True)
class Sides:
    """Both sides of one model, each over the first pictures of a folder.

    Parameters
    ----------
    name : str
        The model's.
    folder : Path
        With ``torch``, the weights, and ``store``, the exported model.
    python : Path
        The reference side's.
    tokens : int
        Written about each picture, where the model writes.
    """

    name: str
    folder: Path
    python: Path
    tokens: int

    def make(self, *, small: bool) -> None:
        """Make weights and export them, unless they are there."""
        stored = self.folder / "store" / self.name
        if not (stored / "manifest.json").exists():
            run(self.python, REFERENCE, "make", self.name, self.folder / "torch", int(small))
            config = self.folder / "config.yaml"
            config.write_text(f"models_dir: {self.folder / 'store'}\n")
            print(enrich(config, "models", "export", self.folder / "torch", "--as", self.name).printed)
        manifest = json.loads((stored / "manifest.json").read_text())
        manifest |= {"prompts": {"caption": PROMPT}, "max_tokens": {"normal": self.tokens}}
        (stored / "manifest.json").write_text(json.dumps(manifest, indent=2))

    def ours(self, images: Path) -> tuple[Ran, dict[str, str]]:
        """Run `enrich run` with a fresh catalog; return also what it says, by the file's name."""
        known = MODELS[self.name]
        with tempfile.TemporaryDirectory() as place:
            config = Path(place, "config.yaml")
            # JSON is YAML.
            step = json.dumps({**known.step, "model": self.name})
            config.write_text(
                f"catalog: sqlite:///{place}/catalog.db\n"
                f"models_dir: {self.folder / 'store'}\ndevice: cpu\n"
                f"roots: [{{path: {images}, settle_seconds: 0}}]\nsteps: {{known: {step}}}\n"
            )
            ran = enrich(config, "run")
            rows = json.loads(enrich(config, "query", known.query, "--format", "json").printed)
        return ran, {Path(path).name: said for path, said in map(_cells, rows)}

    def theirs(self, images: Path) -> tuple[Ran, dict[str, str]]:
        """Run transformers; return also what it says, by the file's name."""
        words = json.dumps(VOCABULARY)
        place = self.folder / "torch"
        ran = run(self.python, REFERENCE, "run", self.name, place, images, words, PROMPT, self.tokens)
        return ran, json.loads(ran.printed.splitlines()[-1])


def _cells(row: Any) -> tuple[str, str]:
    path, said = row.values() if isinstance(row, dict) else row
    return str(path), str(said)


def measure(name: str, given: argparse.Namespace) -> None:
    """Compare one model's sides and print."""
    known = MODELS[name]
    count = max(2, given.files // known.share)
    sides = Sides(name, given.model / name, python_of(known.environment, print), given.tokens)
    sides.make(small=given.small)
    whole, steady, memory, agreed = [], [], [], 0
    with tempfile.TemporaryDirectory() as place:
        one, many = Path(place, "one"), Path(place, "many")
        for folder, files in ((one, 1), (many, count)):
            folder.mkdir()
            draw(folder, files, (1600, 1200))
        for _ in range(given.runs):
            (our_start, _), (their_start, _) = sides.ours(one), sides.theirs(one)
            (our_all, we_say), (their_all, they_say) = sides.ours(many), sides.theirs(many)
            whole.append((our_all.seconds, their_all.seconds))
            steady.append((our_all.seconds - our_start.seconds, their_all.seconds - their_start.seconds))
            memory.append((our_all.bytes_max, their_all.bytes_max))
            assert we_say.keys() == they_say.keys(), "each side says something of each picture"
            agreed = sum(we_say[path] == they_say[path] for path in we_say)
    report("known_models", f"{name}, files to rows, start and all", "torch", count, whole, "> 1")
    report("known_models", f"{name}, the start taken off", "torch", count - 1, steady, "> 1")
    tell(name, memory, agreed, count)


def tell(name: str, memory: Sequence[tuple[int, int]], agreed: int, count: int) -> None:
    """Print the rest: memory, and how often both sides say the same."""
    ours, theirs = (statistics.median(side) / MEGA for side in zip(*memory, strict=True))
    print(f"  memory: enrich {ours:,.0f} MB, torch {theirs:,.0f} MB; the same is said of {agreed} of {count}")
    values = {"megabytes": round(ours), "peer_megabytes": round(theirs), "ratio": round(ours / theirs, 3)}
    print(json.dumps({"benchmark": "known_models_memory", "model": name, **values, "agreed": agreed / count}))


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=64, help="pictures; SmolVLM gets a sixteenth of them")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=32, help="that SmolVLM writes about each picture")
    parser.add_argument("--only", choices=MODELS)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--model", type=Path, default=ROOT / "build" / "bench" / "known")
    given = parser.parse_args()
    given.model = given.model.absolute() / ("small" if given.small else "real")
    for name in MODELS:
        if given.only in (None, name):
            measure(name, given)


if __name__ == "__main__":
    main()
