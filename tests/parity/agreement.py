"""What it means that our numbers equal the reference's; run over recorded and over fresh references.

The classes are bases: a test module inherits them and gives the fixture ``references``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from numpy.typing import NDArray
from parity.cases import CASES, EXPORTED_GENERATORS, STEPS, STRINGS, STRINGS_SEED, TEXTS, TOKENIZERS
from parity.pictures import CHOSEN
from parity.references import References
from parity.sentences import odd_strings

from enrich.inference.devices import Device
from enrich.inference.sampling import shape
from enrich.inference.session import Session
from enrich.inference.text import Tokenizer
from enrich.types import Decoding

__all__ = [
    "TestDualEncoders",
    "TestGraphs",
    "TestPictures",
    "TestSampling",
    "TestSpeech",
    "TestText",
]

T = TypeVar("T")

_DUAL = ("clip", "clip-split", "siglip", "siglip-split")
LOGITS_APART_MAX = 1e-3
EMBEDDINGS_APART_MAX = 1e-4


def chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))


class TestPictures:
    """Preprocessing and classifiers."""

    @pytest.mark.parametrize("name", ["vit", "clip", "siglip", *EXPORTED_GENERATORS])
    def test_pictures_are_prepared_within_one_grey_level(self, references: References, name: str) -> None:
        preprocessing = references.store.get(name).preprocessing
        mean, std = (np.asarray(values)[:, None, None] for values in (preprocessing.mean, preprocessing.std))
        expected = references.numbers(name)["pixels"].astype(np.float64)
        assert len(expected) == 20
        for picture, theirs in zip(references.pictures, expected, strict=True):
            ours = (preprocessing(picture.image) * std + mean) * 255
            size = (picture.width_px, picture.height_px)
            # A whole level, and what float32 loses on the way there and back.
            assert np.abs(ours - theirs).max() <= 1 + 1e-3, size

    @pytest.mark.parametrize("batch", [1, 5, 20])
    def test_a_classifier_says_the_same(self, references: References, batch: int) -> None:
        expected = _log_softmax(references.numbers("vit")["logits"])
        model = references.models.open("vit")
        rows = [scores for part in chunks(references.pictures, batch) for scores in model.predict(part)]
        ours = np.log(np.stack([scores.probabilities for scores in rows]))
        assert np.abs(ours - expected).max() < LOGITS_APART_MAX
        assert len(set(expected.argmax(axis=1))) > 2, "a reference that says one thing proves little"


class TestDualEncoders:
    """CLIP and SigLIP, in one graph and in two."""

    @pytest.mark.parametrize("batch", [1, 5, 20])
    @pytest.mark.parametrize("name", _DUAL)
    def test_pictures_are_placed_alike(self, references: References, name: str, batch: int) -> None:
        model = references.models.open(name)
        ours = [vector for part in chunks(references.pictures, batch) for vector in model.embed(part)]
        expected = _unit(references.numbers(name)["image_embeds"])
        assert np.abs(np.stack(ours) - expected).max() < EMBEDDINGS_APART_MAX

    @pytest.mark.parametrize("batch", [1, 5, 20])
    @pytest.mark.parametrize("name", _DUAL)
    def test_texts_are_placed_alike(self, references: References, name: str, batch: int) -> None:
        model = references.models.open(name)
        ours = [vector for part in chunks(TEXTS, batch) for vector in model.embed(part)]
        expected = _unit(references.numbers(name)["text_embeds"])
        assert np.abs(np.stack(ours) - expected).max() < EMBEDDINGS_APART_MAX

    @pytest.mark.parametrize("batch", [1, 5])
    @pytest.mark.parametrize("name", ["clip", "siglip"])
    def test_labels_are_scored_alike(self, references: References, name: str, batch: int) -> None:
        model = references.models.open(name)
        rows = [row for part in chunks(references.pictures, batch) for row in model.predict(part, TEXTS)]
        assert tuple(rows[0].labels) == TEXTS
        ours = np.stack([row.probabilities for row in rows]).astype(np.float64)
        logits = references.numbers(name)["logits_per_image"].astype(np.float64)
        if name == "clip":
            assert np.abs(np.log(ours) - _log_softmax(logits)).max() < LOGITS_APART_MAX
        else:
            assert np.abs(np.log(ours / (1 - ours)) - logits).max() < LOGITS_APART_MAX


class TestSpeech:
    """Captions and answers: greedy and in beams, alone and together."""

    @pytest.mark.parametrize("batch", [1, 5])
    @pytest.mark.parametrize("case_name", CASES)
    @pytest.mark.parametrize("name", EXPORTED_GENERATORS)
    def test_the_same_tokens_are_written(
        self, references: References, name: str, case_name: str, batch: int
    ) -> None:
        case = CASES[case_name]
        model = references.speaker(name, case_name)
        decoding = Decoding(max_tokens=STEPS, beams=case.beams, repetition_penalty=case.repetition_penalty)
        ours = [
            generated
            for part in chunks(list(zip(references.chosen, case.prompts, strict=True)), batch)
            for generated in model.generate([one for one, _ in part], [two for _, two in part], decoding)
        ]
        tokenizer = Tokenizer(references.models_dir / name / "tokenizer.json")
        expected = references.numbers(name)[case_name]
        for generated, row in zip(ours, expected, strict=True):
            tokens = row[row >= 0].tolist()
            # A token more where the end is counted.
            assert generated.text == tokenizer.decode(tokens).strip()
            assert generated.finish == ("length" if len(tokens) == STEPS else "stop")
            assert generated.tokens in (len(tokens), len(tokens) + (generated.finish == "stop"))

    @pytest.mark.parametrize("name", EXPORTED_GENERATORS)
    def test_confidence_is_the_mean_share_of_its_tokens(self, references: References, name: str) -> None:
        ours = references.models.open(name).generate(
            references.chosen, CASES["greedy"].prompts, Decoding(max_tokens=STEPS)
        )
        confidences = np.asarray([generated.confidence for generated in ours])
        assert np.abs(confidences - references.numbers(name)["confidence"]).max() < 1e-4


class TestText:
    """Tokenizers of every kind on odd strings."""

    @pytest.mark.parametrize("name", TOKENIZERS)
    def test_strings_are_read_alike(self, references: References, name: str) -> None:
        tokenizer = Tokenizer(references.models_dir / name / "tokenizer.json")
        strings = odd_strings(STRINGS, STRINGS_SEED)
        whole, plain = (
            _rows(references.numbers("strings"), key, len(strings)) for key in (name, f"{name}_plain")
        )
        assert whole != plain
        for text, framed, bare in zip(strings, whole, plain, strict=True):
            assert tokenizer.encode(text) == framed, repr(text)
            assert tokenizer.encode(text, special=False, plain=True) == bare, repr(text)


class TestSampling:
    """What shapes a draw, one at a time and in transformers' order."""

    @pytest.mark.parametrize(
        ("name", "decoding"),
        [
            ("repetition_penalty", Decoding(repetition_penalty=1.3)),
            ("temperature", Decoding(temperature=0.7)),
            ("top_k", Decoding(temperature=1, top_k=5)),
            ("top_p", Decoding(temperature=1, top_p=0.8)),
            ("all", Decoding(temperature=0.7, top_k=5, top_p=0.8, repetition_penalty=1.3)),
        ],
    )
    def test_logits_are_shaped_alike(self, references: References, name: str, decoding: Decoding) -> None:
        numbers = references.numbers("sampling")
        ours = shape(numbers["logits"], numbers["said"], decoding)
        np.testing.assert_allclose(ours, numbers[name], rtol=0, atol=1e-5)
        assert (ours != numbers["logits"]).any(), "nothing was shaped"


