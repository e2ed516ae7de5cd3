import json
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tiny_decoder
import tokenizers
from tiny_decoder import WORDS, greedy

from enrich.errors import InferenceError, ManifestError, UsageError
from enrich.inference.decoder import Decoder
from enrich.inference.devices import Device
from enrich.inference.encoder_decoder import EncoderDecoder
from enrich.inference.families import try_out
from enrich.inference.session import Session
from enrich.inference.stored import read_model
from enrich.inference.text import Tokenizer
from enrich.types import Decoding, Rendition

PROMPTS = {"caption": "w2 w3", "answer": "{question} w9"}


@pytest.fixture
def opened(tmp_path):
    models = []

    def open_model(config=None, **manifest):
        folder = tiny_decoder.write_model(tmp_path / f"tiny-{len(models)}", config, **manifest)
        models.append(EncoderDecoder.open(read_model(folder), threads=1))
        return models[-1]

    yield open_model
    for model in models:
        model.close()


def rendition(red):
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[..., 0] = red
    return Rendition(None, None, 0, pixels, 8, 8, 8, 8)


def words(tokens):
    return " ".join(f"w{token}" for token in tokens)


def expected(red, *prompt, count):
    return words(greedy((1, *prompt), red, count, ends=(WORDS - 1,)))


def test_each_prompt_is_continued_in_view_of_its_picture(opened):
    model = opened()
    pictures = [rendition(red) for red in (10, 20, 30)]

    results = model.generate(pictures, ["", "w2 w3", "w4"], Decoding(max_tokens=7))

    assert [one.text for one in results] == [
        expected(10, count=7),
        expected(20, 2, 3, count=7),
        expected(30, 4, count=7),
    ]
    assert [one.prompt_tokens for one in results] == [1, 3, 2]


def test_nothing_is_nothing(opened):
    assert opened().generate([], []) == []


def test_a_picture_is_encoded_once_for_all_its_prompts_and_later_calls(opened):
    model = opened()
    one, two = rendition(10), rendition(20)

    model.generate([one, one, two, one], ["", "w2", "", "w3"], Decoding(max_tokens=2))
    assert model.stats.items == 2
    model.generate([two, one], ["w5", "w6"], Decoding(max_tokens=2))
    assert model.stats.items == 2
    model.generate([rendition(10)], [""], Decoding(max_tokens=2))
    assert model.stats.items == 3


def test_another_model_encodes_for_itself(opened):
    one, other, picture = opened(), opened(), rendition(10)
    one.generate([picture], [""], Decoding(max_tokens=1))
    other.generate([picture], [""], Decoding(max_tokens=1))

    assert other.stats.items == 1


def test_the_length_says_how_much_may_be_written(opened):
    model = opened({"eos_token_id": None}, prompts=PROMPTS, max_tokens={"short": 3, "answer": 2})
    prompts = [
        model.caption_prompt("short", "en"),
        model.caption_prompt("alt_text", None),
        model.answer_prompt("w4", None),
    ]
    assert prompts == ["w2 w3", "w2 w3", "w4 w9"]

    results = model.generate([rendition(10)] * 3, prompts)
    assert [one.tokens for one in results] == [3, 40, 2]
    results = model.generate([rendition(10)] * 3, prompts, Decoding(max_tokens=5))
    assert [one.tokens for one in results] == [5, 5, 5]


def test_a_decoder_is_never_asked_for_more_than_it_has_places(opened):
    model = opened({"eos_token_id": None, "decoder": {"n_positions": 6}})

    (full, last) = model.generate([rendition(10)] * 2, ["w2 w3", "w1 w1 w1 w1 w1"])

    # Six are read; what follows the sixth is still written.
    assert (full.tokens, full.finish) == (4, "length")
    assert last.tokens == 1
    with pytest.raises(UsageError, match="the prompt has 7 tokens, and the model tiny-0 reads at most 6"):
        model.generate([rendition(10)], ["w1 w1 w1 w1 w1 w1"])


def test_text_is_told_with_its_place(opened):
    model = opened()
    pieces = {0: "", 1: ""}

    def take(index, piece):
        pieces[index] += piece

    results = model.generate([rendition(10), rendition(20)], ["", ""], Decoding(max_tokens=6), on_text=take)

    assert [pieces[0], pieces[1]] == [one.text for one in results]
    assert pieces[0]


