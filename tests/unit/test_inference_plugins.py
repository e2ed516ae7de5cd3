"""The plugins around classifiers: what they make of labels and confidences."""

import logging

import numpy as np
import pydantic
import pytest
from enrich.plugins import age, tags

from enrich.inference import LabelScores
from enrich.types import AgeGroup, Context, Rendition, Tag

PICTURE = Rendition(None, None, 0, np.zeros((4, 4, 3), np.uint8), 4, 4, 4, 4)


class Model:
    """Says the same confidences, by label, of every rendition it is given."""

    name = "fake"

    def __init__(self, **confidences):
        self.scores = LabelScores(tuple(confidences), np.array(list(confidences.values()), np.float32))

    def refusals(self, renditions):
        return [None] * len(renditions)

    def predict(self, renditions):
        return [self.scores] * len(renditions)


def context(model, options):
    return Context("step", options, model, [()], None, None, None, logging.getLogger("test"))


def tagged(model, **options):
    (result,) = tags.enrich_tag([PICTURE], context(model, tags.Options(**options)))
    return [(tag.name, round(tag.confidence, 3)) for tag in result]


def test_tags_are_the_labels_that_reach_the_threshold_best_first():
    model = Model(cat=0.2, dog=0.55, owl=0.1, cow=0.15)

    assert tagged(model) == [("dog", 0.55), ("cat", 0.2)]
    assert tagged(model, threshold=0.12, limit=2) == [("dog", 0.55), ("cat", 0.2)]
    assert tagged(model, threshold=0.12) == [("dog", 0.55), ("cat", 0.2), ("cow", 0.15)]


def test_no_label_may_reach_it():
    assert tagged(Model(cat=0.19, dog=0.1)) == []


def test_a_tag_is_the_first_synonym_and_stands_once():
    model = Model(**{"crane, bird": 0.3, "tench, Tinca tinca": 0.4, "crane, machine": 0.25})

    assert tagged(model) == [("tench", 0.4), ("crane", 0.3)]


def test_results_are_aligned_and_an_empty_batch_is_empty():
    both = context(Model(cat=0.9), tags.Options())
    assert tags.enrich_tag([PICTURE] * 3, both) == [[Tag("cat", pytest.approx(0.9))]] * 3
    assert tags.enrich_tag([], both) == []
    assert age.enrich_age([], context(Model(adult=0.9), age.Options())) == []


@pytest.mark.parametrize(
    ("plugin", "options"),
    [
        (tags, {"threshold": 1.1}),
        (tags, {"limit": 0}),
        (tags, {"treshold": 0.5}),
        (age, {"threshold": -0.1}),
        (age, {"limit": 3}),
    ],
)
def test_wrong_options_are_refused(plugin, options):
    with pytest.raises(pydantic.ValidationError):
        plugin.Options(**options)


@pytest.mark.parametrize(
    ("label", "years"),
    [
        ("0-12", (0, 12)),
        ("13-20", (13, 20)),
        ("(25-32)", (25, 32)),
        ("Middle Age 45-64", (45, 64)),
        ("21 – 44", (21, 44)),
        ("4 to 6 years", (4, 6)),
        ("65+", (65, None)),
        ("Aged 65+", (65, None)),
        ("more than 70", (70, None)),
        ("60 and over", (60, None)),
        ("60 years or older", (60, None)),
        (">= 60", (60, None)),
        ("over 60", (60, None)),
        ("under 3", (None, 2)),
        ("less than 18", (None, 17)),
        ("<3", (None, 2)),
        ("3 and under", (None, 3)),
        ("up to 12", (None, 12)),
        ("<= 12", (None, 12)),
        ("25", (25, 25)),
        ("adult", (None, None)),
    ],
)
def test_years_are_read_out_of_labels(label, years):
    assert age.parse_years(label) == years


def judged(model, **options):
    (result,) = age.enrich_age([PICTURE], context(model, age.Options(**options)))
    return result


def test_the_likeliest_group_with_its_interval():
    assert judged(Model(**{"0-12": 0.1, "13-20": 0.7, "21-44": 0.2})) == [
        AgeGroup("13-20", 13, 20, pytest.approx(0.7))
    ]


@pytest.mark.parametrize("label", ["no one", "No_One", "none", "nobody", "no-face"])
def test_no_one_is_an_empty_list(label):
    assert judged(Model(**{"0-12": 0.1, label: 0.9})) == []


def test_below_the_threshold_nothing_is_judged():
    model = Model(**{"0-12": 0.4, "none": 0.35})

    assert judged(model, threshold=0.5) is None
    assert judged(model, threshold=0.4) is not None


def test_both_need_a_model():
    assert tags.needs_model
    assert age.needs_model
