"""Florence-2 against what transformers says of the same tiny weights, and by itself."""

import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import tiny_joint
from parity.pictures import CHOSEN, odd_pictures
from parity.vlm.agreement import LOGITS_APART_MAX

from enrich.errors import ManifestError, UsageError
from enrich.inference.decoder import Decoder
from enrich.inference.devices import Device
from enrich.inference.families import open_model, try_out
from enrich.inference.florence import Florence, lines_in, things_in
from enrich.inference.session import Session
from enrich.inference.store import ModelStore
from enrich.inference.stored import read_model
from enrich.inference.text import Tokenizer
from enrich.types import Decoding, Rendition

REFERENCES = Path(__file__).parents[1] / "references" / "vlm"
STEPS, START, END = 32, 2, 2
CPU = Device("cpu")
CASES = {
    "greedy": Decoding(max_tokens=STEPS, beams=1),
    "beams4": Decoding(max_tokens=STEPS, beams=4),
    "own": Decoding(max_tokens=STEPS),
    "plain": Decoding(max_tokens=STEPS, beams=1),
}
TEXT_PROMPT = "What is the text in the image, with regions?"
THING_PROMPT = "Locate the objects with category name in the image."


@pytest.fixture(scope="module")
def numbers():
    with np.load(REFERENCES / "florence2.npz") as file:
        return {name: file[name] for name in file.files}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    work = tmp_path_factory.mktemp("florence")
    with tarfile.open(REFERENCES / "florence2.tar.xz") as archive:
        archive.extractall(work, filter="data")
    return next(work.rglob("config.json")).parent


class Spelled(Tokenizer):
    """Says each token's id, special or not, so that texts are equal only if all tokens are."""

    def decode(self, ids):
        return " ".join(map(str, ids))


def spelling(folder):
    stored = read_model(folder)
    vision, encoder = (Session(stored.graphs[part], CPU, threads=1) for part in ("vision", "encoder"))
    decoder = Decoder.open(stored.graphs, CPU, threads=1)
    return Florence(stored, vision, encoder, decoder, Spelled(stored.file("tokenizer.json")))


@pytest.fixture(scope="module")
def spelled(folder):
    opened = spelling(folder)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def model(folder):
    opened = Florence.open(read_model(folder), threads=1)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def plainly_spelled(folder, tmp_path_factory):
    """The same without the rules of its own generation_config.json."""
    other = tmp_path_factory.mktemp("plain") / "florence"
    copy(folder, other, eos_token_id=2, decoder_start_token_id=2)
    opened = spelling(other)
    yield opened
    opened.close()


@pytest.fixture
def pictures():
    return [rendition(odd_pictures()[index]) for index in CHOSEN]


def copy(folder, other, **generation):
    shutil.copytree(folder, other)
    (other / "generation_config.json").write_text(json.dumps(generation))


def rendition(pixels):
    height, width = pixels.shape[:2]
    return Rendition(None, None, 0, pixels, width, height, width, height)


def prompts(model):
    captions = [model.caption_prompt(length, "en") for length in ("short", "normal", "long")]
    return [*captions, TEXT_PROMPT, THING_PROMPT]


def kept(row):
    return row[row >= 0].tolist()


def test_pictures_are_prepared_alike(model, numbers, pictures):
    ours = np.stack([model._model.preprocessing(one.image) for one in pictures])

    assert np.abs(ours - numbers["pixels"]).max() <= 1e-6 * np.ptp(numbers["pixels"])


def test_pictures_are_seen_alike(model, numbers, pictures):
    ours = np.stack(model._encode(pictures, interactive=False))

    assert np.abs(ours - numbers["features"]).max() < 1e-4


def test_the_same_words_are_asked(model, numbers):
    for prompt, row in zip(prompts(model), numbers["prompts"], strict=True):
        assert model._tokenizer.encode(prompt, plain=True) == kept(row)


