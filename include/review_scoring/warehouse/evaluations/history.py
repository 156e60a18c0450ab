"""Evaluations as the pages show them: all of a model's, and one with everything that was measured."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from review_scoring.warehouse.evaluations.store import ClassMetrics
from review_scoring.warehouse.schema import Tables


@dataclass(frozen=True, kw_only=True)
class EvaluationLine:
    """One evaluation without its details. `row_limit` is None for one on the whole set."""

    id: int
    set_name: str
    model: str
    revision: str
    row_limit: int | None
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
    dag_id: str
    run_id: str
    ended_at: datetime


@dataclass(frozen=True)
class EvaluationDetails:
    """What was measured beside: the class table, and `benchmark_runs.figures` as `evaluation/metrics.py` makes it."""

    classes: Sequence[ClassMetrics]
    figures: Mapping[str, Any]


def evaluations(
    connection: Connection, owned: Tables, *, model: str | None = None, last: int = 500
) -> list[EvaluationLine]:
    """Return the newest evaluations, of a model or of all, the newest first."""
    runs, sets = owned.benchmark_runs, owned.benchmark_sets
    names = [name for name in EvaluationLine.__dataclass_fields__ if name != "set_name"]
    statement = (
        select(*(runs.c[name] for name in names), sets.c.name.label("set_name"))
        .join(sets, sets.c.id == runs.c.set_id)
        .order_by(runs.c.ended_at.desc(), runs.c.id.desc())
        .limit(last)
    )
    if model is not None:
        statement = statement.where(runs.c.model == model)
    return [EvaluationLine(**row._mapping) for row in connection.execute(statement)]


def details(connection: Connection, owned: Tables, evaluation: int) -> EvaluationDetails:
    """Return the details of an evaluation that is there: its classes in the order of the cards, averages last."""
    runs, metrics = owned.benchmark_runs, owned.benchmark_class_metrics
    columns = [metrics.c[name] for name in ClassMetrics.__dataclass_fields__]
    rows = connection.execute(select(*columns).where(metrics.c.benchmark_run_id == evaluation)).all()
    classes = sorted((ClassMetrics(**row._mapping) for row in rows), key=lambda each: ("avg" in each.label, each.label))
    figures = connection.scalar(select(runs.c.figures).where(runs.c.id == evaluation))
    return EvaluationDetails(classes, json.loads(figures or "{}"))
