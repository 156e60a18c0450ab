"""Have a model judge labelled reviews, with the classifier and the settings of production."""

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

MODELS_OWN = frozenset({RejectReason.NO_TOKENS, RejectReason.NOT_FINITE, RejectReason.MODEL_ERROR})
"""Rejects that another model might not have: they count as wrong. Any model rejects an empty text, so that one is left
out of the figures; what does not fit into a device's memory says nothing about a model, and ends the evaluation."""


class LabellingClassifier(Protocol):
    """What an evaluation needs of a classifier; `inference.classifier.Classifier` is the real one."""

    labels: tuple[str, ...]

    @property
    def device(self) -> object:
        """Where it runs, and in which precision, as text: `cpu float32`."""

    def classify(
        self, texts: Sequence[str], *, between_batches: Callable[[int], None] = ...
    ) -> list[Prediction | Reject]:
        """Return one result for each text, in their order."""


@dataclass(frozen=True)
class Judgement:
    """What becomes of one review in the figures.

    `positive` is the probability of `pos` where neg and pos are the only classes, and the one of `neg` is the rest.
    """

    row: LabelledPrediction
    predicted: str
    positive: float


@dataclass(frozen=True, kw_only=True)
class Judgements:
    """What a model said of a set, and how long that took.

    :param each: the reviews that count, in the order of their ids
    :param left_out: the rows of those that no model could score
    :param labels: how many reviews got each of the model's own labels
    :param steps: forward passes
    """

    each: Sequence[Judgement]
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
        """Reviews that the model calls neither neg nor pos, of those that it gives a label."""
        return sum(count for label, count in self.labels.items() if label not in {NEG, POS})


def judge(reviews: Sequence[LabelledReview], classifier: LabellingClassifier, stop: StopFlag) -> Judgements:
    """Classify labelled reviews.

    :raises BenchmarkError: for a model without the labels neg and pos, and for reviews none of which can be scored
    :raises DeviceError: for reviews that the device has not enough memory for
    :raises ScoringInterruptedError: if told to stop
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
    if faults := [r for r in results if isinstance(r, Reject) and r.reason not in MODELS_OWN]:
        raise DeviceError(
            f"{len(faults)} of {len(usable)} reviews got no score for a reason that is not the model's "
            f"({faults[0].reason.value}: {faults[0].detail}); evaluate it on a worker with more free memory"
        )
    judged = [_judgement(classifier.labels, r, result) for r, result in zip(usable, results, strict=True)]
    left_out = [_row(review, None, reject) for review, reject in screened if reject is not None]
    device, _, precision = str(classifier.device).rpartition(" ")
    return Judgements(
        each=judged,
        left_out=left_out,
        labels=Counter(result.label for result in results if isinstance(result, Prediction)),
        rejects=Counter(str(r.reject_reason) for r in (*left_out, *(j.row for j in judged)) if r.reject_reason),
        seconds=seconds,
        steps=passes.steps,
        tokens=sum(result.token_count for result in results if isinstance(result, Prediction)),
        device=device or precision,
        precision=precision if device else "",
    )


def first_rows(reviews: Sequence[LabelledReview], limit: int | None) -> list[LabelledReview]:
    """Return a part of a set: always the same one, and mixed as the set is, whatever the order of its ids."""
    mixed = sorted(reviews, key=lambda review: hashlib.sha256(review.id.encode()).digest())
    return sorted(mixed[:limit], key=lambda review: review.id)


def _judgement(labels: Sequence[str], review: LabelledReview, result: Prediction | Reject) -> Judgement:
    if isinstance(result, Reject):
        wrong = POS if review.label == NEG else NEG
        return Judgement(_row(review, None, result), wrong, 0.5)
    negative, positive = (result.probabilities[labels.index(label)] for label in (NEG, POS))
    total = negative + positive
    share = positive / total if total else 0.5
    predicted = POS if positive > negative else NEG
    return Judgement(_row(review, predicted, result), predicted, share)


def _row(review: LabelledReview, predicted: str | None, result: Prediction | Reject) -> LabelledPrediction:
    if isinstance(result, Reject):
        return LabelledPrediction(review.id, review.label, None, None, None, None, None, result.reason.value)
    return LabelledPrediction(
        review.id, review.label, predicted, result.label, result.score, result.token_count, result.truncated
    )


@dataclass
class _Passes:
    """Counts forward passes, tells now and then how far it is, and ends the work when told to stop."""

    total: int
    stop: StopFlag
    steps: int = 0
    _started: float = field(default_factory=time.monotonic)
    _told: float = field(default_factory=time.monotonic)

    def count(self, done: int) -> None:
        """Note a call of the classifier's between two batches; before the first one `done` is 0."""
        self.stop.check()
        self.steps += done > 0
        now = time.monotonic()
        if done and now - self._told >= EVERY_S:
            self._told = now
            log.info("%s", line(done, self.total, done / (now - self._started), 0))
