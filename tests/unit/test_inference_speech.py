import json

import pytest
import tiny_decoder

from enrich.errors import ManifestError
from enrich.inference.speech import read_speech
from enrich.inference.stored import read_model
from enrich.inference.writing import Ending


@pytest.fixture
def read(tmp_path):
    def read_speech_of(config, generation=None):
        folder = tiny_decoder.write_model(tmp_path / "tiny")
        (folder / "config.json").write_text(json.dumps(config))
        if generation is not None:
            (folder / "generation_config.json").write_text(json.dumps(generation))
        return read_speech(read_model(folder))

    return read_speech_of


def vision(**keys):
    return {"architectures": ["VisionEncoderDecoderModel"], **keys}


def blip(**text):
    return {"architectures": ["BlipForConditionalGeneration"], "text_config": text}


def test_generation_config_goes_first(read):
    speech = read(
        vision(decoder_start_token_id=1, eos_token_id=2, decoder={"n_positions": 64}),
        {"decoder_start_token_id": 3, "eos_token_id": [4, 5], "length_penalty": 2, "early_stopping": True},
    )

    assert speech.start == 3
    assert speech.ending == Ending((4, 5), 2.0, True)
    assert speech.positions == 64


def test_then_config_then_its_decoder(read):
    speech = read(vision(decoder={"bos_token_id": 7, "eos_token_id": 8, "max_position_embeddings": 32}), {})

    assert (speech.start, speech.ending, speech.positions) == (7, Ending((8,)), 32)


def test_without_an_end_only_the_budget_ends(read):
    speech = read(vision(decoder_start_token_id=0, decoder={"model_type": "gpt2"}))

    assert (speech.start, speech.ending.tokens, speech.positions) == (0, (), 1024)


def test_a_decoder_without_a_start_is_refused(read):
    with pytest.raises(ManifestError, match="decoder_start_token_id: missing"):
        read(vision())


def test_blip_ends_with_its_separator_whatever_generation_config_says(read):
    speech = read(
        blip(bos_token_id=9, sep_token_id=3, max_position_embeddings=64),
        {"eos_token_id": 2, "bos_token_id": 1},
    )

    assert (speech.start, speech.ending.tokens, speech.positions) == (9, (3,), 64)


def test_blip_files_may_leave_out_what_is_the_default(read):
    speech = read(blip())

    assert (speech.start, speech.ending.tokens, speech.positions) == (30522, (102,), 512)


@pytest.mark.parametrize(
    ("config", "generation", "named"),
    [
        (vision(decoder_start_token_id="0"), {}, "the token that starts a text"),
        (vision(decoder_start_token_id=0, eos_token_id=["1"]), {}, "eos_token_id"),
        (vision(decoder_start_token_id=0, decoder={"n_positions": "64"}), {}, "the decoder's positions"),
        (vision(decoder_start_token_id=0), {"length_penalty": "long"}, "length_penalty"),
        (blip(bos_token_id=None), {}, "the token that starts a text"),
    ],
)
def test_what_is_no_number_is_named(read, config, generation, named):
    with pytest.raises(ManifestError, match=f"{named}: must be a number in generation_config"):
        read(config, generation)
