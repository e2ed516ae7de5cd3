"""Folder to rows with a real-size classifier, against its bounds.

The bound: ONNX Runtime alone, the same graph and threads, on ready-made tensors in the same batches. The
peer: transformers' pipeline on torch, from the same files to labels. ViT-B/16, random weights, exported
in the export environment on the first run.
"""

import argparse
import itertools
import os
import subprocess
import tempfile
import threading
from pathlib import Path

import numpy as np
import onnxruntime
from ingest import draw
from measure import compare, report, timed

from enrich.app import build
from enrich.settings import load

ROOT = Path(__file__).resolve().parents[1]
PYTHON = ROOT / "training" / ".venv" / "bin" / "python"


def reference(*arguments: object) -> str:
    """Run the reference side; return what it prints."""
    command = [
        str(PYTHON),
        "-W",
        "ignore",
        str(ROOT / "benchmarks" / "vit_reference.py"),
        *map(str, arguments),
    ]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=128)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--model", type=Path, default=ROOT / "build" / "bench" / "vit-b16")
    parser.add_argument("--without-pipeline", action="store_true")
    given = parser.parse_args()
    graph = given.model / "store" / "vit-b16-random" / "model.onnx"
    if not graph.exists():
        if not PYTHON.exists():
            raise SystemExit("throughput needs the export environment: training/make environment")
        reference("export", given.model)
    options = onnxruntime.SessionOptions()
    options.enable_mem_pattern = False
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    tensors = np.random.default_rng(1).standard_normal((given.batch, 3, 224, 224)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder, "inbox")
        images.mkdir()
        draw(images, given.files, (1600, 1200))
        config = Path(folder, "config.yaml")
        config.write_text(
            f"models_dir: {given.model / 'store'}\ndevice: cpu\nbatch_size: {given.batch}\n"
            "roots: [{path: inbox, settle_seconds: 0}]\n"
            "steps: {tags: {plugin: tags, model: vit-b16-random, threshold: 0}}\n"
        )
        app = build(load(config))
        numbers = itertools.count()

        def ours() -> None:
            # A fresh catalog each time; the loaded model stays, as the bound's session does.
            from enrich.catalog import schema
            from enrich.catalog.engine import create_engine

            nonlocal app
            app.engine.dispose()
            engine = create_engine(f"sqlite:///{folder}/catalog{next(numbers)}.db")
            schema.ensure(engine)
            app = type(app)(app.settings, engine, app.host, app.models, app.steps)
            progress = app.run((), stop=threading.Event())
            assert progress.jobs == {"done": given.files}, progress

        def alone() -> None:
            for _ in range(given.files // given.batch):
                session.run(None, {session.get_inputs()[0].name: tensors})

        what = f"ViT-B/16 fp32, batches of {given.batch}, 1600 x 1200 JPEGs, folder to rows"
        report("throughput", what, "ORT", given.files, compare(ours, alone, given.runs), ">= 0.90")
        if not given.without_pipeline and PYTHON.exists():
            # The pipeline times itself, inside its own process and without its imports.
            pairs = [
                (timed(ours), float(reference("pipeline", given.model, images, 8).split()[-1]))
                for _ in range(given.runs)
            ]
            report("throughput", what, "torch", given.files, pairs, "> 1")
        app.close()


if __name__ == "__main__":
    main()
