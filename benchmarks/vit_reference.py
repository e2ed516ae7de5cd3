"""The reference side of `throughput`; runs in the export environment (`training/make environment`).

`export FOLDER` writes a ViT-B/16 with random weights as a model-store folder; `pipeline FOLDER IMAGES
BATCH` classifies the pictures of a folder with transformers' pipeline on torch, and prints the seconds.
"""

import sys
import time
from pathlib import Path

import torch
import transformers


def export(folder: Path) -> None:
    """Write torch weights, the exported graph and the processor's configuration."""
    from optimum.exporters.onnx import main_export

    torch.manual_seed(0)
    model = transformers.ViTForImageClassification(transformers.ViTConfig(num_labels=1000)).eval()
    processor = transformers.ViTImageProcessor()
    model.save_pretrained(folder / "torch")
    processor.save_pretrained(folder / "torch")
    store = folder / "store" / "vit-b16-random"
    main_export(str(folder / "torch"), store, task="image-classification", do_validation=False)
    processor.save_pretrained(store)


def pipeline(folder: Path, images: Path, batch: int) -> None:
    """Print how long the pipeline takes from paths to labels."""
    torch.set_num_threads(torch.get_num_threads())
    classify = transformers.pipeline(
        "image-classification", model=str(folder / "torch"), framework="pt", device="cpu"
    )
    paths = sorted(str(path) for path in images.iterdir())
    classify(paths[:2])
    started = time.perf_counter()
    assert len(classify(paths, batch_size=batch)) == len(paths)
    print(time.perf_counter() - started)


if __name__ == "__main__":
    if sys.argv[1] == "export":
        export(Path(sys.argv[2]))
    else:
        pipeline(Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
