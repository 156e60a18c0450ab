"""Whether a model is as good as its publisher states, and as it was the last time: statistics, not impressions.

Each verdict has a level: how often it raises an alarm although nothing is wrong, at most. `docs/benchmarks.md` says
what the verdicts mean to a user.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import lru_cache

from review_scoring.evaluation.metrics import Figures
from review_scoring.evaluation.published import Reference
from review_scoring.warehouse.evaluations.records import LabelledPrediction

LEVEL = 0.01
"""False alarms of `below`, and of `above`: one-sided, shared out among the figures that are compared."""

LAST_RUN_LEVEL = 0.01
"""False alarms of `worse` and `better` together: two-sided."""

CHANCE_LEVEL = 0.01
"""How often a model that is no worse than always naming the larger class is said to be: one-sided, at most."""

DROP = 0.01
"""A loss of accuracy that a user wants to hear of: one point."""

POINTS = 99
"""Published counts that stand for all that a model of the published quality might have got."""

POWER = 0.8
"""How probable it has to be that a drop of `DROP` is noticed, before its absence means anything."""


class ReferenceVerdict(StrEnum):
    """An evaluation beside what the publisher states."""

    MATCHES = "matches"
    BELOW = "below"
    ABOVE = "above"
    CANNOT_TELL = "cannot tell"
    NO_REFERENCE = "no reference"


class LastRunVerdict(StrEnum):
    """An evaluation beside an earlier one of the same model's name on the same reviews."""

    UNCHANGED = "unchanged"
    BETTER = "better"
    WORSE = "worse"
    FIRST_RUN = "first run"


@dataclass(frozen=True)
class AgainstReference:
    """The verdict, and the sentence that explains it."""

    verdict: ReferenceVerdict
    explanation: str


@dataclass(frozen=True)
class AgainstLastRun:
    """The verdict, the ids of the reviews that became wrong and right, and the sentence that explains it."""

    verdict: LastRunVerdict
    explanation: str
    became_wrong: Sequence[str] = field(default=())
    became_right: Sequence[str] = field(default=())
    p: float = 1.0


@dataclass(frozen=True)
class AgainstChance:
    """Whether a model is worse than always naming the larger class, and the sentence that explains it."""

    below: bool
    explanation: str
    p: float


def against_chance(figures: Figures) -> AgainstChance:
    """Compare an evaluation with always naming the larger class of the set, by McNemar's exact test, one-sided.

    What swapped labels make of a good model is found here, also where nothing is published and nothing came before.
    """
    from scipy.stats import binomtest

    larger, smaller = sorted(figures.confusion, key=figures.support, reverse=True)
    only_chance, only_model = figures.support(larger) - figures.right(larger), figures.right(smaller)
    differing = only_chance + only_model
    p = float(binomtest(only_chance, differing, alternative="greater").pvalue) if differing else 1.0
    explanation = (
        f"accuracy {figures.accuracy:.4f} is below {figures.support(larger) / figures.reviews:.4f}, which always "
        f"naming {larger!r} would give (p = {p:.2g}, level {CHANCE_LEVEL}); look whether the labels of the model or of "
        "the set are swapped"
    )
    return AgainstChance(p <= CHANCE_LEVEL, explanation, p)


