from pathlib import Path

import numpy as np
import pytest

from enrich.errors import UsageError
from enrich.inference.sampling import (
    check_decoding,
    draw,
    keep_top_k,
    keep_top_p,
    log_probabilities,
    penalise,
    shape,
)
from enrich.types import Decoding

REFERENCES = Path(__file__).parents[1] / "references" / "sampling.npz"
NOTHING_SAID = np.zeros((1, 0), np.int64)


@pytest.fixture(scope="module")
def recorded():
    with np.load(REFERENCES) as arrays:
        return dict(arrays)


def logs(*shares):
    return np.log(np.array([shares], np.float32))


def left(scores):
    return np.isfinite(scores).nonzero()[1].tolist()


@pytest.mark.parametrize(
    ("name", "decoding"),
    [
        ("repetition_penalty", Decoding(repetition_penalty=1.3)),
        ("temperature", Decoding(temperature=0.7)),
        ("all", Decoding(temperature=0.7, top_k=5, top_p=0.8, repetition_penalty=1.3)),
    ],
)
def test_scores_are_shaped_as_by_transformers(recorded, name, decoding):
    said = recorded["said"] if decoding.repetition_penalty != 1 else np.zeros((8, 0), np.int64)

    assert (shape(recorded["logits"], said, decoding) == recorded[name]).all()


def test_each_processor_is_transformers(recorded):
    logits = recorded["logits"]

    assert (keep_top_k(logits, 5) == recorded["top_k"]).all()
    assert (keep_top_p(logits, 0.8) == recorded["top_p"]).all()
    assert (penalise(logits, recorded["said"], 1.3) == recorded["repetition_penalty"]).all()


def test_what_was_said_twice_is_made_less_likely_once():
    scores = np.array([[2.0, -2.0, 2.0]], np.float32)

    assert penalise(scores, np.array([[0, 0, 1]]), 2.0).tolist() == [[1.0, -4.0, 2.0]]
    assert scores.tolist() == [[2.0, -2.0, 2.0]], "the caller's own"


def test_without_a_temperature_nothing_is_cut_off():
    scores = logs(0.7, 0.2, 0.1)

    assert shape(scores, NOTHING_SAID, Decoding(top_k=1, top_p=0.1)) is scores


def test_top_k_keeps_equals_and_more_than_there_is():
    assert left(keep_top_k(logs(0.4, 0.2, 0.2, 0.2), 2)) == [0, 1, 2, 3]
    assert left(keep_top_k(logs(0.5, 0.3, 0.2), 2)) == [0, 1]
    assert left(keep_top_k(logs(0.5, 0.5), 9)) == [0, 1]


def test_top_p_keeps_the_fewest_that_reach_the_share():
    scores = logs(0.1, 0.5, 0.15, 0.25)

    assert left(keep_top_p(scores, 0.45)) == [1]
    assert left(keep_top_p(scores, 0.6)) == [1, 3]
    assert left(keep_top_p(scores, 0.8)) == [1, 2, 3]
    assert left(keep_top_p(scores, 0.01, keep_min=2)) == [1, 3]


def test_logits_become_probabilities():
    logits = np.array([[1000.0, 999.0, -np.inf], [0.0, 0.0, 0.0]], np.float32)

    shares = np.exp(log_probabilities(logits))

    assert np.allclose(shares, [[0.7310586, 0.2689414, 0], [1 / 3, 1 / 3, 1 / 3]], atol=1e-6)


def test_what_is_no_number_shows():
    logits = np.array([[1.0, np.nan], [np.inf, 0.0], [0.0, 1.0]], np.float32)

    assert np.isnan(log_probabilities(logits)).any(axis=1).tolist() == [True, True, False]


@pytest.mark.parametrize("temperature", [1e-3, 1e-30, 5e-324])
def test_the_coldest_draw_is_the_likeliest(temperature):
    scores = np.array([[-90.0, 80.0, 79.0, -np.inf]], np.float32)

    (shaped,) = shape(scores, NOTHING_SAID, Decoding(temperature=temperature, top_k=3, top_p=0.9))

    assert {draw(shaped, np.random.default_rng(seed)) for seed in range(50)} == {1}


def test_tokens_are_drawn_by_their_probability():
    rng = np.random.default_rng(1)
    (scores,) = logs(0.6, 0.3, 0.1)

    counts = np.bincount([draw(scores, rng) for _ in range(4_000)], minlength=3)

    assert np.abs(counts / 4_000 - [0.6, 0.3, 0.1]).max() < 0.03


def test_what_was_cut_off_is_never_drawn():
    class Highest:
        def random(self):
            return np.nextafter(1.0, 0.0)

    class Lowest:
        def random(self):
            return 0.0

    scores = np.array([-np.inf, 1.0, 0.5, -np.inf], np.float32)

    assert draw(scores, Lowest()) == 1
    assert draw(scores, Highest()) == 2


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_tokens", 0),
        ("beams", 0),
        ("beams", 17),
        ("temperature", -0.1),
        ("temperature", float("nan")),
        ("top_k", -1),
        ("top_p", 0.0),
        ("top_p", 1.1),
        ("repetition_penalty", 0.0),
        ("repetition_penalty", float("inf")),
        ("seed", -1),
        ("stop", ("x", "")),
        ("stop", "x"),
    ],
)
def test_a_field_out_of_range_is_named(field, value):
    with pytest.raises(UsageError, match=f"^{field}: must be "):
        check_decoding(Decoding(**{field: value}), beams_max=16)


def test_fields_in_range_pass():
    check_decoding(Decoding(), beams_max=16)
    check_decoding(Decoding(1, 16, 2.0, 40, 1.0, 1.2, 0, ("\n",)), beams_max=16)
