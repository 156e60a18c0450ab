"""The figures of an evaluation, by scikit-learn and scipy. `docs/benchmarks.md` says what each of them means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from review_scoring.evaluation.benchmark_sets import NEG, POS
from review_scoring.evaluation.predictions import Judgement, Judgements
from review_scoring.warehouse.evaluations.records import ClassMetrics

LABELS = (NEG, POS)
AVERAGES = ("macro avg", "weighted avg")
CONFIDENCE = 0.95
"""Of the intervals."""

CALIBRATION_BINS = 10
"""Bins of equal width over the confidence, which for two classes is from 0.5 to 1."""

LENGTH_BANDS = (64, 128, 256, 512)
"""The longest reviews of all bands but the last, in tokens."""

PACKAGES = ("review-scoring", "torch", "transformers", "tokenizers", "scikit-learn", "scipy")


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What is measured of one evaluation.

    :param classes: the lines of the cards' table, without that of the accuracy
    :param block: the `eval_…` figures, as `transformers.Trainer.evaluate` names and rounds them
    :param right: reviews whose class was right, of all and of each class
    :param confusion: expected -> predicted -> reviews
    :param more: the rest, as it is kept in `benchmark_runs.figures`
    """

    reviews: int
    classes: Sequence[ClassMetrics]
    block: Mapping[str, float]
    confusion: Mapping[str, Mapping[str, int]]
    tokens_per_second: float
    more: Mapping[str, Any]

    @property
    def accuracy(self) -> float:
        """The share of reviews whose class was right."""
        return self.block["eval_accuracy"]

    @property
    def macro_f1(self) -> float:
        """The mean of both classes' F1."""
        return next(each.f1 for each in self.classes if each.label == AVERAGES[0])

    def right(self, label: str | None = None) -> int:
        """Return how many reviews were right: of a class, or of all."""
        return sum(self.confusion[each][each] for each in ([label] if label else LABELS))

    def support(self, label: str | None = None) -> int:
        """Return how many reviews there are: of a class, or of all."""
        return sum(sum(self.confusion[each].values()) for each in ([label] if label else LABELS))


def figures_of(judgements: Judgements, peak_memory: int | None = None) -> Figures:
    """Return the figures of an evaluation.

    :param peak_memory: bytes
    """
    from sklearn.metrics import confusion_matrix

    each = judgements.each
    expected = [judgement.row.expected for judgement in each]
    predicted = [judgement.predicted for judgement in each]
    matrix = confusion_matrix(expected, predicted, labels=LABELS).tolist()
    confusion = {label: dict(zip(LABELS, row, strict=True)) for label, row in zip(LABELS, matrix, strict=True)}
    block = evaluation_block(each, seconds=judgements.seconds, steps=judgements.steps)
    return Figures(
        reviews=len(each),
        classes=class_table(expected, predicted),
        block=block,
        confusion=confusion,
        tokens_per_second=judgements.tokens / judgements.seconds if judgements.seconds else 0.0,
        more={
            "eval": block,
            "confusion": confusion,
            "intervals": _intervals(confusion),
            "calibration": calibration(each),
            "lengths": _lengths(each),
            "truncated": _part([j for j in each if j.row.truncated]),
            "in_between": judgements.in_between,
            "labels": dict(judgements.labels),
            "rejects": dict(judgements.rejects),
            "tokens": judgements.tokens,
            "seconds": judgements.seconds,
            "peak_memory_bytes": peak_memory,
            "versions": {name: _version(name) for name in PACKAGES},
        },
    )


def class_table(expected: Sequence[str], predicted: Sequence[str]) -> list[ClassMetrics]:
    """Return precision, recall and F1 of both classes, and their plain and weighted means.

    A class that is never predicted has the precision 0.
    """
    from sklearn.metrics import classification_report

    report = classification_report(expected, predicted, labels=LABELS, output_dict=True, zero_division=0.0)
    return [
        ClassMetrics(
            label=label,
            precision=float(report[label]["precision"]),
            recall=float(report[label]["recall"]),
            f1=float(report[label]["f1-score"]),
            support=int(report[label]["support"]),
        )
        for label in (*LABELS, *AVERAGES)
    ]


