"""Metrics of an evaluation: accuracy, F1, loss, confidence intervals, calibration, speed (scikit-learn, scipy).

`docs/benchmarks.md` explains each of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from review_scoring.evaluation.benchmark_sets import NEG, POS
from review_scoring.evaluation.predictions import CountedPrediction, Predictions
from review_scoring.warehouse.evaluations.records import ClassMetrics

LABELS = (NEG, POS)
AVERAGES = ("macro avg", "weighted avg")
CONFIDENCE = 0.95
"""Level of the confidence intervals."""

CALIBRATION_BINS = 10
"""Bins of equal width between the confidences 0.5 and 1, the range for two classes."""

LENGTH_BANDS = (64, 128, 256, 512)
"""Upper ends of the length bands in tokens; the last band has none."""

PACKAGES = ("review-scoring", "torch", "transformers", "tokenizers", "scikit-learn", "scipy")


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """The metrics of one evaluation.

    :param reviews: the number of reviews that count
    :param classes: metrics of each class and of the two averages
    :param trainer: the `eval_…` metrics, as `transformers.Trainer.evaluate` names and rounds them
    :param confusion: expected label -> predicted label -> number of reviews
    :param breakdown: all metrics that are kept as JSON in `benchmark_runs.metrics`
    """

    reviews: int
    classes: Sequence[ClassMetrics]
    trainer: Mapping[str, float]
    confusion: Mapping[str, Mapping[str, int]]
    tokens_per_second: float
    breakdown: Mapping[str, Any]

    @property
    def accuracy(self) -> float:
        """The share of correct predictions."""
        return self.trainer["eval_accuracy"]

    @property
    def macro_f1(self) -> float:
        """The mean of the F1 of both classes."""
        return next(each.f1 for each in self.classes if each.label == AVERAGES[0])

    def right(self, label: str | None = None) -> int:
        """Return the number of correct predictions, of one class or of all."""
        return sum(self.confusion[each][each] for each in ([label] if label else LABELS))

    def support(self, label: str | None = None) -> int:
        """Return the number of reviews, of one class or of all."""
        return sum(sum(self.confusion[each].values()) for each in ([label] if label else LABELS))


def metrics_of(predictions: Predictions, peak_memory: int | None = None) -> Metrics:
    """Return the metrics of a model's predictions.

    :param peak_memory: peak memory of the device in bytes
    """
    from sklearn.metrics import confusion_matrix

    each = predictions.counted
    expected = [prediction.row.expected for prediction in each]
    predicted = [prediction.predicted for prediction in each]
    matrix = confusion_matrix(expected, predicted, labels=LABELS).tolist()
    confusion = {label: dict(zip(LABELS, row, strict=True)) for label, row in zip(LABELS, matrix, strict=True)}
    trainer = trainer_metrics(each, seconds=predictions.seconds, steps=predictions.steps)
    return Metrics(
        reviews=len(each),
        classes=class_table(expected, predicted),
        trainer=trainer,
        confusion=confusion,
        tokens_per_second=predictions.tokens / predictions.seconds if predictions.seconds else 0.0,
        breakdown={
            "eval": trainer,
            "confusion": confusion,
            "intervals": _intervals(confusion),
            "calibration": calibration(each),
            "lengths": _lengths(each),
            "truncated": _part([j for j in each if j.row.truncated]),
            "in_between": predictions.in_between,
            "labels": dict(predictions.labels),
            "rejects": dict(predictions.rejects),
            "tokens": predictions.tokens,
            "seconds": predictions.seconds,
            "peak_memory_bytes": peak_memory,
            "versions": {name: _version(name) for name in PACKAGES},
        },
    )


def class_table(expected: Sequence[str], predicted: Sequence[str]) -> list[ClassMetrics]:
    """Return precision, recall and F1 of both classes, and their macro and weighted averages.

    The precision of a class that is never predicted is 0.
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


def trainer_metrics(each: Sequence[CountedPrediction], *, seconds: float, steps: int) -> dict[str, float]:
    """Return the metrics that `transformers.Trainer.evaluate` prints, with its names and its rounding.

    Precision, recall and F1 are micro averages, which equal the accuracy where each review has one label. The loss is
    the mean cross entropy.

    :param seconds: duration of the classification
    :param steps: number of forward passes
    """
    from sklearn.metrics import accuracy_score, log_loss, precision_recall_fscore_support

    expected = [prediction.row.expected for prediction in each]
    predicted = [prediction.predicted for prediction in each]
    averages = precision_recall_fscore_support(expected, predicted, labels=LABELS, average="micro", zero_division=0.0)
    precision, recall, f1 = map(float, averages[:3])
    positive = [[1 - prediction.positive, prediction.positive] for prediction in each]
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


def calibration(each: Sequence[CountedPrediction]) -> dict[str, Any]:
    """Return the expected calibration error (ECE) and its bins.

    The confidence of a prediction is the probability of the predicted class. ECE is the mean over the bins, weighted
    by their numbers of reviews, of |accuracy - mean confidence| (Guo et al., ICML 2017, equation 3). A bin includes its
    upper end.
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
    """Return the Wilson confidence interval of a share, at the level `CONFIDENCE`."""
    from scipy.stats import binomtest

    found = binomtest(right, reviews).proportion_ci(CONFIDENCE, method="wilson")
    return float(found.low), float(found.high)


def _intervals(confusion: Mapping[str, Mapping[str, int]]) -> dict[str, Any]:
    supports = {label: sum(row.values()) for label, row in confusion.items()}
    accuracy = interval(sum(confusion[label][label] for label in LABELS), sum(supports.values()))
    recall = {label: interval(confusion[label][label], supports[label]) for label in LABELS if supports[label]}
    return {"confidence": CONFIDENCE, "accuracy": accuracy, "recall": recall}


def _lengths(each: Sequence[CountedPrediction]) -> list[dict[str, Any]]:
    """Return the number of reviews and the accuracy of each length band. Rejects have no length."""
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


def _part(each: Sequence[CountedPrediction]) -> dict[str, Any]:
    right = sum(j.predicted == j.row.expected for j in each)
    return {"reviews": len(each), "accuracy": right / len(each) if each else None}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
