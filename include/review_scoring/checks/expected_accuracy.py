"""Check of expected accuracy: the calibration of the model's newest evaluation, applied to the scores of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isclose, sqrt
from typing import Any, Self

from review_scoring.check_settings import Checks
from review_scoring.checks.control_chart import FEWEST_REVIEWS
from review_scoring.checks.finding import Finding, percent
from review_scoring.warehouse.history.run_figures import SCORE_EDGES, RunFigures

CERTAIN_ERRORS = 3.0
"""How many standard errors the expected accuracy may be lower by chance."""

MOST_UNKNOWN = 0.1
"""The largest share of scores in ranges that the evaluation has no review in."""


@dataclass(frozen=True)
class Calibration:
    """The accuracy of an evaluation in each range of `SCORE_EDGES`.

    :param of: names the evaluation, as in `evaluation 12 on sample`
    :param reviews: how many of its reviews had a score in each range
    :param right: the share of them that was correct; 0 for a range without reviews
    """

    of: str
    reviews: tuple[int, ...]
    right: tuple[float, ...]

    @classmethod
    def from_metrics(cls, of: str, metrics: Mapping[str, Any]) -> Self | None:
        """Read the metrics of an evaluation.

        None if they do not fit a run's scores: those of a model with more than two labels, whose confidence is another
        one than its score, and those in other ranges.
        """
        bins = metrics.get("calibration", {}).get("bins", [])
        ends = [each["to"] for each in bins]
        fits = len(ends) == len(SCORE_EDGES) - 1 and all(map(isclose, ends, SCORE_EDGES[1:]))
        if not fits or len(metrics.get("labels", {})) > 2 or not any(each["reviews"] for each in bins):
            return None
        return cls(of, tuple(b["reviews"] for b in bins), tuple(b["accuracy"] or 0.0 for b in bins))


def check_accuracy(settings: Checks, run: RunFigures, calibration: Calibration | None) -> Finding:
    """Compare the accuracy that is expected from the run's scores with that of the evaluation.

    A drop within the error of the two samples is no alarm.
    """
    if calibration is None:
        return Finding("The model has no evaluation on a whole benchmark set with calibration for two labels.")
    known = [n if reviews else 0 for n, reviews in zip(run.scores.by_score, calibration.reviews, strict=True)]
    if run.scores.scored < FEWEST_REVIEWS:
        return Finding(f"The run scored {run.scores.scored} reviews; a comparison needs at least {FEWEST_REVIEWS}.")
    if sum(known) < (1 - MOST_UNKNOWN) * run.scores.scored:
        return Finding(f"Too few scores are in ranges that {calibration.of} has reviews in.")
    expected, error = _mean(known, calibration.right)
    evaluated, its_error = _mean(calibration.reviews, calibration.right)
    limit = evaluated - max(settings.accuracy_loss, CERTAIN_ERRORS * sqrt(error**2 + its_error**2))
    return Finding(
        f"The expected accuracy is {percent(expected)}; {calibration.of} had {percent(evaluated)}; the limit is "
        f"{percent(limit)}.",
        expected,
        limit,
        is_beyond=expected < limit,
    )


def _mean(counts: Sequence[int], right: Sequence[float]) -> tuple[float, float]:
    """Return the mean of the accuracies of the ranges, weighted by reviews, and its standard error."""
    total = sum(counts)
    mean = sum(n * share for n, share in zip(counts, right, strict=True)) / total
    variance = sum(n * (share - mean) ** 2 for n, share in zip(counts, right, strict=True)) / total
    return mean, sqrt(variance / total)
