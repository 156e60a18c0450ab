"""Predictions of a model for labelled reviews, with the classifier and the settings of production."""

from __future__ import annotations

import hashlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from review_scoring.concurrency.cancellation import StopFlag
from review_scoring.errors import BenchmarkError, DeviceError
from review_scoring.evaluation.benchmark_sets import NEG, POS
from review_scoring.inference.progress import EVERY_S, line
from review_scoring.reviews import Prediction, Reject, RejectReason, screen
from review_scoring.warehouse.evaluations.records import LabelledPrediction, LabelledReview

log = logging.getLogger(__name__)

DUE_TO_THE_MODEL = frozenset({RejectReason.NO_TOKENS, RejectReason.NOT_FINITE, RejectReason.MODEL_ERROR})
"""Rejects that are due to the model: they count as wrong. Rejects of every model, such as empty texts, are left out of
the metrics. A review that does not fit into the device's memory is not due to the model: the evaluation fails."""


class LabellingClassifier(Protocol):
    """The part of `inference.classifier.Classifier` that an evaluation uses."""

    labels: tuple[str, ...]

    @property
    def device(self) -> object:
        """Device and precision as text, such as `cpu float32`."""

    def classify(
        self, texts: Sequence[str], *, between_batches: Callable[[int], None] = ...
    ) -> list[Prediction | Reject]:
        """Return one result for each text, in the order of the texts."""


@dataclass(frozen=True)
class CountedPrediction:
    """The prediction for one review, as it counts in the metrics.

    :param row: the prediction as it is recorded
    :param predicted: `neg` or `pos`; the wrong one of the two for a reject that is due to the model
    :param positive: the probability of `pos`, with those of `neg` and `pos` scaled to sum to 1
    """

    row: LabelledPrediction
    predicted: str
    positive: float


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """The predictions of a model for a benchmark set.

    :param counted: the predictions that count, in the order of the review ids
    :param left_out: reviews that no model could score
    :param labels: number of reviews by the model's own label
    :param rejects: number of reviews by reject reason
    :param seconds: duration of the classification
    :param steps: number of forward passes
    """

    counted: Sequence[CountedPrediction]
    left_out: Sequence[LabelledPrediction]
    labels: Mapping[str, int]
    rejects: Mapping[str, int]
    seconds: float
    steps: int
    tokens: int
    device: str
    precision: str

    @property
    def in_between(self) -> int:
        """Number of reviews whose label is neither `neg` nor `pos`."""
        return sum(count for label, count in self.labels.items() if label not in {NEG, POS})


def predict(reviews: Sequence[LabelledReview], classifier: LabellingClassifier, stop: StopFlag) -> Predictions:
    """Classify labelled reviews.

    :raises BenchmarkError: for a model without the labels `neg` and `pos`, and if none of the reviews can be scored
    :raises DeviceError: for reviews that do not fit into the device's memory
    :raises ScoringInterruptedError: if stopped
    """
    if missing := {NEG, POS} - set(classifier.labels):
        raise BenchmarkError(
            f"the model's labels are {', '.join(classifier.labels)}, and models are compared on neg and pos: map "
            f"classes to {' and '.join(sorted(missing))} in its catalogue entry"
        )
    screened = [(review, screen(review.text)) for review in reviews]
    usable = [review for review, reject in screened if reject is None]
    if not usable:
        raise BenchmarkError(f"none of the {len(reviews)} reviews has a text that can be scored")
    passes = _Passes(len(usable), stop)
    started = time.monotonic()
    results = classifier.classify([str(review.text) for review in usable], between_batches=passes.count)
    seconds = time.monotonic() - started
    if of_device := [r for r in results if isinstance(r, Reject) and r.reason not in DUE_TO_THE_MODEL]:
        raise DeviceError(
            f"{len(of_device)} of {len(usable)} reviews got no score for a reason that is not the model's "
            f"({of_device[0].reason.value}: {of_device[0].detail}); evaluate it on a worker with more free memory"
        )
    counted = [_counted(classifier.labels, r, result) for r, result in zip(usable, results, strict=True)]
    left_out = [_row(review, None, reject) for review, reject in screened if reject is not None]
    device, _, precision = str(classifier.device).rpartition(" ")
    return Predictions(
        counted=counted,
        left_out=left_out,
        labels=Counter(result.label for result in results if isinstance(result, Prediction)),
        rejects=Counter(str(r.reject_reason) for r in (*left_out, *(each.row for each in counted)) if r.reject_reason),
        seconds=seconds,
        steps=passes.steps,
        tokens=sum(result.token_count for result in results if isinstance(result, Prediction)),
        device=device or precision,
        precision=precision if device else "",
    )


def first_rows(reviews: Sequence[LabelledReview], limit: int | None) -> list[LabelledReview]:
    """Return the first `limit` reviews in the order of a hash of their ids: the same ones each time, well mixed."""
    mixed = sorted(reviews, key=lambda review: hashlib.sha256(review.id.encode()).digest())
    return sorted(mixed[:limit], key=lambda review: review.id)


def _counted(labels: Sequence[str], review: LabelledReview, result: Prediction | Reject) -> CountedPrediction:
    if isinstance(result, Reject):
        wrong = POS if review.label == NEG else NEG
        return CountedPrediction(_row(review, None, result), wrong, 0.5)
    negative, positive = (result.probabilities[labels.index(label)] for label in (NEG, POS))
    total = negative + positive
    share = positive / total if total else 0.5
    predicted = POS if positive > negative else NEG
    return CountedPrediction(_row(review, predicted, result), predicted, share)


def _row(review: LabelledReview, predicted: str | None, result: Prediction | Reject) -> LabelledPrediction:
    if isinstance(result, Reject):
        return LabelledPrediction(review.id, review.label, None, None, None, None, None, result.reason.value)
    return LabelledPrediction(
        review.id, review.label, predicted, result.label, result.score, result.token_count, result.truncated
    )


@dataclass
class _Passes:
    """Counts forward passes, logs the progress, and raises when the run is stopped."""

    total: int
    stop: StopFlag
    steps: int = 0
    _started: float = field(default_factory=time.monotonic)
    _logged: float = field(default_factory=time.monotonic)

    def count(self, done: int) -> None:
        """Count one call of the classifier between two batches.

        :param done: the number of reviews that are classified; 0 before the first batch
        """
        self.stop.check()
        self.steps += done > 0
        now = time.monotonic()
        if done and now - self._logged >= EVERY_S:
            self._logged = now
            log.info("%s", line(done, self.total, done / (now - self._started), 0))
