"""Published figures of a model card, as counts of correct predictions that an evaluation is compared with.

A card prints rounded shares: `0.95` is anything from 0.945 to 0.955 of 20,000 reviews. Where it prints a table, its
figures narrow each other down: all counts are searched for those that reproduce every printed digit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from review_scoring.evaluation.benchmark_sets import NEG, POS
from review_scoring.models.catalogue_entry import CatalogueEntry, PublishedFigure

TOLERANCE = 1e-9
"""A share exactly half way between two printed values may have been rounded either way."""


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A published share of correct predictions.

    :param metric: `accuracy`, or `recall` of the class `label`
    :param printed: the figure as it was published
    :param reviews: the number of reviews that it was measured on
    :param lowest: the lowest count of correct predictions that gives the printed figures
    :param highest: the highest such count
    """

    metric: str
    label: str | None
    printed: str
    reviews: int
    lowest: int
    highest: int

    @property
    def name(self) -> str:
        """What messages call the figure."""
        return f"{self.metric} of {self.label}" if self.label else self.metric


def references_of(entry: CatalogueEntry, benchmark_set: str) -> tuple[Reference, ...]:
    """Return the published accuracy of a model on a set, and the recall of each class if the card prints it.

    :param benchmark_set: the name of the set; figures of other sets are left out
    """
    return _references(entry.figures) if entry.figures_set == benchmark_set else ()


@lru_cache(maxsize=32)
def _references(figures: tuple[PublishedFigure, ...]) -> tuple[Reference, ...]:
    accuracy = next((f for f in figures if f.metric in {"accuracy", "eval_accuracy"}), None)
    if accuracy is None or (reviews := accuracy.support or _reviews_of_block(figures)) is None:
        return ()
    recalls = [f for f in figures if f.metric == "recall" and f.label in {NEG, POS} and f.support]
    if {f.label for f in recalls} != {NEG, POS}:
        return (_alone(accuracy, "accuracy", reviews),)
    supports = {str(f.label): int(f.support or 0) for f in recalls}
    neg, pos = _consistent(figures, supports)
    if not len(neg):  # the card contradicts itself: take each figure alone
        return (_alone(accuracy, "accuracy", reviews), *(_alone(f, "recall", f.support or 0) for f in recalls))
    counts = {None: neg + pos, NEG: neg, POS: pos}
    printed = {None: accuracy, **{f.label: f for f in recalls}}
    return tuple(
        Reference(
            metric="recall" if label else "accuracy",
            label=label,
            printed=printed[label].value,
            reviews=supports[label] if label else reviews,
            lowest=int(found.min()),
            highest=int(found.max()),
        )
        for label, found in counts.items()
    )


def _reviews_of_block(figures: Sequence[PublishedFigure]) -> int | None:
    """Return the number of reviews behind `eval_…` figures: their runtime times their reviews per second."""
    values = {f.metric: float(f.value) for f in figures if f.label is None}
    if {"eval_runtime", "eval_samples_per_second"} <= values.keys():
        return round(values["eval_runtime"] * values["eval_samples_per_second"])
    return None


def _alone(figure: PublishedFigure, metric: str, reviews: int) -> Reference:
    import numpy as np

    counts = np.arange(reviews + 1)
    fitting = counts[_prints(counts / reviews, figure.value)]
    exact = round(float(figure.value) * reviews)  # more digits are printed than a count can reproduce
    return Reference(
        metric=metric,
        label=figure.label,
        printed=figure.value,
        reviews=reviews,
        lowest=int(fitting.min()) if len(fitting) else exact,
        highest=int(fitting.max()) if len(fitting) else exact,
    )


def _consistent(figures: Sequence[PublishedFigure], supports: Mapping[str, int]) -> tuple[Any, Any]:
    """Return all pairs of correct counts (neg, pos) that reproduce every printed figure, as two arrays."""
    import numpy as np

    printed = {(f.metric, f.label): f.value for f in figures}
    negatives, positives = supports[NEG], supports[POS]
    one_class = [np.arange(supports[label] + 1) for label in (NEG, POS)]
    kept = [
        counts[_prints(counts / supports[label], printed["recall", label])]
        for label, counts in zip((NEG, POS), one_class, strict=True)
    ]
    neg, pos = (grid.ravel() for grid in np.meshgrid(*kept))
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = {NEG: neg / (neg + positives - pos), POS: pos / (pos + negatives - neg)}
    recall = {NEG: neg / negatives, POS: pos / positives}
    f1 = {NEG: 2 * neg / (neg + positives - pos + negatives), POS: 2 * pos / (pos + negatives - neg + positives)}
    shares = {NEG: negatives / (negatives + positives), POS: positives / (negatives + positives)}
    fits = _prints((neg + pos) / (negatives + positives), printed.get(("accuracy", None)))
    for metric, values in (("precision", precision), ("recall", recall), ("f1-score", f1)):
        for label in (NEG, POS):
            fits &= _prints(values[label], printed.get((metric, label)))
        fits &= _prints((values[NEG] + values[POS]) / 2, printed.get((metric, "macro avg")))
        weighted = values[NEG] * shares[NEG] + values[POS] * shares[POS]
        fits &= _prints(weighted, printed.get((metric, "weighted avg")))
    return neg[fits], pos[fits]


def _prints(values: Any, printed: str | None) -> Any:
    """Return which values round to a printed figure with its number of digits; all of them if none is printed."""
    import numpy as np

    if printed is None:
        return np.ones(len(values), dtype=bool)
    digits = len(printed.partition(".")[2])
    return np.abs(values - float(printed)) <= 0.5 * 10.0**-digits + TOLERANCE
