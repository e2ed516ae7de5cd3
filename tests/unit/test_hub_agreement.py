import numpy as np
import pytest

from enrich.hub.agreement import THRESHOLDS, compare
from enrich.inference.families import FAMILIES
from enrich.types import Detection, Region


def box(name, x, confidence=0.9):
    return Detection(name, confidence, Region(x, 0.2, 0.2, 0.2))


def test_every_family_has_a_figure_that_decides():
    assert set(THRESHOLDS) == set(FAMILIES)


def test_classifiers_are_compared_by_their_surest_label():
    old = [np.array([0.7, 0.3]), np.array([0.6, 0.4])]
    found = compare("classifier", old, [np.array([0.6, 0.4]), np.array([0.45, 0.55])])
    assert found.figures == {"top_1": 0.5, "probability_apart": pytest.approx(0.15)}
    assert (found.score, found.pictures) == (0.5, 2)


def test_the_worse_half_of_a_dual_encoder_decides():
    words = np.eye(3, dtype=np.float32)
    turned = np.array([[0.8, 0.6, 0], [0, 1, 0], [0, 0, 1]], np.float32)
    picture = np.array([0.9, 0.1, 0], np.float32) / np.hypot(0.9, 0.1)
    found = compare("dual-encoder", [(picture, words)], [(picture, turned)])
    assert found.score == found.figures["text_cosine"] == pytest.approx((0.8 + 1 + 1) / 3)
    assert found.figures["picture_cosine"] == pytest.approx(1)
    assert found.figures["top_1"] == 1


def test_writers_are_compared_word_by_word():
    found = compare("vision-language", ["a red car", "two dogs"], ["a red car", "two cats"])
    assert found.figures == {"words": 0.75, "texts": 0.5}


def test_boxes_match_where_name_and_place_do():
    old = [[box("dog", 0.1), box("cat", 0.5)], []]
    new = [[box("dog", 0.12, 0.8), box("dog", 0.5)], []]
    found = compare("detector", old, new)
    assert found.figures == {"boxes": 0.5, "confidence_apart": pytest.approx(0.1)}


def test_a_box_is_matched_once():
    assert compare("detector", [[box("dog", 0.1)] * 2], [[box("dog", 0.1)]]).score == pytest.approx(2 / 3)


def test_where_neither_form_finds_anything_they_agree():
    assert compare("detector", [[], []], [[], []]).score == 1


def test_numbers_that_are_close_agree():
    found = compare("regressor", [20.0, 50.0], [20.5, 60.0])
    assert found.figures == {"values": 0.5, "value_apart": 10}
