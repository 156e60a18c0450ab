"""Metrics of evaluations equal those of independent computations."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, log_loss

from review_scoring.evaluation.metrics import LENGTH_BANDS, calibration, interval, metrics_of
from tests.evaluation.synthetic import counted, prediction, predictions


def test_figures_equal_those_of_scikit_learn_on_the_same_predictions() -> None:
    chance = np.random.default_rng(5)
    each = []
    for n in range(500):
        label, positive = ("neg", "pos")[n % 2], float(chance.uniform(0.01, 0.99))
        each.append(prediction(n, label, "pos" if positive > 0.5 else "neg", positive))
    metrics = metrics_of(predictions(each))
    expected = [judged.row.expected for judged in each]
    predicted = [judged.predicted for judged in each]
    assert metrics.accuracy == accuracy_score(expected, predicted)
    assert metrics.macro_f1 == pytest.approx(f1_score(expected, predicted, average="macro"))
    both = [(1 - judged.positive, judged.positive) for judged in each]
    assert metrics.trainer["eval_loss"] == pytest.approx(log_loss(expected, both, labels=["neg", "pos"]))
    assert metrics.right() == sum(e == p for e, p in zip(expected, predicted, strict=True))
    assert metrics.support("neg") + metrics.support("pos") == 500


def test_the_calibration_error_is_the_weighted_gap_between_confidence_and_accuracy() -> None:
    # Four sure reviews (0.95), two of them right; six doubtful ones (0.62), four of them right.
    sure = [prediction(n, "pos" if n < 2 else "neg", "pos", 0.95) for n in range(4)]
    doubtful = [prediction(10 + n, "neg" if n < 4 else "pos", "neg", 0.38) for n in range(6)]
    found = calibration([*sure, *doubtful])
    assert found["ece"] == pytest.approx(0.4 * abs(0.5 - 0.95) + 0.6 * abs(4 / 6 - 0.62))
    filled = [(b["reviews"], b["accuracy"]) for b in found["bins"] if b["reviews"]]
    assert filled == [(6, pytest.approx(4 / 6)), (4, 0.5)]


@pytest.mark.parametrize("positive", [0.5, 0.0, 1.0, 0.55, 0.6])
def test_every_confidence_is_in_one_calibration_bin(positive: float) -> None:
    found = calibration([prediction(1, "pos", "pos" if positive > 0.5 else "neg", positive)])
    assert sum(b["reviews"] for b in found["bins"]) == 1


def test_intervals_are_wilsons() -> None:
    # Wilson's centre and half width, from the formula of his paper (JASA 22, 1927).
    right, reviews, z = 1243, 1367, 1.959963984540054
    share = right / reviews
    centre = (share + z * z / (2 * reviews)) / (1 + z * z / reviews)
    half = z / (1 + z * z / reviews) * (share * (1 - share) / reviews + z * z / (4 * reviews**2)) ** 0.5
    assert interval(right, reviews) == pytest.approx((centre - half, centre + half))
    assert interval(5, 5)[1] == 1.0


def test_length_bands_count_every_review_once_and_truncated_texts_separately() -> None:
    lengths = [1, 64, 65, 128, 129, 256, 257, 512, 513, 9000]
    each = [prediction(n, "pos", "pos", 0.9, tokens) for n, tokens in enumerate(lengths)]
    more = metrics_of(predictions([*each, *counted({"neg": 1, "pos": 0}, {"neg": 1, "pos": 0})])).breakdown
    assert [band["to_tokens"] for band in more["lengths"]] == [*LENGTH_BANDS, None]
    assert [band["reviews"] for band in more["lengths"]] == [3, 2, 2, 2, 2]
    assert more["truncated"] == {"reviews": 0, "accuracy": None}


def test_a_class_that_is_never_predicted_has_figures_too() -> None:
    metrics = metrics_of(predictions([prediction(n, "neg" if n else "pos", "neg", 0.1) for n in range(4)]))
    by_label = {line.label: line for line in metrics.classes}
    assert (by_label["pos"].precision, by_label["pos"].recall, by_label["pos"].f1) == (0.0, 0.0, 0.0)
    assert by_label["neg"].recall == 1.0
