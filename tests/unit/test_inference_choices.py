"""One of several texts: the shares are those of the tree, and the decoder runs no more than it must."""

import math

import numpy as np
import pytest
import tiny_decoder
from tiny_decoder import WORDS, logits_after, state

from enrich.errors import UsageError
from enrich.inference.choices import ChoiceSearch
from enrich.inference.generator import Generator
from enrich.inference.rules import Rules
from enrich.inference.sampling import check_decoding
from enrich.inference.writing import Ending, Request
from enrich.types import Decoding

PROMPT, VALUE = (1, 4), 7


@pytest.fixture
def tokenizer(tmp_path):
    return tiny_decoder.open_tokenizer(tmp_path)


@pytest.fixture
def opened(tmp_path):
    made = []

    def open_generator(**ending):
        decoder = tiny_decoder.open_decoder(tmp_path)
        tokenizer = tiny_decoder.open_tokenizer(tmp_path)
        made.append(Generator(decoder, tokenizer, Ending((WORDS - 1,), **ending), name="tiny"))
        return made[-1]

    yield open_generator
    for generator in made:
        generator.close()


def request(*choices, value=VALUE, **options):
    return Request(PROMPT, state(value), 1, Decoding(choices=choices), **options)


def shares(choices, value=VALUE, before=()):
    """By the definition: at each place, the tokens that go on and, where one ends, all the rest, sum to 1."""
    spelled = [[int(word[1:]) for word in choice.split()] for choice in choices]
    found = dict.fromkeys(choices, 0.0)

    def follow(depth, left, share):
        if len(left) == 1:
            found[choices[left[0]]] += share
            return
        said = spelled[left[0]][:depth]
        logits = logits_after([*PROMPT, *before, *said], value).astype(np.float64)
        probabilities = np.exp(logits) / np.exp(logits).sum()
        groups = {}
        for one in left:
            key = spelled[one][depth] if len(spelled[one]) > depth else None
            groups.setdefault(key, []).append(one)
        total = 1.0 if None in groups else sum(probabilities[token] for token in groups)
        rest = 1 - sum(probabilities[token] for token in groups if token is not None)
        for token, some in groups.items():
            if token is None:
                found[choices[some[0]]] += share * rest
            else:
                follow(depth + 1, some, share * probabilities[token] / total)

    follow(0, list(range(len(choices))), 1.0)
    return found


@pytest.mark.parametrize(
    "choices",
    [
        ("w3", "w5", "w9"),
        ("w3 w2", "w3 w8", "w5"),
        ("w3 w2 w6", "w3 w2 w7", "w3 w9", "w5 w5", "w5 w6 w2"),
        # One ends where others go on.
        ("w3", "w3 w2", "w3 w2 w4", "w8"),
        ("w3 w2",),
    ],
)
def test_the_likeliest_is_written_with_its_share(opened, choices):
    for value in range(12):
        (written,) = opened().run([request(*choices, value=value)])
        expected = shares(choices, value)
        assert sum(expected.values()) == pytest.approx(1)
        assert written.text == max(expected, key=expected.get)
        assert written.confidence == pytest.approx(max(expected.values()), abs=1e-5)
        assert (written.finish, written.prompt_tokens) == ("stop", 2)


def test_every_choice_can_be_the_likeliest(opened):
    choices = ("w3 w2", "w3 w8", "w5")
    generator = opened()
    assert {generator.run([request(*choices, value=value)])[0].text for value in range(60)} == set(choices)


def test_choices_that_differ_at_once_take_one_run(opened):
    generator = opened()
    generator.run([request("w3 w4 w5", "w6 w7", "w8")])
    assert generator.stats.runs == {1: 1}


def test_rows_grow_and_shrink_beside_others(opened):
    generator = opened()
    choices = ("w3 w2 w6", "w3 w2 w7", "w4 w9", "w4 w5", "w5 w5 w1", "w5 w5 w2", "w5 w6 w2")
    plain = Request(PROMPT, state(3), 9)
    mixed = generator.run([plain, request(*choices), plain, request(*choices, value=2)])
    assert [mixed[0], mixed[2]] == generator.run([plain]) * 2
    assert mixed[1] == generator.run([request(*choices)])[0]
    expected = shares(choices, 2)
    assert mixed[3].text == max(expected, key=expected.get)
    assert mixed[3].confidence == pytest.approx(max(expected.values()), abs=1e-5)


def test_what_every_text_starts_with_comes_first(opened):
    generator = opened(rules=Rules(first=11))
    (written,) = generator.run([request("w3", "w5")])
    expected = shares(("w3", "w5"), before=(11,))
    assert written.confidence == pytest.approx(max(expected.values()), abs=1e-5)


def test_many_choices_are_followed_by_the_likeliest(opened):
    choices = tuple(f"w{first} w{second}" for first in range(1, 15) for second in range(1, 10))
    (written,) = opened().run([request(*choices)])
    expected = shares(choices)
    # Those that were left would share a few percent.
    assert written.text == max(expected, key=expected.get)
    assert max(expected.values()) <= written.confidence + 1e-6 <= 1.5 * max(expected.values())


def test_who_reads_along_is_told_once(opened):
    told = []
    opened().run([request("w3", "w5", on_text=told.append)])
    assert told in (["w3"], ["w5"])


def test_spellings_of_a_choice_count_together(tmp_path):
    import tokenizers

    plain = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({"?": 0, "yes": 1, "Yes": 2, "no": 3, "No": 4, "us": 5, "US": 6}, "?")
    )
    plain.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    plain.save(str(tmp_path / "tokenizer.json"))
    tokenizer = tiny_decoder.Tokenizer(tmp_path / "tokenizer.json")
    logs = np.log(np.array([[0.1, 0.1, 0.3, 0.2, 0.1, 0.1, 0.1]], np.float32))
    search = ChoiceSearch(("yes", "no"), tokenizer)
    assert search.advance(logs) is None
    assert search.best == (0, pytest.approx(0.4 / 0.7))
    # What is unknown to the model is nobody's.
    search = ChoiceSearch(("us", "US"), tokenizer)
    assert search.advance(logs) is None
    assert search.best == (0, pytest.approx(0.5))


def test_impossible_tokens_are_weighed_too(tokenizer):
    search = ChoiceSearch(("w1", "w2"), tokenizer)
    assert search.advance(np.full((1, WORDS), -np.inf, np.float32)) is None
    assert not math.isnan(search.best[1])


def test_choices_that_are_the_same_to_the_model_are_refused(opened):
    with pytest.raises(UsageError, match="'w1' and ' w1' are the same to the model"):
        opened().run([request("w1", " w1")])
    with pytest.raises(UsageError, match="has no tokens for '<end>'"):
        opened().run([request("w1", "<end>")])


@pytest.mark.parametrize("choices", ["yes", ("yes", ""), ("yes", "yes"), ("yes", " ")])
def test_odd_choices_are_refused(choices):
    with pytest.raises(UsageError, match="choices: must be a tuple of texts that are not empty, none of"):
        check_decoding(Decoding(choices=choices), beams_max=4)


def test_rows_are_kept_free_for_the_places_that_choices_may_come_to(opened):
    generator = opened()
    # Four begin with w1, three with w2: two places after the first word, seven of one choice each after that.
    asked = request("w1 w1", "w1 w2", "w1 w3", "w1 w4", "w2 w1", "w2 w2", "w2 w3")

    generator.run([asked] * 40)

    assert max(generator.stats.runs) <= 16
    assert ChoiceSearch(asked.decoding.choices, generator._tokenizer).rows_max == 2
