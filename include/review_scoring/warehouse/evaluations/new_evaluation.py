"""Write an evaluation with its class metrics and predictions in one transaction, in place of an earlier try."""

from __future__ import annotations

import json
from collections.abc import Sequence

from sqlalchemy import Connection, delete, exists, select

from review_scoring.request import RunKey
from review_scoring.warehouse.evaluations.inserting import insert_one, insert_rows
from review_scoring.warehouse.evaluations.past_evaluations import of_task
from review_scoring.warehouse.evaluations.records import (
    Evaluation,
    EvaluationDetails,
    LabelledPrediction,
    field_names,
)
from review_scoring.warehouse.schema import Tables


def write_evaluation(
    connection: Connection,
    tables: Tables,
    *,
    key: RunKey,
    evaluation: Evaluation,
    details: EvaluationDetails,
    predictions: Sequence[LabelledPrediction],
) -> int:
    """Write an evaluation, and return its id.

    It replaces an earlier try of the same task at the same revision and reviews, unless a promotion rests on that try
    or another evaluation was compared with it.

    :param key: the Airflow task that made the evaluation
    """
    _delete_earlier_tries(connection, tables, key, evaluation)
    row = {**vars(key), **vars(evaluation), "metrics": json.dumps(details.metrics, sort_keys=True)}
    run = insert_one(connection, tables.benchmark_runs, row)
    classes = [{"benchmark_run_id": run, **vars(each)} for each in details.classes]
    insert_rows(connection, tables.benchmark_class_metrics, classes)
    names = field_names(LabelledPrediction)
    rows = [{"benchmark_run_id": run, **{name: getattr(each, name) for name in names}} for each in predictions]
    insert_rows(connection, tables.benchmark_predictions, rows)
    return run


def _delete_earlier_tries(connection: Connection, tables: Tables, key: RunKey, evaluation: Evaluation) -> None:
    runs, later = tables.benchmark_runs, tables.benchmark_runs.alias("later")
    earlier = select(runs.c.id).where(
        of_task(tables, key),
        *(runs.c[name] == getattr(evaluation, name) for name in ("set_id", "row_limit", "model", "revision")),
        ~exists().where(tables.promotions.c.benchmark_run_id == runs.c.id),
        ~exists().where(later.c.compared_with == runs.c.id),
    )
    for run in connection.scalars(earlier).all():
        for each in (tables.benchmark_predictions, tables.benchmark_class_metrics):
            connection.execute(delete(each).where(each.c.benchmark_run_id == run))
        connection.execute(delete(runs).where(runs.c.id == run))
