"""Verdicts by exact tests: vs. published figures (Fisher), vs. the last evaluation (McNemar), vs. chance.

Each verdict has a significance level, which is the upper bound of its false alarms. `docs/benchmarks.md` explains what
the verdicts mean to a user.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import lru_cache

from review_scoring.evaluation.metrics import Metrics
from review_scoring.evaluation.published import Reference
from review_scoring.warehouse.evaluations.records import LabelledPrediction

LEVEL = 0.01
"""Significance level of `below` and of `above`: one-sided, divided by the number of figures that are compared."""

LAST_RUN_LEVEL = 0.01
"""Significance level of `worse` and `better` together: two-sided."""

CHANCE_LEVEL = 0.01
"""Significance level of "worse than always predicting the larger class": one-sided."""

DROP = 0.01
"""The drop in accuracy that `matches` would have detected: one percentage point."""

POINTS = 99
"""Number of quantiles that stand for the distribution of the published count."""

POWER = 0.8
"""The power to detect a drop of `DROP` that `matches` requires."""


class ReferenceVerdict(StrEnum):
    """Verdict of an evaluation vs. the published figures."""

    MATCHES = "matches"
    BELOW = "below"
    ABOVE = "above"
    CANNOT_TELL = "cannot tell"
    NO_REFERENCE = "no reference"


class LastRunVerdict(StrEnum):
    """Verdict of an evaluation vs. an earlier one of the same model on the same reviews."""

    UNCHANGED = "unchanged"
    BETTER = "better"
    WORSE = "worse"
    FIRST_RUN = "first run"


@dataclass(frozen=True)
class AgainstReference:
    """The verdict vs. the published figures, and its explanation."""

    verdict: ReferenceVerdict
    explanation: str


@dataclass(frozen=True)
class AgainstLastRun:
    """The verdict vs. the last evaluation, the ids of the reviews that became wrong or right, and the explanation."""

    verdict: LastRunVerdict
    explanation: str
    became_wrong: Sequence[str] = field(default=())
    became_right: Sequence[str] = field(default=())
    p: float = 1.0


@dataclass(frozen=True)
class AgainstChance:
    """Whether a model is worse than always predicting the larger class, and the explanation."""

    below: bool
    explanation: str
    p: float


def against_chance(metrics: Metrics) -> AgainstChance:
    """Compare an evaluation with always predicting the larger class of the set: McNemar's exact test, one-sided.

    This detects swapped labels even for a model without published figures and without an earlier evaluation.
    """
    from scipy.stats import binomtest

    larger, smaller = sorted(metrics.confusion, key=metrics.support, reverse=True)
    only_chance, only_model = metrics.support(larger) - metrics.right(larger), metrics.right(smaller)
    differing = only_chance + only_model
    p = float(binomtest(only_chance, differing, alternative="greater").pvalue) if differing else 1.0
    explanation = (
        f"accuracy {metrics.accuracy:.4f} is below {metrics.support(larger) / metrics.reviews:.4f}, the accuracy "
        f"of always predicting {larger!r} (p = {p:.2g}, level {CHANCE_LEVEL}); check whether the labels of the model "
        "or of the set are swapped"
    )
    return AgainstChance(p <= CHANCE_LEVEL, explanation, p)


def against_reference(metrics: Metrics, references: Sequence[Reference]) -> AgainstReference:
    """Compare an evaluation with published figures.

    Both are samples, so this is Fisher's exact test of two shares, not a comparison with a constant. Where rounding
    leaves the published count open, the count most favourable to the model is used: the lowest for `below`, the highest
    for `above`. `matches` requires the power `POWER` to detect a model that is worse by `DROP`.
    """
    if not references:
        return AgainstReference(
            ReferenceVerdict.NO_REFERENCE, "no figures are published for this model on these reviews"
        )
    level = LEVEL / len(references)
    below = []
    for each in references:
        right, reviews = metrics.right(each.label), metrics.support(each.label)
        p = _p_below(right, reviews, each)
        if p <= level:
            lost = 100 * (each.lowest / each.reviews - right / reviews)
            below.append(
                f"{each.name} {right / reviews:.4f} on {reviews:,} reviews is below {_stated(each)} by at least "
                f"{lost:.1f} points (p = {p:.2g}, level {level:.2g})"
            )
    if below:
        return AgainstReference(ReferenceVerdict.BELOW, "; ".join(below))
    accuracy = references[0]
    found = f"accuracy {metrics.accuracy:.4f} on {metrics.reviews:,} reviews"
    if _p_above(metrics.right(), metrics.reviews, accuracy) <= LEVEL:
        return AgainstReference(ReferenceVerdict.ABOVE, f"{found} is above {_stated(accuracy)}")
    noticed = power(metrics.reviews, accuracy, level)
    if noticed < POWER:
        return AgainstReference(
            ReferenceVerdict.CANNOT_TELL,
            f"{found} does not contradict {_stated(accuracy)}, but with so few reviews ({metrics.reviews:,} here, "
            f"{accuracy.reviews:,} published) a model that is {100 * DROP:.0f} point worse would be detected in only "
            f"{noticed:.0%} of evaluations",
        )
    return AgainstReference(ReferenceVerdict.MATCHES, f"{found} matches {_stated(accuracy)}")


@lru_cache(maxsize=1024)
def power(reviews: int, reference: Reference, level: float) -> float:
    """Return the power to detect a model whose accuracy is `DROP` below a reference.

    The published count is a sample too: this is the mean over its distribution.

    :param reviews: the number of reviews of the evaluation
    """
    import numpy as np
    from scipy.stats import binom

    share = reference.lowest / reference.reviews
    published = binom.ppf((np.arange(POINTS) + 0.5) / POINTS, reference.reviews, share)  # equally probable counts
    some = published[[0, POINTS // 2, -1]]
    most = [_most_below(reviews, replace(reference, lowest=int(count)), level) for count in some]
    between = np.interp(published, some, most)  # linear, except for rounding to whole reviews
    return float(binom.cdf(between, reviews, max(share - DROP, 0.0)).mean())


def _most_below(reviews: int, reference: Reference, level: float) -> int:
    """Return the highest number of correct predictions that is still `below`, or -1."""
    least, most = -1, reviews  # the result is at least `least` and less than `most`
    while most - least > 1:
        middle = (least + most) // 2
        least, most = (middle, most) if _p_below(middle, reviews, reference) <= level else (least, middle)
    return least


def against_last_run(
    before: Mapping[str, LabelledPrediction] | None, now: Iterable[LabelledPrediction], *, name: str = ""
) -> AgainstLastRun:
    """Compare two evaluations by McNemar's exact test on the reviews that only one of them predicts correctly.

    The test is paired: if the two sets differ, it uses the reviews that both have with the same label.

    :param before: the predictions of the earlier evaluation by review id, or None
    :param now: the predictions of the new evaluation
    :param name: what messages call the earlier evaluation
    """
    from scipy.stats import binomtest

    pairs = before or {}
    rows = [row for row in now if row.review_id in pairs and pairs[row.review_id].expected == row.expected]
    if before is None or not rows:
        return AgainstLastRun(LastRunVerdict.FIRST_RUN, "no earlier evaluation of this model on the same reviews")
    wrong = [row.review_id for row in rows if _is_right(before[row.review_id]) and not _is_right(row)]
    right = [row.review_id for row in rows if _is_right(row) and not _is_right(before[row.review_id])]
    p = float(binomtest(len(wrong), len(wrong) + len(right)).pvalue) if wrong or right else 1.0
    changed = f"of {len(rows):,} reviews {len(wrong)} became wrong and {len(right)} right"
    if p > LAST_RUN_LEVEL:
        return AgainstLastRun(LastRunVerdict.UNCHANGED, f"unchanged since {name}: {changed}", wrong, right, p)
    worse = len(wrong) > len(right)
    points = 100 * abs(len(wrong) - len(right)) / len(rows)
    explanation = (
        f"accuracy {'fell' if worse else 'rose'} by {points:.1f} points since {name}: {changed} "
        f"(p = {p:.2g}, level {LAST_RUN_LEVEL})"
    )
    return AgainstLastRun(LastRunVerdict.WORSE if worse else LastRunVerdict.BETTER, explanation, wrong, right, p)


def _p_below(right: int, reviews: int, reference: Reference) -> float:
    """Return the p value of Fisher's exact test, one-sided: so few correct predictions if both shares are equal.

    `scipy.stats.fisher_exact` returns the same value and takes many times as long.
    """
    from scipy.stats import hypergeom

    drawn = (reviews + reference.reviews, right + reference.lowest, reviews)
    return float(hypergeom.cdf(right, *drawn))


def _p_above(right: int, reviews: int, reference: Reference) -> float:
    from scipy.stats import hypergeom

    drawn = (reviews + reference.reviews, right + reference.highest, reviews)
    return float(hypergeom.sf(right - 1, *drawn))


def _stated(reference: Reference) -> str:
    """Return a published figure in words, with the range that the other figures of its card allow."""
    lowest, highest = (f"{count / reference.reviews:.4f}" for count in (reference.lowest, reference.highest))
    known = (
        "" if reference.lowest == reference.highest else f", which the other figures narrow to {lowest} to {highest}"
    )
    return f"the published {reference.printed}{known} (on {reference.reviews:,} reviews)"


def _is_right(row: LabelledPrediction) -> bool:
    return row.predicted == row.expected
