import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from enrich.errors import InferenceError
from enrich.inference.reader import Reader, TextInput

START, END, PAD = 1, 2, 0


class Placed:
    """A text encoder that remembers its batches: a text's vector is (1, sum of its ids)."""

    def __init__(self):
        self.batches = []

    def __call__(self, ids, mask):
        self.batches.append(ids.shape)
        return np.stack([np.ones(len(ids)), (ids * mask).sum(axis=1)], axis=1).astype(np.float32)

    @property
    def texts(self):
        return sum(count for count, _ in self.batches)


def text_input(lengths=(4, 8), pads_count=False):
    def encode(text):
        return [START, *map(int, text.split())][: lengths[-1] - 1]

    return TextInput(lambda text: [*encode(text), END], PAD, lengths, pads_count)


def expected(texts):
    rows = np.asarray([[1, START + END + sum(map(int, text.split()))] for text in texts], np.float64)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture
def placed():
    return Placed()


def reader(placed, **kept):
    return Reader(text_input(), placed, (1, 2, 4), name="m", **kept)


def test_texts_are_filled_up_to_fixed_lengths_and_batches(placed):
    texts = ["5", "6 7 8", "9", "1 1", "3 3 3 3 3", "4"]

    vectors = reader(placed).vectors(texts)

    np.testing.assert_allclose(vectors, expected(texts), atol=1e-6)
    # Four of at most four tokens, and two longer ones.
    assert sorted(placed.batches) == [(2, 8), (4, 4)]
    assert vectors.dtype == np.float32
    assert not vectors.flags.writeable


def test_pads_that_count_are_not_masked():
    ids, mask = text_input((6,), pads_count=True).batch([[1, 5, 2]])
    assert (ids.tolist(), mask.tolist()) == ([[1, 5, 2, 0, 0, 0]], [[1] * 6])
    assert text_input().batch([[1, 5, 2]])[1].tolist() == [[1, 1, 1, 0]]


def test_a_text_is_placed_once(placed):
    one = reader(placed)
    one.vectors(["5", "5", "6"])
    np.testing.assert_allclose(one.vectors(["7", "6", "5"]), expected(["7", "6", "5"]), atol=1e-6)

    assert placed.texts == 3


def test_the_texts_that_were_not_wanted_for_longest_are_forgotten(placed):
    one = reader(placed, texts_kept=2)
    for text in ("5", "6", "5", "7", "5", "6"):
        one.vectors([text])

    # The 6 made room for the 7.
    assert placed.texts == 4


def test_a_vocabulary_is_placed_once_however_large(placed):
    one = reader(placed, texts_kept=2)
    words = [str(n) for n in range(20_000)]

    first = one.vectors(words)
    assert one.vectors(list(words)) is first
    assert placed.texts == 20_000
    assert set(placed.batches) == {(4, 4)}
    np.testing.assert_allclose(first[[7, 19_999]], expected(["7", "19999"]), atol=1e-6)


def test_a_vocabulary_may_hold_a_word_twice(placed):
    words = [str(n % 300) for n in range(400)]

    np.testing.assert_allclose(reader(placed).vectors(words), expected(words), atol=1e-6)
    assert placed.texts == 300


def test_old_vocabularies_are_forgotten_and_the_last_never(placed):
    # 300 vectors of 8 bytes: there is room for two.
    one = reader(placed, vocabularies_bytes=2 * 300 * 8)
    vocabularies = [[str(n + start) for n in range(300)] for start in range(3)]
    for number in (0, 1, 0, 2, 0, 1):
        one.vectors(vocabularies[number])
    assert placed.texts == 4 * 300

    tight = reader(placed, vocabularies_bytes=1)
    assert tight.vectors(vocabularies[0]) is tight.vectors(vocabularies[0])


def test_a_search_does_not_wait_for_a_vocabulary():
    begun, go_on = threading.Event(), threading.Event()

    def place(ids, mask):
        if len(ids) == 4:
            begun.set()
            assert go_on.wait(20)
        return np.ones((len(ids), 2), np.float32)

    one = Reader(text_input(), place, (1, 4), name="m")
    with ThreadPoolExecutor(2) as pool:
        vocabulary = pool.submit(one.vectors, [str(n) for n in range(400)])
        assert begun.wait(20)
        assert len(pool.submit(one.vectors, ["5"]).result(timeout=20)) == 1
        assert not vocabulary.done()
        go_on.set()
        assert len(vocabulary.result(timeout=20)) == 400


def test_two_callers_place_a_vocabulary_once(placed):
    one, words = reader(placed), [str(n) for n in range(400)]

    with ThreadPoolExecutor(8) as pool:
        assert len({id(matrix) for matrix in pool.map(one.vectors, [words] * 8)}) == 1
    assert placed.texts == 400


@pytest.mark.parametrize("value", [np.nan, np.inf, 0])
def test_what_has_no_direction_is_an_error(value):
    one = Reader(text_input(), lambda ids, mask: np.full((len(ids), 2), value, np.float32), (1,), name="m")

    with pytest.raises(InferenceError, match="m: an embedding is not finite, or of length 0"):
        one.vectors(["5"])
