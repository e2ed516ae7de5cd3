import numpy as np
import pytest

from enrich.errors import InferenceError, ManifestError
from enrich.inference.scores import score
from enrich.inference.zero_shot import Rule, solve

COSINES = [-0.2, 0.1, 0.15, 0.3]


def test_scale_and_bias_are_found():
    logits = [117.3 * cosine - 12.9 for cosine in COSINES]

    assert solve(COSINES, logits, with_bias=True, where="m") == pytest.approx((117.3, -12.9))
    assert solve([0.2], [4.0], with_bias=False, where="m") == pytest.approx((20, 0))


def test_half_precision_is_near_enough():
    rounded = [float(np.float16(100 * np.float16(cosine))) for cosine in COSINES]

    scale, bias = solve(COSINES, rounded, with_bias=True, where="m")

    assert scale == pytest.approx(100, rel=0.01)
    assert bias == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize(
    ("cosines", "logits", "with_bias"),
    [
        ([0.2, 0.3], [4.0, 9.0], False),
        (COSINES, [cosine**2 * 100 for cosine in COSINES], True),
        # Turned round, or too much alike to tell.
        (COSINES, [-10 * cosine for cosine in COSINES], True),
        ([0.3, 0.3 + 1e-6], [1.0, 1.0], True),
        ([0.0, 0.0], [0.0, 0.0], False),
    ],
)
def test_what_does_not_tell_its_scale_is_refused(cosines, logits, with_bias):
    with pytest.raises(ManifestError, match=r"^m: zero_shot: .* do not tell its scale"):
        solve(cosines, logits, with_bias=with_bias, where="m")


def test_a_rule_is_a_line():
    logits = Rule(100, -10, "sigmoid").logits(np.asarray([0.1, 0.25], np.float32))

    np.testing.assert_allclose(logits, [0, 15], atol=1e-5)


def test_small_confidences_keep_their_digits():
    scores = score("m", ("a", "b", "c"), np.asarray([-30.0, -12.0, 400.0]), "sigmoid")

    np.testing.assert_allclose(scores.probabilities, [9.357623e-14, 6.1441746e-06, 1], rtol=1e-5)
    assert scores.probabilities.dtype == np.float32


def test_scores_that_are_not_finite_are_an_error():
    with pytest.raises(InferenceError, match="m: the scores of a picture are not finite"):
        score("m", ("a",), np.asarray([np.nan]), "softmax")
