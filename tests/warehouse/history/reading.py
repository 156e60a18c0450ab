"""The run history of a test's job, as the pages read it."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import update

from review_scoring.warehouse.engine import writing
from review_scoring.warehouse.history.daily_labels import DailyLabels, daily_labels
from review_scoring.warehouse.history.runs import Run, last_runs
from review_scoring.warehouse.ledger.jobs import JobRecord, find_job
from tests.stubs import Warehouse


def record(warehouse: Warehouse) -> JobRecord:
    """Return the record of the job, which has run."""
    with warehouse.engine.connect() as connection:
        job = find_job(connection, warehouse.tables, warehouse.job.name)
    assert job is not None
    return job


def read_runs(warehouse: Warehouse) -> list[Run]:
    """Return the last ten runs."""
    job = record(warehouse)
    with warehouse.engine.connect() as connection:
        return last_runs(connection, job, limit=10)


def read_days(warehouse: Warehouse, back: timedelta = timedelta(days=120)) -> list[DailyLabels]:
    """Return the labels of each day."""
    job = record(warehouse)
    with warehouse.engine.connect() as connection:
        return list(daily_labels(connection, job, back=back))


def date_back(warehouse: Warehouse, run_id: str, back: timedelta) -> None:
    """Move a run to an earlier time."""
    runs, shards = warehouse.tables.runs, warehouse.tables.shards
    with writing(warehouse.engine).begin() as connection:
        (run,) = connection.execute(runs.select().where(runs.c.dag_run_id == run_id)).all()
        of_run = connection.execute(shards.select().where(shards.c.run_id == run.id)).all()
        for table, rows in ((runs, [run]), (shards, of_run)):
            for row in rows:
                moved = {"started_at": row.started_at - back, "ended_at": row.ended_at and row.ended_at - back}
                connection.execute(update(table).where(table.c.id == row.id).values(moved))
