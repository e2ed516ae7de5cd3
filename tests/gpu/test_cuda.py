"""Models on an NVIDIA device say what they say on the CPU, within the tolerances below.

On the recorded exports of real architectures, whose weights are random: their margins are narrower than
those of trained ones. `ENRICH_GPU=cuda:1 pytest tests/gpu` takes another device (or `openvino`).
"""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tiny_graphs
from parity.cases import CASES
from parity.pictures import CHOSEN
from parity.references import FOLDER, References
from parity.vlm.references import pictures, stored_model

from enrich.errors import EnrichError, ExtraMissing, ProviderError
from enrich.hub.forms import check_tools, write_float16
from enrich.inference.devices import Device, parse_device
from enrich.inference.families import open_model
from enrich.inference.handle import Model
from enrich.inference.memory import device_bytes
from enrich.inference.session import Session
from enrich.inference.stored import StoredModel, read_model
from enrich.sections import Providers
from enrich.types import Decoding, Generated

# Read before a fixture takes the ENRICH_* variables of whoever runs this away.
DEVICE = os.environ.get("ENRICH_GPU", "cuda")

#: Of probabilities and of unit vectors, in float32 without TF32: only sums are added up in another order.
APART_MAX = 1e-4
#: In float16, against float32 on the CPU; eps of float16 is 1e-3.
APART_MAX_FP16 = 2e-2
#: What share of the texts in float16 are those in float32, word for word.
ALIKE_MIN_FP16 = 0.6
STEPS = 24
GREEDY = Decoding(max_tokens=STEPS)
BEAMS = Decoding(max_tokens=STEPS, beams=4)
VLMS = ("qwen2_5_vl", "llava", "llava_next", "florence2")


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Device:
    """The device under test; where it cannot be used, the reason why all of this is skipped."""
    wanted = parse_device(DEVICE)
    graph = tiny_graphs.save_colour_means(tmp_path_factory.mktemp("device") / "model.onnx")
    try:
        Session(graph, wanted)
    except (ExtraMissing, ProviderError) as error:
        # The reason is the error itself.
        pytest.skip(str(error))
    return wanted


@pytest.fixture(scope="module")
def references(tmp_path_factory: pytest.TempPathFactory) -> Iterator[References]:
    recorded = References(FOLDER, tmp_path_factory.mktemp("models"))
    yield recorded
    recorded.close()


@pytest.fixture
def both(device: Device) -> Iterator[Callable[..., tuple[Model, Model]]]:
    """Open a model on the CPU and, or another one, on the device."""
    opened: list[Model] = []

    def open_both(model: StoredModel, other: StoredModel | None = None) -> tuple[Model, Model]:
        opened.append(open_model(model, Device("cpu"), threads=1))
        opened.append(open_model(other or model, device))
        assert opened[-1].provider == device.provider
        return opened[-2], opened[-1]

    yield open_both
    for model in opened:
        model.close()


def in_fp16(model: StoredModel, folder: Path) -> StoredModel:
    """The same model with float16 arithmetic, as `enrich models quantise --to fp16` makes it."""
    try:
        check_tools()
    except ExtraMissing as error:
        # The reason is the error itself: onnx is of the dev extra.
        pytest.skip(str(error))
    shutil.copytree(model.folder, folder)
    for graph in set(model.graphs.values()):
        write_float16(graph, folder / graph.relative_to(model.folder))
    return read_model(folder)


def apart(here: Model, there: Model, references: References) -> float:
    """The largest difference of the probabilities of all pictures."""
    rows = [
        np.stack([one.probabilities for one in model.predict(references.pictures)]) for model in (here, there)
    ]
    return float(np.abs(rows[0] - rows[1]).max())


def written(model: Model, references: References, decoding: Decoding) -> list[Generated]:
    return list(model.generate(references.chosen, CASES["greedy"].prompts, decoding))


def test_a_classifier(both, references):
    here, there = both(references.store.get("vit"))

    assert apart(here, there, references) < APART_MAX


def test_a_classifier_in_fp16(both, references, tmp_path):
    model = references.store.get("vit")
    here, there = both(model, in_fp16(model, tmp_path / "vit"))

    assert 0 < apart(here, there, references) < APART_MAX_FP16


@pytest.mark.parametrize("name", ["clip", "siglip"])
def test_a_dual_encoder(both, references, name):
    here, there = both(references.store.get(name))
    texts = ["a red square", "two dogs on a beach"]

    for items in (references.pictures, texts):
        ours, theirs = (np.stack(model.embed(items)) for model in (here, there))
        assert np.abs(ours - theirs).max() < APART_MAX


@pytest.mark.parametrize("decoding", [GREEDY, BEAMS], ids=["greedy", "beams"])
@pytest.mark.parametrize("name", ["ved", "ved-cached", "blip-caption", "blip-vqa"])
def test_a_writer(both, references, name, decoding):
    here, there = both(references.store.get(name))
    ours, theirs = (written(model, references, decoding) for model in (here, there))

    assert [one.text for one in ours] == [one.text for one in theirs]
    for one, other in zip(ours, theirs, strict=True):
        assert one.confidence == pytest.approx(other.confidence, abs=APART_MAX)


@pytest.mark.parametrize("name", ["ved", "blip-caption"])
def test_a_writer_in_fp16(both, references, name, tmp_path):
    model = references.store.get(name)
    here, there = both(model, in_fp16(model, tmp_path / name))
    ours, theirs = (written(model, references, GREEDY) for model in (here, there))

    alike = [one.text == other.text for one, other in zip(ours, theirs, strict=True)]
    assert np.mean(alike) >= ALIKE_MIN_FP16


@pytest.mark.parametrize("name", VLMS)
def test_a_vision_language_model(both, name, tmp_path):
    here, there = both(stored_model(name, tmp_path))
    shown = [pictures()[index] for index in CHOSEN]
    ours, theirs = (
        list(model.generate(shown, [model.caption_prompt("normal", None)] * len(shown), GREEDY))
        for model in (here, there)
    )

    assert [one.text for one in ours] == [one.text for one in theirs]


def test_a_graph_takes_no_more_than_it_may(device, tmp_path):
    if device.kind != "cuda":
        # Others have no limit.
        pytest.skip("only CUDA has a limit")
    graph = tiny_graphs.save_weighty(tmp_path / "model.onnx", 64)
    strict = Providers.model_validate({"cuda": {"memory_limit_bytes": 32 * 2**20}})

    with pytest.raises(EnrichError, match=r"(?i)memory|allocat"):
        Session(graph, Device("cuda", device.index, strict)).run(
            {"pixels": np.zeros((1, 3, 8, 8))}, ["scores"]
        )
    Session(graph, device).run({"pixels": np.zeros((1, 3, 8, 8))}, ["scores"])


def test_shapes_that_change_all_the_time_leave_the_devices_memory_as_it_is(device, tmp_path):
    if device_bytes(device.index) is None:
        # Nothing else tells how much is in use.
        pytest.skip("nvidia-smi does not tell")
    session = Session(tiny_graphs.save_refusing(tmp_path / "model.onnx"), device, keeps_memory=False)

    def used_after(lengths: range) -> int:
        for length in lengths:
            session.run({"x": np.zeros((length * 1000, 1))}, ["y"])
        return device_bytes(device.index) or 0

    before = used_after(range(1, 300))
    assert used_after(range(300, 1000)) - before < 64 * 2**20
