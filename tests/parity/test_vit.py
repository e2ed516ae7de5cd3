"""Our numbers equal the reference implementation's: ViT image classification.

Runs in the export environment (`make parity`): it needs torch, transformers and optimum, which the
default suite does without.
"""

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

WHERE = "parity runs in the export environment: make parity"
transformers = pytest.importorskip("transformers", reason=WHERE)
torch = pytest.importorskip("torch", reason=WHERE)

from enrich.inference import Models, ModelStore  # noqa: E402  # after the skip
from enrich.types import Rendition  # noqa: E402

LABELS = 9
# None of 1 or 3 px: the reference takes such a side for the channels.
SIZES = [
    (5, 4),
    (7, 60),
    (60, 7),
    (31, 33),
    (32, 32),
    (64, 48),
    (100, 80),
    (640, 427),
    (427, 640),
    (999, 750),
]


def pictures() -> list[PIL.Image.Image]:
    rng = np.random.default_rng(5)
    made = []
    for width, height in SIZES * 2:
        small = rng.integers(0, 256, (max(1, height // 9), max(1, width // 9), 3), dtype=np.uint8)
        made.append(PIL.Image.fromarray(small).resize((width, height), PIL.Image.Resampling.BICUBIC))
    return made


def rendition(image: PIL.Image.Image) -> Rendition:
    return Rendition(None, None, 0, np.asarray(image), *image.size, *image.size)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random ViT of the real architecture, exported; large weights keep its logits apart."""
    from optimum.exporters.onnx import main_export

    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(3)
    config = transformers.ViTConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        image_size=32,
        patch_size=8,
        num_labels=LABELS,
        initializer_range=0.3,
    )
    transformers.ViTForImageClassification(config).eval().save_pretrained(folder / "torch")
    processor = transformers.ViTImageProcessor(size={"height": 32, "width": 32})
    processor.save_pretrained(folder / "torch")
    store = folder / "store" / "vit"
    main_export(str(folder / "torch"), store, task="image-classification", do_validation=False)
    processor.save_pretrained(store)
    return folder


def test_preprocessing_equals_the_reference_processor(reference: Path) -> None:
    processor = transformers.ViTImageProcessor.from_pretrained(reference / "torch")
    preprocessing = ModelStore(reference / "store").get("vit").preprocessing
    for image in pictures():
        ours = preprocessing(image)
        theirs = processor(image, return_tensors="np")["pixel_values"][0]
        # (x / 255 - 0.5) / 0.5: one grey level before normalisation is 2 / 255 after it.
        assert np.abs(ours - theirs).max() <= 2 / 255, image.size


@pytest.mark.parametrize("batch", [1, 5, 20])
def test_probabilities_equal_torch(reference: Path, batch: int) -> None:
    model = transformers.ViTForImageClassification.from_pretrained(reference / "torch").eval()
    processor = transformers.ViTImageProcessor.from_pretrained(reference / "torch")
    images = pictures()
    with torch.no_grad():
        logits = model(**processor(images, return_tensors="pt")).logits
    theirs = torch.softmax(logits, -1).numpy()
    models = Models(ModelStore(reference / "store"), "cpu")
    ours = [
        row.probabilities
        for start in range(0, len(images), batch)
        for row in models.open("vit").predict([rendition(image) for image in images[start : start + batch]])
    ]
    models.close()
    assert np.abs(np.stack(ours) - theirs).max() < 1e-3
    assert (np.stack(ours).argmax(-1) == theirs.argmax(-1)).all()
    assert len(set(theirs.argmax(-1))) > 1, "a reference that always says the same proves nothing"
