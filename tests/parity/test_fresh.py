"""Our numbers equal the reference implementations', made anew; and so do the recorded ones.

Runs in the export environment (`make parity`), which has torch, transformers and optimum; the default
suite checks the same against what was recorded (tests/unit/test_references.py).
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

WHERE = "parity runs in the export environment: make parity"
pytest.importorskip("transformers", reason=WHERE)
pytest.importorskip("torch", reason=WHERE)
pytest.importorskip("optimum", reason=WHERE)

# After the skips.
import torch  # noqa: E402
from parity.agreement import (  # noqa: E402, F401  # pytest collects them here
    LOGITS_APART_MAX,
    TestDualEncoders,
    TestGraphs,
    TestPictures,
    TestSampling,
    TestSpeech,
    TestText,
)
from parity.cases import TOKENIZERS  # noqa: E402
from parity.record import record  # noqa: E402
from parity.references import FOLDER, References  # noqa: E402
from parity.sentences import odd_strings  # noqa: E402
from parity.tiny_models import ARCHITECTURES  # noqa: E402
from transformers import (  # noqa: E402
    AutoTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    VisionEncoderDecoderModel,
    ViTConfig,
    ViTModel,
)

from enrich.exporters.vision_writer import export_vision_writer  # noqa: E402
from enrich.inference.decoder import Decoder  # noqa: E402
from enrich.inference.devices import Device  # noqa: E402
from enrich.inference.session import Session  # noqa: E402
from enrich.inference.text import Tokenizer  # noqa: E402
from enrich.inference.token_ids import text_input  # noqa: E402


@pytest.fixture(scope="session")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A new recording, and the folder with the models it was made of, torch's too."""
    folder, work = tmp_path_factory.mktemp("fresh"), tmp_path_factory.mktemp("made")
    record(folder, work)
    return folder, work


@pytest.fixture(scope="session")
def references(fresh: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[References]:
    recorded = References(fresh[0], tmp_path_factory.mktemp("models"))
    yield recorded
    recorded.close()


@pytest.mark.parametrize("name", TOKENIZERS)
def test_ten_thousand_strings_are_read_and_written_alike(fresh: tuple[Path, Path], name: str) -> None:
    theirs = AutoTokenizer.from_pretrained(fresh[1] / name / "torch")
    ours = Tokenizer(fresh[1] / name / "onnx" / "tokenizer.json")
    strings = odd_strings(10_000, seed=2)
    assert len(set(strings)) > 9_000
    whole = theirs(strings, truncation=False).input_ids
    plain = theirs(strings, add_special_tokens=False, split_special_tokens=True).input_ids
    for text, framed, bare in zip(strings, whole, plain, strict=True):
        assert ours.encode(text) == framed, repr(text)
        assert ours.encode(text, special=False, plain=True) == bare, repr(text)
        read = theirs.decode(framed, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        assert ours.decode(framed) == read, repr(text)


@pytest.mark.parametrize("name", ["clip", "siglip"])
def test_labels_are_cut_and_filled_up_alike(
    fresh: tuple[Path, Path], references: References, name: str
) -> None:
    is_siglip = name == "siglip"
    theirs = AutoTokenizer.from_pretrained(fresh[1] / name / "torch")
    ours = text_input(references.store.get(name), None, is_siglip=is_siglip)
    strings = odd_strings(1_000, seed=3)
    options = {"truncation": True, "split_special_tokens": True, "return_tensors": "np"}
    expected = theirs(strings, padding="max_length", **options)
    ids, mask = ours.batch([ours.encode(text) for text in strings])
    np.testing.assert_array_equal(ids, expected["input_ids"])
    np.testing.assert_array_equal(mask, 1 if is_siglip else expected["attention_mask"])


def test_a_writer_is_exported_with_an_encoder_of_another_width(tmp_path: Path) -> None:
    torch.manual_seed(7)
    shape = {"num_hidden_layers": 2, "num_attention_heads": 4, "image_size": 32, "patch_size": 8}
    sight = ViTModel(ViTConfig(hidden_size=48, intermediate_size=48, **shape), add_pooling_layer=False)
    words = GPT2Config(
        n_embd=32, n_layer=2, n_head=4, n_positions=64, vocab_size=40, add_cross_attention=True
    )
    model = VisionEncoderDecoderModel(encoder=sight, decoder=GPT2LMHeadModel(words)).eval()
    export_vision_writer(model, tmp_path)
    encoder = Session(tmp_path / "encoder_model.onnx", Device("cpu"), threads=1)
    decoder = Decoder.open({"decoder": tmp_path / "decoder_model_merged.onnx"}, Device("cpu"), threads=1)
    pixels, ids = torch.randn(3, 3, 32, 32), torch.randint(0, 40, (3, 9))

    (states,) = encoder.run({"pixel_values": pixels.numpy()}, ["last_hidden_state"])
    logits, cache = decoder.prefill(ids[:, :4].numpy(), states)
    for length in range(4, 10):
        with torch.no_grad():
            expected = model(pixels, decoder_input_ids=ids[:, :length]).logits[:, -1].numpy()
        assert np.abs(logits - expected).max() < LOGITS_APART_MAX
        if length < 9:
            logits, cache = decoder.step(ids[:, length].tolist(), cache)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.npz")), ids=lambda path: path.stem)
def test_what_was_recorded_is_what_is_recorded_now(fresh: tuple[Path, Path], path: Path) -> None:
    with np.load(path) as before, np.load(fresh[0] / path.name) as now:
        assert before.files == now.files
        for name in before.files:
            if np.issubdtype(before[name].dtype, np.integer):
                np.testing.assert_array_equal(now[name], before[name], err_msg=name)
            else:
                np.testing.assert_allclose(now[name], before[name], rtol=0, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_recorded_models_are_those_made_now(
    fresh: tuple[Path, Path], references: References, tmp_path: Path, name: str
) -> None:
    recorded = References(FOLDER, tmp_path)
    recorded.close()
    before, now = recorded.models_dir / name, references.models_dir / name
    assert sorted(file.name for file in before.iterdir()) == sorted(file.name for file in now.iterdir())
    for file in before.glob("*.json"):
        assert file.read_bytes() == (now / file.name).read_bytes(), file.name
