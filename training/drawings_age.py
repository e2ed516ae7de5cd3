"""Train drawings-age, a tiny ViT over drawn faces, and write its folder of package data.

Run it with `training/make`. The same seed and machine give the same weights.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from card import write_card
from faces import HELD_OUT_SEED, INPUT_PX, LABELS, RESAMPLE, TRAINING_SEED, drawn_faces
from numpy.typing import NDArray
from optimum.exporters.onnx import main_export
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

SEED = 7
OUT = Path(__file__).parent / "out"
MODEL_DIR = Path(__file__).parents[1] / "enrich" / "drawings" / "models" / "drawings-age"
TRAINING_FACES = 9600
HELD_OUT_FACES = 2000
BATCH = 64
PEAK_RATE = 3e-3
ACCURACY_MIN = 0.95

# Chosen with domain_rates.py: there all photographs but one measure less than 0.45, and all drawings
# from 80 px on more than 0.48.
FLAT_SHARE_MIN = 0.48


FILES = ("model.onnx", "config.json", "preprocessor_config.json", "README.md")


def main() -> None:
    """Draw, train, judge on held-out drawings, export, check the export, write the folder."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--epochs", type=int, default=14)
    epochs = arguments.parse_args().epochs
    torch.manual_seed(SEED)
    torch.use_deterministic_algorithms(True)
    # One thread: the matrices are too small for more, and the sums come out alike on any machine.
    torch.set_num_threads(1)
    pixels, groups = drawn_faces(TRAINING_SEED, TRAINING_FACES, OUT)
    held_out, truth = drawn_faces(HELD_OUT_SEED, HELD_OUT_FACES, OUT)
    model = make_model()
    train(model, pixels, groups, epochs)
    confusion = confusion_of(logits_of(model, held_out).argmax(axis=1), truth)
    accuracy = float(np.trace(confusion) / confusion.sum())
    print(f"held out: {accuracy:.4f}\n{confusion}", flush=True)
    if accuracy < ACCURACY_MIN:
        raise SystemExit(f"{accuracy:.3f} on held-out drawings is under {ACCURACY_MIN}: nothing was written")
    difference = export(model, held_out)
    write_card(
        MODEL_DIR / "README.md",
        confusion,
        training=TRAINING_FACES,
        epochs=epochs,
        parameters=model.num_parameters(),
        difference=difference,
        flat_share_min=FLAT_SHARE_MIN,
    )
    write_manifest()


def make_model() -> ViTForImageClassification:
    """Return the untrained network: 64 px in patches of 8, three layers 64 wide."""
    return ViTForImageClassification(
        ViTConfig(
            image_size=INPUT_PX,
            patch_size=8,
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=3,
            num_attention_heads=4,
            initializer_range=0.05,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            id2label=dict(enumerate(LABELS)),
            label2id={name: index for index, name in enumerate(LABELS)},
        )
    )


def train(
    model: ViTForImageClassification, pixels: NDArray[np.uint8], groups: NDArray[np.int64], epochs: int
) -> None:
    """Fit with AdamW, one cycle, mirrored and shifted copies."""
    steps = len(pixels) // BATCH
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, PEAK_RATE, epochs=epochs, steps_per_epoch=steps, pct_start=0.15
    )
    rng = np.random.default_rng(SEED)
    model.train()
    for epoch in range(epochs):
        order = rng.permutation(len(pixels))
        total = 0.0
        for step in range(steps):
            chosen = order[step * BATCH : (step + 1) * BATCH]
            inputs = tensor_of(varied(pixels[chosen], rng))
            loss = torch.nn.functional.cross_entropy(
                model(pixel_values=inputs).logits, torch.from_numpy(groups[chosen]), label_smoothing=0.05
            )
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            total += float(loss.detach())
        print(f"epoch {epoch + 1}/{epochs}: loss {total / steps:.4f}", flush=True)


def varied(pixels: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Mirror half of the faces, and shift the batch by up to 3 px."""
    mirrored = np.where(rng.random(len(pixels))[:, None, None, None] < 0.5, pixels[:, :, ::-1], pixels)
    down, right = rng.integers(-3, 4, size=2)
    padded = np.pad(mirrored, ((0, 0), (3, 3), (3, 3), (0, 0)), mode="edge")
    return padded[:, 3 + down : 3 + down + INPUT_PX, 3 + right : 3 + right + INPUT_PX]


def tensor_of(pixels: NDArray[np.uint8]) -> torch.Tensor:
    """Return float32, (N, 3, 64, 64), (x / 255 - 0.5) / 0.5, as the ViT image processor does."""
    scaled = (pixels.astype(np.float32) / 255 - 0.5) / 0.5
    return torch.from_numpy(np.ascontiguousarray(scaled.transpose(0, 3, 1, 2)))


def logits_of(model: ViTForImageClassification, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the logits, (N, 6)."""
    model.eval()
    with torch.no_grad():
        batches = [
            model(pixel_values=tensor_of(pixels[start : start + BATCH])).logits.numpy()
            for start in range(0, len(pixels), BATCH)
        ]
    return np.concatenate(batches)


def confusion_of(guesses: NDArray[np.int64], truth: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return counts, (truth, guess)."""
    confusion = np.zeros((len(LABELS), len(LABELS)), np.int64)
    np.add.at(confusion, (truth, guesses), 1)
    return confusion


def export(model: ViTForImageClassification, pixels: NDArray[np.uint8]) -> float:
    """Export with optimum, compare at another batch size than was traced, and fill `MODEL_DIR`.

    Returns the largest difference of a logit between ONNX Runtime and torch.
    """
    source, exported = OUT / "torch", OUT / "onnx"
    model.save_pretrained(source)
    ViTImageProcessor(size={"height": INPUT_PX, "width": INPUT_PX}, resample=int(RESAMPLE)).save_pretrained(
        source
    )
    main_export(str(source), output=exported, task="image-classification", do_validation=False)
    session = onnxruntime.InferenceSession(exported / "model.onnx", providers=["CPUExecutionProvider"])
    sample = pixels[:7]
    (logits,) = session.run(["logits"], {"pixel_values": tensor_of(sample).numpy()})
    difference = float(np.abs(logits - logits_of(model, sample)).max())
    if difference > 1e-4:
        raise SystemExit(f"the exported graph differs from torch by {difference:.1e}: nothing was written")
    MODEL_DIR.mkdir(parents=True, exist_ok=True)
    for name in FILES[:3]:
        shutil.copyfile(exported / name, MODEL_DIR / name)
    return difference


def write_manifest() -> None:
    """Write manifest.json over the files of `MODEL_DIR`."""
    manifest = {
        "name": "drawings-age",
        "family": "classifier",
        "revision": "1",
        "licence": "Apache-2.0",
        "description": "Apparent age group of a drawn face, or that there is none; knows drawings only.",
        "knows": "drawings only",
        "hooks": ["enrich_age"],
        "graph": "model.onnx",
        "files": [_entry(MODEL_DIR / name) for name in FILES],
        "labels": list(LABELS),
        "domain": {"flat_share_min": FLAT_SHARE_MIN},
    }
    (MODEL_DIR / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def _entry(file: Path) -> dict[str, str | int]:
    content = file.read_bytes()
    return {"path": file.name, "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}


if __name__ == "__main__":
    main()