@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("case", CASES)
def test_the_same_tokens_are_written(request, numbers, pictures, case, batch):
    model = request.getfixturevalue("plainly_spelled" if case == "plain" else "spelled")
    asked = prompts(model)

    ours = []
    for start in range(0, 5, batch):
        part = slice(start, start + batch)
        ours += model.generate(pictures[part], asked[part], CASES[case])

    for generated, row in zip(ours, numbers[case], strict=True):
        tokens = kept(row)
        said = tokens[:-1] if tokens[-1] == END else tokens
        assert generated.text == " ".join(map(str, said))
        # An end that the budget prescribes is none.
        assert generated.finish == ("length" if len(tokens) == STEPS else "stop")
        assert generated.tokens == len(said)


def test_the_same_may_come_next(model, numbers, pictures):
    decoder, (*_, last) = model._generator._reader, numbers["logits_after"].tolist()
    questions = prompts(model)
    states = model._read(model._questioning, questions, model._encode(pictures, interactive=False))

    for seen, row, expected in zip(states, numbers["plain"], numbers["logits"], strict=True):
        logits, cache = decoder.prefill(np.asarray([[START]]), [seen])
        ours = [logits[0]]
        for token in row[:last].tolist():
            logits, cache = decoder.step([token], cache)
            ours.append(logits[0])
        apart = np.abs(np.stack(ours)[numbers["logits_after"]] - expected)
        assert apart.max() <= LOGITS_APART_MAX * np.ptp(expected)
    assert len(np.unique(numbers["logits"].argmax(axis=2))) > 3, "logits that are alike prove little"


def test_the_references_show_what_they_are_for(numbers):
    assert all(row[0] == 0 for row in numbers["greedy"])
    assert any(kept(row)[0] != 0 for row in numbers["plain"])
    assert [kept(row)[-1] for row in numbers["greedy"] if row[-1] >= 0].count(2) >= 3
    for one, other in (("greedy", "plain"), ("greedy", "beams4"), ("beams4", "own")):
        assert not np.array_equal(numbers[one], numbers[other])


def test_things_are_found_where_the_reference_finds_them(numbers):
    for text, said in zip(numbers["texts"], numbers["things"], strict=True):
        expected = [one for one in json.loads(str(said)) if is_upright(one[1])]
        ours = things_in(cleaned(text), 0.5)
        assert [one.name for one in ours] == [name for name, _ in expected]
        for found, (_, box) in zip(ours, expected, strict=True):
            assert corners(found.region) == pytest.approx(np.asarray(box) / 1000, abs=0.0011)


def test_lines_are_read_where_the_reference_reads_them(numbers):
    for text, said in zip(numbers["texts"], numbers["lines"], strict=True):
        expected = json.loads(str(said))
        ours = lines_in(cleaned(text))
        assert [one.text for one in ours] == [name for name, _ in expected]
        for found, (_, quad) in zip(ours, expected, strict=True):
            xs, ys = np.asarray(quad[0::2]) / 1000, np.asarray(quad[1::2]) / 1000
            box = (xs.min(), ys.min(), xs.max(), ys.max())
            assert corners(found.region) == pytest.approx(box, abs=0.0011)


def is_upright(box):
    # The reference hands out what is no box, too: left beyond right.
    return box[0] <= box[2] and box[1] <= box[3]


def cleaned(text):
    return str(text).replace("<s>", "").replace("</s>", "")


def corners(region):
    return region.x, region.y, region.x + region.width, region.y + region.height


def test_places_without_a_name_or_the_wrong_way_round_are_no_things():
    text = "<loc_1><loc_2><loc_3><loc_4>cat<loc_500><loc_2><loc_3><loc_4>dog<loc_1><loc_2><loc_3>"

    assert things_in(text, 0.5) == []


def test_text_and_things_are_read_of_pictures(model, pictures):
    lines, things = model.read(pictures[:2]), model.detect(pictures[:2])

    assert len(lines) == len(things) == 2
    # By the same way that the tokens above went, with the budget of the decoder.
    said = model.generate(pictures[:2], [TEXT_PROMPT] * 2, Decoding(max_tokens=128))
    assert lines == [lines_in(one.text) for one in said]
    assert model.read([]) == model.detect([]) == []