def evaluation_block(each: Sequence[Judgement], *, seconds: float, steps: int) -> dict[str, float]:
    """Return the figures that `transformers.Trainer.evaluate` prints, under its names and rounded as it does.

    Precision, recall and F1 are micro averages, which for one label a review all equal the accuracy, as on the card
    that prints this block. The loss is the mean cross entropy.

    :param seconds: that classifying took
    :param steps: forward passes
    """
    from sklearn.metrics import accuracy_score, log_loss, precision_recall_fscore_support

    expected = [judgement.row.expected for judgement in each]
    predicted = [judgement.predicted for judgement in each]
    averages = precision_recall_fscore_support(expected, predicted, labels=LABELS, average="micro", zero_division=0.0)
    precision, recall, f1 = map(float, averages[:3])
    positive = [[1 - judgement.positive, judgement.positive] for judgement in each]
    return {
        "eval_loss": float(log_loss(expected, positive, labels=LABELS)),
        "eval_accuracy": float(accuracy_score(expected, predicted)),
        "eval_f1": f1,
        "eval_precision": precision,
        "eval_recall": recall,
        "eval_runtime": round(seconds, 4),
        "eval_samples_per_second": round(len(each) / seconds, 3) if seconds else 0.0,
        "eval_steps_per_second": round(steps / seconds, 3) if seconds else 0.0,
    }


def calibration(each: Sequence[Judgement]) -> dict[str, Any]:
    """Return the expected calibration error and the bins that it is summed over.

    The confidence of a review is the probability of its predicted class; ECE is the mean over the bins, weighted by
    their reviews, of |accuracy - mean confidence| (Guo et al., ICML 2017, equation 3). A bin holds its upper end.
    """
    import numpy as np

    confidence = np.array([max(j.positive, 1 - j.positive) for j in each])
    right = np.array([j.predicted == j.row.expected for j in each])
    edges = np.linspace(0.5, 1.0, CALIBRATION_BINS + 1)
    place = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, CALIBRATION_BINS - 1)
    bins: list[dict[str, Any]] = []
    for n in range(CALIBRATION_BINS):
        inside = place == n
        count = int(inside.sum())
        bins.append(
            {
                "from": float(edges[n]),
                "to": float(edges[n + 1]),
                "reviews": count,
                "confidence": float(confidence[inside].mean()) if count else None,
                "accuracy": float(right[inside].mean()) if count else None,
            }
        )
    gaps = [b["reviews"] * abs(b["accuracy"] - b["confidence"]) for b in bins if b["reviews"]]
    return {"ece": sum(gaps) / len(each), "bins": bins}


def interval(right: int, reviews: int) -> tuple[float, float]:
    """Return Wilson's interval of a share, at `CONFIDENCE`."""
    from scipy.stats import binomtest

    found = binomtest(right, reviews).proportion_ci(CONFIDENCE, method="wilson")
    return float(found.low), float(found.high)


def _intervals(confusion: Mapping[str, Mapping[str, int]]) -> dict[str, Any]:
    supports = {label: sum(row.values()) for label, row in confusion.items()}
    accuracy = interval(sum(confusion[label][label] for label in LABELS), sum(supports.values()))
    recall = {label: interval(confusion[label][label], supports[label]) for label in LABELS if supports[label]}
    return {"confidence": CONFIDENCE, "accuracy": accuracy, "recall": recall}


def _lengths(each: Sequence[Judgement]) -> list[dict[str, Any]]:
    """Return size and accuracy of each length band; reviews that the model rejects have no length."""
    bands: list[dict[str, Any]] = []
    shortest = 1
    for longest in (*LENGTH_BANDS, None):
        inside = [
            j
            for j in each
            if j.row.token_count is not None
            and j.row.token_count >= shortest
            and (longest is None or j.row.token_count <= longest)
        ]
        bands.append({"from_tokens": shortest, "to_tokens": longest, **_part(inside)})
        shortest = (longest or 0) + 1
    return bands


def _part(each: Sequence[Judgement]) -> dict[str, Any]:
    right = sum(j.predicted == j.row.expected for j in each)
    return {"reviews": len(each), "accuracy": right / len(each) if each else None}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
