"""Evaluate one model on one benchmark set: predict, compute metrics, compare, record in the warehouse."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from review_scoring.concurrency.cancellation import StopFlag
from review_scoring.evaluation.gate import passes
from review_scoring.evaluation.metrics import Metrics, metrics_of
from review_scoring.evaluation.predictions import LabellingClassifier, Predictions, first_rows, predict
from review_scoring.evaluation.published import Reference, references_of
from review_scoring.evaluation.result import EvaluationResult
from review_scoring.evaluation.text_tables import breakdown_text, class_table_text
from review_scoring.evaluation.verdicts import (
    AgainstChance,
    AgainstLastRun,
    AgainstReference,
    LastRunVerdict,
    against_chance,
    against_last_run,
    against_reference,
)
from review_scoring.models.catalogue_entry import CatalogueEntry
from review_scoring.models.folder import ModelFolder
from review_scoring.request import RunKey
from review_scoring.warehouse.evaluations.benchmark_store import BenchmarkStore
from review_scoring.warehouse.evaluations.records import (
    Evaluation,
    EvaluationDetails,
    EvaluationSummary,
    LabelledPrediction,
    LabelledReview,
    StoredEvaluation,
    field_names,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class EvaluationRequest:
    """Which model to evaluate, on which benchmark set, in which Airflow task.

    :param set_id: the benchmark set in the warehouse
    :param entry: the model's catalogue entry with its published figures, if it has one
    :param key: the Airflow task; a retry replaces what an earlier try recorded
    :param limit: evaluate on this many reviews of the set at most, the same ones each time
    :param settings: the settings that the classifier is loaded with, which are recorded with the metrics
    """

    set_id: int
    model: ModelFolder
    entry: CatalogueEntry | None
    key: RunKey
    limit: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


def evaluate_model(
    store: BenchmarkStore,
    request: EvaluationRequest,
    *,
    load_classifier: Callable[[], LabellingClassifier],
    peak_memory: Callable[[Any], int | None] = lambda device: None,
    stop: StopFlag,
) -> EvaluationResult:
    """Evaluate a model, record the evaluation in the warehouse, and return its result.

    :param load_classifier: called once
    :param peak_memory: returns the peak memory of a classifier's device in bytes
    :raises BenchmarkError: for a model or a set that cannot be compared
    :raises ScoringInterruptedError: if stopped; nothing is recorded then
    """
    model = request.model
    chosen = store.find_set(request.set_id)
    previous = store.previous(
        set_id=request.set_id,
        row_limit=request.limit,
        model=model.name,
        revision=model.revision,
        key=request.key,
    )
    reviews = first_rows(store.reviews(request.set_id), request.limit)
    before = None if previous is None else store.predictions(previous.id)
    started = store.now()
    classifier = load_classifier()
    predictions = predict(reviews, classifier, stop)
    metrics = metrics_of(predictions, peak_memory(classifier.device))
    references = references_of(request.entry, chosen.sample_of or chosen.name) if request.entry else ()
    verdicts = _Verdicts(
        against_reference(metrics, references),
        _against_previous(store, request.set_id, reviews, predictions, previous, before),
        against_chance(metrics),
    )
    is_first = previous is None or verdicts.last_run.verdict is LastRunVerdict.FIRST_RUN
    evaluation = Evaluation(
        set_id=request.set_id,
        model=model.name,
        revision=model.revision,
        row_limit=request.limit,
        reviews=metrics.reviews,
        rejected=len(predictions.left_out),
        accuracy=metrics.accuracy,
        macro_f1=metrics.macro_f1,
        loss=metrics.trainer["eval_loss"],
        samples_per_second=metrics.trainer["eval_samples_per_second"],
        tokens_per_second=round(metrics.tokens_per_second, 1),
        device=predictions.device,
        precision=predictions.precision,
        reference_verdict=verdicts.reference.verdict.value,
        last_run_verdict=verdicts.last_run.verdict.value,
        compared_with=None if previous is None or is_first else previous.id,
        passed=verdicts.passed,
        explanation=verdicts.explanation,
        started_at=started,
        ended_at=store.now(),
    )
    details = _details(metrics, references, verdicts, request.settings)
    rows = [*(each.row for each in predictions.counted), *predictions.left_out]
    recorded = store.record(request.key, evaluation, details, rows)
    log.info("%s on %s:\n%s", model.name, chosen.name, class_table_text(metrics.classes, metrics.accuracy))
    log.info("%s", breakdown_text(metrics.breakdown))
    log.info("%s", evaluation.explanation)
    return EvaluationResult(
        id=recorded,
        set_name=chosen.name,
        in_between=predictions.in_between,
        interval=metrics.breakdown["intervals"]["accuracy"],
        **{name: getattr(evaluation, name) for name in field_names(EvaluationSummary)},
    )


@dataclass(frozen=True)
class _Verdicts:
    """The three comparisons of an evaluation."""

    reference: AgainstReference
    last_run: AgainstLastRun
    chance: AgainstChance

    @property
    def passed(self) -> bool:
        return passes(self.reference.verdict, self.last_run.verdict, below_chance=self.chance.below)

    @property
    def explanation(self) -> str:
        of_chance = [self.chance.explanation] if self.chance.below else []
        return "; ".join([self.reference.explanation, self.last_run.explanation, *of_chance])


def _against_previous(
    store: BenchmarkStore,
    set_id: int,
    reviews: Sequence[LabelledReview],
    predictions: Predictions,
    previous: StoredEvaluation | None,
    before: Mapping[str, LabelledPrediction] | None,
) -> AgainstLastRun:
    """Compare with the previous evaluation: on the reviews that both have, where the set has changed since."""
    name = "" if previous is None else f"evaluation {previous.id} of {previous.ended_at:%Y-%m-%d}"
    if previous is not None and before is not None and previous.set_id != set_id:
        texts = {review.id: review.text for review in store.reviews(previous.set_id)}
        before = {r.id: before[r.id] for r in reviews if r.id in before and texts[r.id] == r.text}
        name += " (the set has changed since: compared on the reviews that both have, with the same text and label)"
    return against_last_run(before, (each.row for each in predictions.counted), name=name)


def _details(
    metrics: Metrics, references: Sequence[Reference], verdicts: _Verdicts, settings: Mapping[str, Any]
) -> EvaluationDetails:
    last_run, chance = verdicts.last_run, verdicts.chance
    compared = {
        "reference": [vars(each) for each in references],
        "last_run": {
            "became_wrong": len(last_run.became_wrong),
            "became_right": len(last_run.became_right),
            "p": last_run.p,
        },
        "chance": {"below": chance.below, "p": chance.p},
    }
    return EvaluationDetails(metrics.classes, {**metrics.breakdown, **compared, "settings": dict(settings)})