def test_a_prompt_cannot_bring_an_end_along(opened):
    (result,) = opened().generate([rendition(10)], ["<end>"], Decoding(max_tokens=3))

    assert result.text == expected(10, count=3)
    assert result.prompt_tokens == 1


def test_wrong_use_is_refused_before_anything_is_run(opened):
    model = opened()

    with pytest.raises(UsageError, match="2 prompts were given for 1 renditions"):
        model.generate([rendition(1)], ["", ""])
    with pytest.raises(UsageError, match=r"^beams: must be 1 to 16"):
        model.generate([rendition(1)], [""], Decoding(beams=17))
    with pytest.raises(UsageError, match="answers no questions"):
        model.answer_prompt("What?", None)
    with pytest.raises(UsageError, match="cannot embed: it is of the family encoder-decoder"):
        model.embed(["x"])
    assert model.stats.items == 0


def test_the_same_words_from_many_threads(opened):
    model = opened()
    reds = [int(one) for one in np.random.default_rng(1).integers(0, 250, 48)]

    def ask(part):
        return [one.text for one in model.generate([rendition(red) for red in part], [""] * len(part))]

    with ThreadPoolExecutor(6) as pool:
        texts = [
            text for part in pool.map(ask, [reds[at : at + 8] for at in range(0, 48, 8)]) for text in part
        ]
    assert texts == [expected(red, count=48) for red in reds]
    assert model.writer_stats.items > 48


def test_a_deadline_ends_a_call(opened):
    with pytest.raises(InferenceError, match="deadline"):
        opened().generate([rendition(1)], [""], deadline=0.0)


def test_trying_out_asks_for_what_it_can_do(opened):
    model = opened(prompts=PROMPTS)
    try_out(model)

    assert model.hooks == ("enrich_caption", "enrich_answer")
    assert model.stats.items == 1


def test_a_closed_model_says_so(opened):
    model = opened()
    before = threading.active_count()
    model.close()

    assert threading.active_count() == before - 2
    with pytest.raises(InferenceError, match="tiny-0 is closed"):
        model.generate([rendition(1)], [""])


def test_a_folder_without_a_tokenizer_is_refused(tmp_path):
    folder = tiny_decoder.write_model(tmp_path / "tiny")
    (folder / "tokenizer.json").unlink()

    with pytest.raises(ManifestError, match=r"there is no tokenizer\.json"):
        EncoderDecoder.open(read_model(folder))


class Held:
    """Writes down the runs of an encoder or a decoder, each of which waits until it is let through."""

    def __init__(self, runner):
        self._runner = runner
        self.runs = []
        self.started, self.gate = threading.Event(), threading.Event()
        self.gate.set()

    def __getattr__(self, name):
        return getattr(self._runner, name)

    def run(self, feeds, outputs):
        self._enter(feeds["pixel_values"][:, 0, 0, 0].tolist())
        return self._runner.run(feeds, outputs)

    def prefill(self, ids, states):
        self._enter([float(one[0, 0]) for one in states])
        return self._runner.prefill(ids, states)

    def hold(self):
        self.gate.clear()
        self.started.clear()

    def _enter(self, pictures):
        self.runs.append(pictures)
        self.started.set()
        assert self.gate.wait(20)


@pytest.fixture
def held(tmp_path):
    stored = read_model(tiny_decoder.write_model(tmp_path / "tiny", {"eos_token_id": None}))
    encoder = Held(Session(stored.graphs["encoder"], Device("cpu"), threads=1))
    decoder = Held(Decoder.open(stored.graphs, Device("cpu"), threads=1))
    model = EncoderDecoder(stored, encoder, decoder, None, Tokenizer(stored.file("tokenizer.json")))
    yield model, encoder, decoder
    encoder.gate.set()
    decoder.gate.set()
    model.close()


def wait_for(condition):
    pause = threading.Event()
    for _ in range(4000):
        if condition():
            return
        pause.wait(0.005)
    raise AssertionError("it did not come about")


