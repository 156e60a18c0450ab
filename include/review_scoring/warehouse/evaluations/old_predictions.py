"""Retention of predictions: those of old evaluations are removed, except where a later one may be compared with them.

The evaluations themselves, in `benchmark_runs` and `benchmark_class_metrics`, are never removed: they are few rows, and
the record of what was measured.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, and_, delete, exists, func, select

from review_scoring.request import RunKey
from review_scoring.warehouse.schema import Tables

MOST_ROWS = 5_000
"""The most predictions that one transaction removes, so that it is short."""


def old_predictions(connection: Connection, tables: Tables, *, before: datetime) -> Mapping[int, int]:
    """Return the evaluations whose predictions nothing needs, and how many each has.

    Needed, whatever the age of the evaluation, are the predictions

    - of an evaluation that ended later, and of the one that it was compared with;
    - of an evaluation that a promotion rests on;
    - of the newest evaluation of a revision on a content of a benchmark set with a limit, and of the newest one of
      another task: among the evaluations that passed, and among those that did not. What
      :func:`past_evaluations.previous_evaluation` prefers is always one of these, since it takes the newest of several
      such groups, and leaves out one task.

    :param before: evaluations that ended at this time or later keep their predictions
    """
    runs = tables.benchmark_runs
    names = ("id", "set_id", "row_limit", "model", "revision", "passed", "compared_with", "ended_at")
    task = ("dag_id", "task_id", "dag_run_id", "map_index")
    newest_first = select(*(runs.c[name] for name in (*names, *task))).order_by(
        runs.c.ended_at.desc(), runs.c.id.desc()
    )
    rows = connection.execute(newest_first).all()
    needed: set[int | None] = {*connection.scalars(select(tables.promotions.c.benchmark_run_id)), *_comparable(rows)}
    for row in rows:
        if row.ended_at >= before:
            needed |= {row.id, row.compared_with}
    return count_predictions(connection, tables, evaluations=[row.id for row in rows if row.id not in needed])


def count_predictions(connection: Connection, tables: Tables, *, evaluations: Collection[int]) -> Mapping[int, int]:
    """Return how many predictions each of some evaluations has, without those that have none."""
    of_run = tables.benchmark_predictions.c.benchmark_run_id
    counted = select(of_run, func.count()).where(of_run.in_(evaluations)).group_by(of_run)
    return {evaluation: int(count) for evaluation, count in connection.execute(counted)} if evaluations else {}


def remove_some(connection: Connection, tables: Tables, *, evaluation: int) -> bool:
    """Remove predictions of an evaluation, up to a limit, and return whether some may be left.

    None are removed if a promotion has come to rest on it.
    """
    each, promotions = tables.benchmark_predictions, tables.promotions
    mine = each.c.benchmark_run_id == evaluation
    if connection.scalar(select(exists().where(promotions.c.benchmark_run_id == evaluation))):
        return False
    last = select(each.c.review_id).where(mine).order_by(each.c.review_id).offset(MOST_ROWS - 1).limit(1)
    upto = connection.scalar(last)
    some = mine if upto is None else and_(mine, each.c.review_id <= upto)
    connection.execute(delete(each).where(some))
    return upto is not None


def _comparable(newest_first: Sequence[Row[Any]]) -> Iterator[int]:
    """Yield the evaluations that a new one may be compared with, whatever its content, revision and task."""
    tasks: dict[tuple[object, ...], set[RunKey]] = {}
    for row in newest_first:
        group = (row.set_id, row.row_limit, row.model, row.revision, row.passed)
        seen = tasks.setdefault(group, set())
        task = RunKey(row.dag_id, row.task_id, row.dag_run_id, row.map_index)
        if not seen or (len(seen) == 1 and task not in seen):
            seen.add(task)
            yield row.id
