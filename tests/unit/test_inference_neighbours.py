"""What a model says of a picture does not depend on who else asks meanwhile.

On the recorded exports of real architectures; that they say the right thing is checked in
test_references.py.
"""

import dataclasses
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from parity.cases import EXPORTED_GENERATORS, TEXTS
from parity.references import FOLDER, References

from enrich.types import Decoding

# The last bits of float32: rows are added up in another order in a batch of another size.
APART_MAX = 1e-5
PROMPTS = ("", "two dogs", "what colour is the dog?", "犬は何色ですか。")
DECODINGS = (
    Decoding(max_tokens=12),
    Decoding(max_tokens=7, beams=3),
    Decoding(max_tokens=12, temperature=1.0, top_k=20, top_p=0.9, seed=5),
    Decoding(max_tokens=20, repetition_penalty=1.4, stop=("o",)),
)


@pytest.fixture(scope="module")
def references(tmp_path_factory: pytest.TempPathFactory) -> Iterator[References]:
    recorded = References(FOLDER, tmp_path_factory.mktemp("models"))
    yield recorded
    recorded.close()


def new(picture):
    """The same picture, of which nothing is known yet."""
    return dataclasses.replace(picture, tensors={})


def parts(items, seed):
    """The items in another order, cut into calls of one to seven, with their places."""
    rng = np.random.default_rng(seed)
    places = rng.permutation(len(items)).tolist()
    while places:
        count = int(rng.integers(1, 8))
        yield [(place, items[place]) for place in places[:count]]
        places = places[count:]


def in_company(ask, items):
    """Ask for all items at once from six threads; return what came for each."""
    calls = list(parts(items * 3, seed=4))
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(ask, [[item for _, item in call] for call in calls]))
    said = [[] for _ in items]
    for call, rows in zip(calls, answers, strict=True):
        for (place, _), row in zip(call, rows, strict=True):
            said[place % len(items)].append(row)
    return said


def test_a_classifier(references):
    model = references.models.open("vit")

    def ask(pictures):
        return [scores.probabilities for scores in model.predict([new(one) for one in pictures])]

    alone = [ask([one])[0] for one in references.pictures]
    for expected, rows in zip(alone, in_company(ask, references.pictures), strict=True):
        assert np.abs(np.stack(rows) - expected).max() < APART_MAX
    # On a busy machine callers may come one by one.
    assert max(model.stats.runs) >= 4


@pytest.mark.parametrize("name", ["clip", "clip-split", "siglip", "siglip-split"])
def test_pictures_and_texts_of_a_dual_encoder(references, name):
    model = references.models.open(name)

    def see(pictures):
        return model.embed([new(one) for one in pictures])

    alone = [see([one])[0] for one in references.pictures]
    for expected, rows in zip(alone, in_company(see, references.pictures), strict=True):
        assert np.abs(np.stack(rows) - expected).max() < APART_MAX
    together = model.embed([f"{text} {number}" for number in range(9) for text in TEXTS])
    for place, text in enumerate(f"{text} {number}" for number in range(9) for text in TEXTS):
        # Another way to write the same: it is not remembered, and read alone.
        (apart,) = model.embed([f" {text}"])
        assert np.abs(apart - together[place]).max() < APART_MAX


@pytest.mark.parametrize("name", EXPORTED_GENERATORS)
def test_what_an_encoder_decoder_writes(references, name):
    model = references.models.open(name)
    items = [
        (picture, prompt, decoding)
        for decoding in DECODINGS
        for picture, prompt in zip(references.chosen, (*PROMPTS, ""), strict=True)
    ]

    def ask(some):
        # One way of choosing words for each call.
        return [model.generate([new(one)], [prompt], decoding)[0] for one, prompt, decoding in some]

    def ask_together(some):
        one_way = [item for item in some if item[2] == some[0][2]]
        rows = model.generate([new(one) for one, _, _ in one_way], [two for _, two, _ in one_way], some[0][2])
        found = {id(item): row for item, row in zip(one_way, rows, strict=True)}
        return [found[id(item)] if id(item) in found else ask([item])[0] for item in some]

    alone = ask(items)
    for expected, rows in zip(alone, in_company(ask_together, items), strict=True):
        for row in rows:
            assert dataclasses.replace(row, confidence=None) == dataclasses.replace(expected, confidence=None)
            assert row.confidence == pytest.approx(expected.confidence, abs=APART_MAX)
    assert len({one.text for one in alone}) > 8, "a model that says one thing proves little"
    assert max(model.writer_stats.runs) > 4