def test_the_picture_that_somebody_waits_for_is_seen_first(held):
    model, encoder, _ = held
    encoder.hold()
    with ThreadPoolExecutor() as pool:
        calls = [pool.submit(model.generate, [rendition(1)], [""])]
        assert encoder.started.wait(20)
        calls.append(pool.submit(model.generate, [rendition(red) for red in range(2, 22)], [""] * 20))
        wait_for(lambda: model.stats.waiting == 20)
        calls.append(pool.submit(model.generate, [rendition(99)], [""], interactive=True))
        wait_for(lambda: model.stats.waiting == 21)
        encoder.gate.set()
        assert [len(call.result(20)) for call in calls] == [1, 20, 1]

    # After the trial and the first one.
    assert encoder.runs[2][0] == 99


def test_the_text_that_somebody_waits_for_finds_room(held):
    model, _, decoder = held
    decoder.hold()
    with ThreadPoolExecutor() as pool:
        folder = pool.submit(model.generate, [rendition(red) for red in range(20)], [""] * 20)
        assert decoder.started.wait(20)
        person = pool.submit(model.generate, [rendition(99)], [""], interactive=True)
        wait_for(lambda: model.writer_stats.waiting == 5)
        decoder.gate.set()
        assert (len(folder.result(20)), len(person.result(20))) == (20, 1)

    # After the trial and the first sixteen; the other four are read in when those are written.
    assert decoder.runs[2:] == [[99], [16, 17, 18, 19]]


def without_encoder(folder):
    (folder / "encoder_model.onnx").unlink()


def without_decoder(folder):
    (folder / "decoder_model_merged.onnx").unlink()


def without_cache(folder):
    without_decoder(folder)
    tiny_decoder.save_pair(folder / "decoder_model.onnx", folder / "unused.onnx")


def with_a_broken_decoder(folder):
    (folder / "decoder_model_merged.onnx").write_bytes(b"no graph")


def with_more_words_than_the_decoder(folder):
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.add_tokens(["one", "more"])
    tokenizer.save(str(folder / "tokenizer.json"))


def with_another_end(folder):
    change_config(folder, eos_token_id=50_256)


def with_another_start(folder):
    change_config(folder, decoder_start_token_id="first")


def change_config(folder, **values):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **values}))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            without_encoder,
            r"there is no encoder_model\.onnx or .*; make the graphs with enrich models export, or copy",
        ),
        (
            without_decoder,
            r"there is no decoder_model_merged\.onnx or .*; make the graphs with enrich models export",
        ),
        (
            without_cache,
            r"is no decoder with a cache as optimum exports it \(the task image-to-text-with-past",
        ),
        (with_a_broken_decoder, r"decoder_model_merged\.onnx: ONNX Runtime cannot load it"),
        (with_more_words_than_the_decoder, r"tokenizer\.json has 26 tokens and the decoder 24: .* copy"),
        (with_another_end, "eos_token_id: 50256 is none of the decoder's 24 tokens"),
        (with_another_start, "the token that starts a text: must be a number"),
    ],
)
def test_what_does_not_fit_together_is_said_when_it_is_opened(tmp_path, spoil, message):
    folder = tiny_decoder.write_model(tmp_path / "tiny")
    spoil(folder)
    threads = threading.active_count()

    with pytest.raises(ManifestError, match=message) as caught:
        EncoderDecoder.open(read_model(folder), threads=1)
    assert "\n" not in str(caught.value)
    assert threading.active_count() == threads


@pytest.mark.parametrize(
    ("decoding", "message"),
    [
        (Decoding(max_tokens=0), "^max_tokens: must be 1 or more, not 0$"),
        (Decoding(max_tokens=-3), "^max_tokens: must be 1 or more, not -3$"),
        (Decoding(temperature=-1.0), "^temperature: must be 0 or more"),
        (Decoding(stop="."), "^stop: must be a tuple of texts"),
    ],
)
def test_how_words_are_chosen_is_checked_before_anything_is_run(opened, decoding, message):
    model = opened()

    with pytest.raises(UsageError, match=message):
        model.generate([rendition(1)], [""], decoding)
    assert model.stats.items == 0


def test_a_budget_beyond_the_places_is_cut(opened):
    model = opened({"eos_token_id": None, "decoder": {"n_positions": 6}})

    for beams in (1, 3):
        (result,) = model.generate([rendition(10)], [""], Decoding(max_tokens=10**9, beams=beams))
        assert (result.tokens, result.finish) == (6, "length")