def against_reference(figures: Figures, references: Sequence[Reference]) -> AgainstReference:
    """Compare an evaluation with published figures.

    Both are samples, so this is Fisher's exact test of two shares, not a comparison with a constant. Where rounding
    leaves the published count open, the one that is kindest to the model is taken: the lowest for `below`, the highest
    for `above`. `matches` is said only where a model `DROP` worse would have been noticed with the probability `POWER`.
    """
    if not references:
        return AgainstReference(ReferenceVerdict.NO_REFERENCE, "nothing is published for this model on these reviews")
    level = LEVEL / len(references)
    below = []
    for each in references:
        right, reviews = figures.right(each.label), figures.support(each.label)
        p = _p_below(right, reviews, each)
        if p <= level:
            lost = 100 * (each.lowest / each.reviews - right / reviews)
            below.append(
                f"{each.name} {right / reviews:.4f} on {reviews:,} reviews is below {_stated(each)} by {lost:.1f} "
                f"points at least (p = {p:.2g}, level {level:.2g})"
            )
    if below:
        return AgainstReference(ReferenceVerdict.BELOW, "; ".join(below))
    accuracy = references[0]
    found = f"accuracy {figures.accuracy:.4f} on {figures.reviews:,} reviews"
    if _p_above(figures.right(), figures.reviews, accuracy) <= LEVEL:
        return AgainstReference(ReferenceVerdict.ABOVE, f"{found} is above {_stated(accuracy)}")
    noticed = power(figures.reviews, accuracy, level)
    if noticed < POWER:
        return AgainstReference(
            ReferenceVerdict.CANNOT_TELL,
            f"{found} does not contradict {_stated(accuracy)}, but so few reviews ({figures.reviews:,} here, "
            f"{accuracy.reviews:,} published) would show a model that is {100 * DROP:.0f} point worse in only "
            f"{noticed:.0%} of evaluations",
        )
    return AgainstReference(ReferenceVerdict.MATCHES, f"{found} matches {_stated(accuracy)}")


@lru_cache(maxsize=1024)
def power(reviews: int, reference: Reference, level: float) -> float:
    """Return how probable it is that a model `DROP` below a reference is found to be below it.

    The published count is a sample as well: the mean is taken over all that a model of its quality might have got.

    :param reviews: that the model is evaluated on
    """
    import numpy as np
    from scipy.stats import binom

    share = reference.lowest / reference.reviews
    published = binom.ppf((np.arange(POINTS) + 0.5) / POINTS, reference.reviews, share)  # equally probable ones
    some = published[[0, POINTS // 2, -1]]
    most = [_most_below(reviews, replace(reference, lowest=int(count)), level) for count in some]
    between = np.interp(published, some, most)  # a straight line, but for single reviews
    return float(binom.cdf(between, reviews, max(share - DROP, 0.0)).mean())


def _most_below(reviews: int, reference: Reference, level: float) -> int:
    """Return the most right answers that are still `below`, or -1."""
    least, most = -1, reviews  # they lie from `least` to before `most`
    while most - least > 1:
        middle = (least + most) // 2
        least, most = (middle, most) if _p_below(middle, reviews, reference) <= level else (least, middle)
    return least


def against_last_run(
    before: Mapping[str, LabelledPrediction] | None, now: Iterable[LabelledPrediction], *, name: str = ""
) -> AgainstLastRun:
    """Compare two evaluations by McNemar's exact test: on the reviews that only one of them got right.

    The test is paired: of sets whose content differs, it takes the reviews that both have, under the same label.

    :param before: the earlier one's rows by review id, or None
    :param name: what messages call the earlier one
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
    """Fisher's exact test, one-sided: how probable so few right answers are if both shares are the same.

    `scipy.stats.fisher_exact` gives the same, and takes many times as long.
    """
    from scipy.stats import hypergeom

    drawn = (reviews + reference.reviews, right + reference.lowest, reviews)
    return float(hypergeom.cdf(right, *drawn))


def _p_above(right: int, reviews: int, reference: Reference) -> float:
    from scipy.stats import hypergeom

    drawn = (reviews + reference.reviews, right + reference.highest, reviews)
    return float(hypergeom.sf(right - 1, *drawn))


def _stated(reference: Reference) -> str:
    """Name a published figure, and what is known of it beyond the printed digits."""
    lowest, highest = (f"{count / reference.reviews:.4f}" for count in (reference.lowest, reference.highest))
    known = "" if reference.lowest == reference.highest else f", which its other figures put at {lowest} to {highest}"
    return f"the published {reference.printed}{known} (on {reference.reviews:,} reviews)"


def _is_right(row: LabelledPrediction) -> bool:
    return row.predicted == row.expected