def test_captions_are_english_and_of_three_lengths(model):
    asked = {model.caption_prompt(length, None) for length in ("short", "normal", "long", "alt_text")}

    assert len(asked) == 3
    assert model.caption_prompt("alt_text", "en-GB") == model.caption_prompt("short", "en")
    with pytest.raises(UsageError, match=r'does not know the language "de"; known: en'):
        model.caption_prompt(None, "de")
    with pytest.raises(UsageError, match="answers no questions"):
        model.answer_prompt("Who?", "en")


def test_the_family_opens_and_tries_it(folder):
    opened = open_model(read_model(folder), CPU, threads=1)
    try:
        assert opened.hooks == ("enrich_caption", "enrich_text", "enrich_tag")
        try_out(opened)
    finally:
        opened.close()


def test_a_long_prompt_is_refused_with_the_picture_counted(model, pictures):
    with pytest.raises(UsageError, match="reads at most 128"):
        model.generate(pictures[:1], ["z" * 125])


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("bad_words_ids", [[5]]),
        ("min_length", 5),
        ("num_beams", 99),
        ("forced_bos_token_id", "<s>"),
        ("no_repeat_ngram_size", -1),
    ],
)
def test_rules_that_are_not_obeyed_are_refused(folder, tmp_path, key, value):
    copy(folder, tmp_path / "other", decoder_start_token_id=2, eos_token_id=2, **{key: value})

    with pytest.raises(ManifestError, match=key):
        Florence.open(read_model(tmp_path / "other"), threads=1)


def test_beams_that_are_too_many_are_said_with_how_many_may_be(folder, tmp_path):
    copy(folder, tmp_path / "other", decoder_start_token_id=2, eos_token_id=2, num_beams=99)

    with pytest.raises(ManifestError, match=r": num_beams: must be a number from 1 to 16 in generation"):
        Florence.open(read_model(tmp_path / "other"), threads=1)


def test_without_its_own_file_config_json_says_how_texts_go(folder, tmp_path):
    other = tmp_path / "florence"
    shutil.copytree(folder, other)
    (other / "generation_config.json").unlink()
    config = json.loads((other / "config.json").read_text())
    config["text_config"] |= {"num_beams": 3, "forced_bos_token_id": 0, "no_repeat_ngram_size": 3}
    (other / "config.json").write_text(json.dumps(config))

    opened = Florence.open(read_model(other), threads=1)
    try:
        ending = opened._speech.ending
        assert (ending.beams, ending.rules.first, ending.rules.no_repeat) == (3, 0, 3)
    finally:
        opened.close()


def test_a_tokenizer_without_places_is_refused(folder, tmp_path):
    path = shutil.copytree(folder, tmp_path / "florence") / "tokenizer.json"
    path.write_text(path.read_text().replace("<loc_", "<lot_"))

    (problem,) = ModelStore(tmp_path).verify("florence")
    assert problem.endswith(
        "has no <loc_999>, with which Florence-2 says where things are; copy it from "
        "where the weights come from"
    )


def test_embeddings_of_another_model_are_refused(folder, tmp_path):
    other = shutil.copytree(folder, tmp_path / "florence")
    tiny_joint.save_embedding(other / "embed_tokens.onnx", width=16)

    with pytest.raises(ManifestError, match=r"tokenizer\.json has \d+ tokens and embed_tokens fewer: they"):
        Florence.open(read_model(other), threads=1)


def test_places_stay_in_the_text_and_other_special_tokens_do_not(folder):
    usual = Tokenizer(folder / "tokenizer.json")
    located = Tokenizer(folder / "tokenizer.json", ["<loc_7>"])
    ids = [usual.token_id(token) for token in ("<s>", "a", "<loc_7>", "<loc_8>", "</s>")]

    assert usual.decode(ids) == "a"
    assert located.decode(ids) == "a<loc_7>"