class TestGraphs:
    """The exported graphs alone, fed by the plainest loop there is: what disagrees above is not theirs."""

    @pytest.mark.parametrize("name", EXPORTED_GENERATORS)
    def test_an_exported_encoder_sees_the_same(self, references: References, name: str) -> None:
        expected = references.numbers(name)["states"]
        assert np.abs(_see(references, name) - expected).max() < LOGITS_APART_MAX

    @pytest.mark.parametrize("name", EXPORTED_GENERATORS)
    def test_an_exported_decoder_writes_the_same(self, references: References, name: str) -> None:
        tokenizer = Tokenizer(references.models_dir / name / "tokenizer.json")
        states, numbers = _see(references, name), references.numbers(name)
        for row, prompt in enumerate(CASES["greedy"].prompts):
            seen = states[row : row + 1]
            (start,) = tokenizer.encode("<|endoftext|>" if name.startswith("ved") else "[DEC]", special=False)
            if name == "blip-vqa":
                seen, ids = _read(references, tokenizer.encode(prompt), seen), []
            else:
                ids = tokenizer.encode(prompt, special=False)
            tokens, logits = _speak(references, name, [start, *ids], seen)
            assert tokens == numbers["greedy"][row].tolist()
            assert np.abs(logits - numbers["logits"][row]).max() < LOGITS_APART_MAX


