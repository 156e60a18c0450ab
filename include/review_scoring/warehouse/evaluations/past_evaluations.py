"""Read evaluations from the warehouse: the newest ones, one with its metrics, and the one to compare a new one with."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, inspect, or_, select

from review_scoring.request import RunKey
from review_scoring.warehouse.evaluations.records import (
    ClassMetrics,
    EvaluationDetails,
    LabelledPrediction,
    StoredEvaluation,
    field_names,
)
from review_scoring.warehouse.schema import Tables


def evaluations(
    connection: Connection, tables: Tables, *, model: str | None = None, last: int = 500
) -> list[StoredEvaluation]:
    """Return the newest evaluations of one model or of all models, the newest first."""
    runs = tables.benchmark_runs
    statement = _evaluations(tables).order_by(runs.c.ended_at.desc(), runs.c.id.desc()).limit(last)
    if model is not None:
        statement = statement.where(runs.c.model == model)
    return [StoredEvaluation.from_row(row) for row in connection.execute(statement)]


def find_evaluation(connection: Connection, tables: Tables, *, evaluation: int) -> StoredEvaluation | None:
    """Return the evaluation of an id."""
    row = connection.execute(_evaluations(tables).where(tables.benchmark_runs.c.id == evaluation)).one_or_none()
    return None if row is None else StoredEvaluation.from_row(row)


def newest_by_set(connection: Connection, tables: Tables, *, model: str, revision: str) -> list[StoredEvaluation]:
    """Return the newest evaluation of a model's revision on each whole benchmark set, the newest of all last."""
    runs = tables.benchmark_runs
    if not inspect(connection).has_table(runs.name, schema=runs.schema):
        return []
    statement = (
        _evaluations(tables)
        .where(runs.c.model == model, runs.c.revision == revision, runs.c.row_limit.is_(None))
        .order_by(runs.c.ended_at, runs.c.id)
    )
    newest = {row.set_name: StoredEvaluation.from_row(row) for row in connection.execute(statement)}
    return sorted(newest.values(), key=lambda each: (each.ended_at, each.id))


def details(connection: Connection, tables: Tables, *, evaluation: int) -> EvaluationDetails:
    """Return the class metrics of an evaluation, averages last, and its other metrics."""
    runs, by_class = tables.benchmark_runs, tables.benchmark_class_metrics
    columns = [by_class.c[name] for name in field_names(ClassMetrics)]
    rows = connection.execute(select(*columns).where(by_class.c.benchmark_run_id == evaluation)).all()
    classes = sorted((ClassMetrics(**row._mapping) for row in rows), key=lambda each: ("avg" in each.label, each.label))
    metrics = connection.scalar(select(runs.c.metrics).where(runs.c.id == evaluation))
    return EvaluationDetails(classes, json.loads(metrics or "{}"))


def predictions_of(connection: Connection, tables: Tables, *, evaluation: int) -> dict[str, LabelledPrediction]:
    """Return the predictions of an evaluation by review id."""
    each = tables.benchmark_predictions
    columns = [each.c[name] for name in field_names(LabelledPrediction)]
    rows = connection.execute(select(*columns).where(each.c.benchmark_run_id == evaluation)).all()
    return {row.review_id: LabelledPrediction(*row) for row in rows}


def previous_evaluation(
    connection: Connection,
    tables: Tables,
    *,
    set_id: int,
    row_limit: int | None,
    model: str,
    revision: str,
    key: RunKey,
) -> StoredEvaluation | None:
    """Return the evaluation to compare a new one with: the last that passed, otherwise the last.

    One of the same revision is preferred: a model in use that did not change must not become worse because a better
    revision was evaluated. Then one on the same content is preferred to one on an earlier content of the set, which
    must have passed.

    :param key: the task of the new evaluation, whose own earlier tries do not count
    """
    runs, sets = tables.benchmark_runs, tables.benchmark_sets
    name = select(sets.c.name).where(sets.c.id == set_id).scalar_subquery()
    same_content, same_revision = runs.c.set_id == set_id, runs.c.revision == revision
    newest = (
        _evaluations(tables)
        .where(sets.c.name == name, runs.c.row_limit == row_limit, runs.c.model == model, ~of_task(tables, key))
        .where(or_(same_content, runs.c.passed.is_(True)))
        .order_by(runs.c.passed.desc(), same_revision.desc(), same_content.desc())
        .order_by(runs.c.ended_at.desc(), runs.c.id.desc())
    )
    row = connection.execute(newest.limit(1)).one_or_none()
    return None if row is None else StoredEvaluation.from_row(row)


def of_task(tables: Tables, key: RunKey) -> ColumnElement[bool]:
    """Return the condition that an evaluation was made by a task of an Airflow run, in whatever try."""
    runs = tables.benchmark_runs
    return and_(*(runs.c[name] == value for name, value in vars(key).items()))


def _evaluations(tables: Tables) -> Select[Any]:
    """Return the statement of all evaluations with the columns of :class:`StoredEvaluation`."""
    runs, sets = tables.benchmark_runs, tables.benchmark_sets
    columns = [runs.c[name] for name in field_names(StoredEvaluation) if name != "set_name"]
    return select(*columns, sets.c.name.label("set_name")).join(sets, sets.c.id == runs.c.set_id)
