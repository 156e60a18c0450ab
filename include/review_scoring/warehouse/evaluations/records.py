"""Records of evaluations: metrics and verdicts of a model on a benchmark set, its predictions, labelled reviews.

A field is defined once, here. Rows, XCom values, tables of text and pages derive from these records.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Self

from sqlalchemy import Row


def field_names(record: type[Any]) -> tuple[str, ...]:
    """Return the names of a record's fields, which are the names of its columns."""
    return tuple(field.name for field in fields(record))


@dataclass(frozen=True, kw_only=True)
class EvaluationSummary:
    """The part of an evaluation that is compared with other models, sent by XCom and checked by the gate.

    :param revision: SHA-256 of the model's files
    :param reviews: reviews that count in the metrics
    :param rejected: reviews without a usable text, which are left out
    :param loss: mean cross entropy
    :param samples_per_second: reviews a second, of classifying alone
    :param precision: floating point type of the weights, such as `float32`
    :param reference_verdict: comparison with the published figures
    :param last_run_verdict: comparison with the previous evaluation
    """

    model: str
    revision: str
    reviews: int
    rejected: int
    accuracy: float
    macro_f1: float
    loss: float
    samples_per_second: float
    tokens_per_second: float
    device: str
    precision: str
    reference_verdict: str
    last_run_verdict: str
    passed: bool
    explanation: str


@dataclass(frozen=True, kw_only=True)
class Evaluation(EvaluationSummary):
    """An evaluation as it is written: the columns of `benchmark_runs` without the id, the task and the metrics.

    :param row_limit: the limit on the number of reviews; None for the whole set
    :param compared_with: id of the previous evaluation that `last_run_verdict` refers to
    """

    set_id: int
    row_limit: int | None
    compared_with: int | None
    started_at: datetime
    ended_at: datetime


@dataclass(frozen=True, kw_only=True)
class StoredEvaluation(Evaluation):
    """An evaluation in the warehouse, with the name of its benchmark set and the Airflow run that made it."""

    id: int
    set_name: str
    dag_id: str
    dag_run_id: str

    @classmethod
    def from_row(cls, row: Row[Any]) -> Self:
        """Return the evaluation of a row that has a column for each field."""
        return cls(**{name: getattr(row, name) for name in field_names(cls)})


@dataclass(frozen=True, kw_only=True)
class ClassMetrics:
    """Precision, recall and F1 of one class, or of an average over the classes (`benchmark_class_metrics`)."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class EvaluationDetails:
    """The class metrics, and all other metrics as `docs/benchmarks.md` lists them (JSON in `benchmark_runs`)."""

    classes: Sequence[ClassMetrics]
    metrics: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class LabelledPrediction:
    """A model's prediction for one labelled review (`benchmark_predictions`).

    :param expected: the review's label, `neg` or `pos`
    :param predicted: `neg` or `pos`; None for a review that the model rejects
    :param label: the model's own label, such as `neu`
    """

    review_id: str
    expected: str
    predicted: str | None
    label: str | None
    score: float | None
    token_count: int | None
    truncated: bool | None
    reject_reason: str | None = None


@dataclass(frozen=True, slots=True)
class LabelledReview:
    """One review of a benchmark set: its canonical id, its text, and `neg` or `pos`."""

    id: str
    text: str | None
    label: str


@dataclass(frozen=True, kw_only=True)
class StoredSet:
    """A benchmark set in the warehouse.

    :param content_hash: SHA-256 over the ids, texts and labels
    :param sample_of: the larger set that the reviews are a sample of
    :param is_new: whether this content was not in the warehouse before
    :param changed: whether the set of this name had another content when it was last loaded
    """

    id: int
    name: str
    content_hash: str
    reviews: int
    sample_of: str | None
    is_new: bool = False
    changed: bool = False