def _rows(numbers: dict[str, NDArray[Any]], name: str, count: int) -> list[list[int]]:
    """Cut a row of all ids into those of each string."""
    lengths = numbers[f"{name}_lengths"]
    assert len(lengths) == count
    return [part.tolist() for part in np.split(numbers[name], np.cumsum(lengths)[:-1])]


def _see(references: References, name: str) -> NDArray[np.float32]:
    folder = references.models_dir / name
    graph = folder / ("vision_encoder.onnx" if name == "blip-vqa" else "encoder_model.onnx")
    processor = json.loads((folder / "preprocessor_config.json").read_text(encoding="utf-8"))
    mean, std = (np.asarray(processor[key], np.float32)[:, None, None] for key in ("image_mean", "image_std"))
    levels = references.numbers(name)["pixels"][list(CHOSEN)].astype(np.float32)
    pixels = (levels / 255 - mean) / std
    (states,) = _session(graph).run({"pixel_values": pixels}, ["last_hidden_state"])
    return states


def _read(references: References, ids: list[int], states: NDArray[np.float32]) -> NDArray[np.float32]:
    feeds = {"input_ids": [ids], "attention_mask": [[1] * len(ids)], "encoder_hidden_states": states}
    session = _session(references.models_dir / "blip-vqa" / "text_encoder.onnx")
    (read,) = session.run({key: np.asarray(value) for key, value in feeds.items()}, ["last_hidden_state"])
    return read


def _speak(
    references: References, name: str, ids: list[int], states: NDArray[np.float32]
) -> tuple[list[int], NDArray[np.float32]]:
    """Return the 32 likeliest tokens, one after the other, and the first and last logits."""
    session = _session(references.models_dir / name / "decoder_model_merged.onnx")
    past = {
        port.name: np.zeros((1, 4, 0, 8), np.float32)
        for port in session.inputs
        if port.name.startswith("past_key_values.")
    }
    outputs = [port.name for port in session.outputs]
    tokens: list[int] = []
    logits = []
    read = np.asarray([ids])
    for step in range(STEPS):
        feeds = {
            "input_ids": read,
            "attention_mask": np.ones((1, len(ids) + step)),
            "encoder_hidden_states": states,
            "encoder_attention_mask": np.ones(states.shape[:2]),
            "use_cache_branch": np.asarray([step > 0]),
            **past,
        }
        result = dict(zip(outputs, session.run(feeds, outputs), strict=True))
        # Cross-attention's halves come once, with the first run.
        past |= {
            key: result[key.replace("past_key_values", "present")]
            for key in past
            if step == 0 or ".encoder." not in key
        }
        logits.append(result["logits"][0, -1])
        tokens.append(int(logits[-1].argmax()))
        read = np.asarray([tokens[-1:]])
    return tokens, np.stack([logits[0], logits[-1]])


def _session(graph: Path) -> Session:
    return Session(graph, Device("cpu"), threads=1)


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _log_softmax(logits: NDArray[np.floating]) -> NDArray[np.floating]:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
