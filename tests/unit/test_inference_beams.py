"""Beam search alone; that it is transformers' is checked in test_references.py and tests/parity."""

import itertools

import numpy as np
import pytest
from tiny_decoder import TABLE, WORDS, logits_after

from enrich.inference.beams import BeamSearch

PROMPT = (1, 2)


def log_softmax(logits):
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return (shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))).astype(np.float32)


def after(ids, words=WORDS):
    return log_softmax(logits_after(ids, 3)[:words])


def search_through(search, words=WORDS, turns=99):
    """Feed a search what the tiny language says until it is over; counts the turns."""
    for turn in range(turns):
        logs = np.stack([after(ids, words) for ids in search.sequences.tolist()])
        advance = search.advance(logs, logs)
        if advance is None:
            return turn + 1
        assert [row[-1] for row in search.sequences.tolist()] == list(advance.tokens)
    raise AssertionError("it does not end")


def probability(made, words=WORDS):
    return sum(float(after([*PROMPT, *made[:index]], words)[token]) for index, token in enumerate(made))


def test_with_room_for_all_it_finds_the_best_there_is():
    words, length = 4, 3
    search = BeamSearch(PROMPT, words**length, ends=(), max_tokens=length)
    search_through(search, words)

    best = max(itertools.product(range(words), repeat=length), key=lambda made: probability(made, words))
    assert search.best.tokens == best
    assert search.best.log_probability == pytest.approx(probability(best, words), abs=1e-5)
    assert not search.best.is_ended


def test_more_beams_find_what_greedy_misses():
    one, many = (BeamSearch(PROMPT, beams, ends=(), max_tokens=6) for beams in (1, 8))
    search_through(one)
    search_through(many)

    assert many.best.log_probability > one.best.log_probability
    assert one.best.score == pytest.approx(one.best.log_probability / 6)


def test_one_beam_is_greedy():
    search = BeamSearch(PROMPT, 1, ends=(), max_tokens=9)
    search_through(search)

    ids = list(PROMPT)
    for _ in range(9):
        ids.append(int(after(ids).argmax()))
    assert list(search.best.tokens) == ids[len(PROMPT) :]


def test_parents_are_the_rows_that_go_on():
    search = BeamSearch(PROMPT, 4, ends=(), max_tokens=9)
    before = search.sequences
    for _ in range(5):
        logs = np.stack([after(ids) for ids in before.tolist()])
        advance = search.advance(logs, logs)
        assert (search.sequences[:, :-1] == before[list(advance.parents)]).all()
        before = search.sequences
    assert len({tuple(row) for row in before.tolist()}) == 4


def test_the_end_token_ends_a_sequence_and_does_not_count_in_its_probability():
    end = int(after([*PROMPT, int(after(PROMPT).argmax())]).argmax())
    search = BeamSearch(PROMPT, 2, ends=(end,), max_tokens=20)
    search_through(search)

    assert search.best.is_ended
    assert search.best.tokens[-1] == end
    assert end not in search.best.tokens[:-1]
    assert search.best.log_probability == pytest.approx(probability(search.best.tokens[:-1]), abs=1e-5)
    assert search.best.score == pytest.approx(
        probability(search.best.tokens) / len(search.best.tokens), abs=1e-5
    )


def test_it_stops_early_where_it_is_told_to():
    ends = tuple(range(8))
    eager, patient = (
        BeamSearch(PROMPT, 3, ends=ends, max_tokens=30, early_stopping=word) for word in (True, "never")
    )

    assert search_through(eager) < search_through(patient)
    assert patient.best.score >= eager.best.score


@pytest.mark.parametrize("penalty", [-2.0, 4.0])
def test_the_length_penalty_decides_between_short_and_long(penalty):
    short, long = (
        BeamSearch(PROMPT, 4, ends=(0, 1, 2, 3), max_tokens=20, length_penalty=one, early_stopping="never")
        for one in (-abs(penalty), abs(penalty))
    )
    search_through(short)
    search_through(long)

    assert len(short.best.tokens) < len(long.best.tokens)


def test_a_draw_is_repeated_by_its_seed_and_differs_by_it():
    def drawn(seed):
        search = BeamSearch(PROMPT, 3, ends=(), max_tokens=8, rng=np.random.default_rng(seed))
        search_through(search)
        return search.best.tokens

    assert drawn(1) == drawn(1)
    assert len({drawn(seed) for seed in range(8)}) > 1


def test_fewer_words_than_candidates_are_no_trouble():
    search = BeamSearch(PROMPT, 3, ends=(), max_tokens=2)
    search_through(search, words=2)

    assert len(search.best.tokens) == 2
    assert TABLE.shape[1] > 2
