"""Job records: the row of a scoring job, which every query of the run history takes."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, select

from review_scoring.warehouse.schema import Tables


@dataclass(frozen=True)
class JobRecord:
    """A job's row in `scoring_jobs`.

    :param source: what the job reads: a table and its database, by name
    :param id_type: the type of its review ids: `integer`, `string` or `uuid`
    :param tables: the project's tables that hold the job's runs, scores and rejects
    """

    id: int
    name: str
    source: str
    id_type: str
    tables: Tables


def find_job(connection: Connection, tables: Tables, name: str) -> JobRecord | None:
    """Return a job's record, or None for a job that has never run."""
    jobs = tables.jobs
    row = connection.execute(
        select(jobs.c.id, jobs.c.name, jobs.c.source, jobs.c.id_type).where(jobs.c.name == name)
    ).one_or_none()
    return None if row is None else JobRecord(*row, tables)
