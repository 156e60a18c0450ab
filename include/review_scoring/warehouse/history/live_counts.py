"""Live counts: how many reviews of a job are waiting and how many are scored, counted in the tables."""

from __future__ import annotations

from sqlalchemy import Connection, Engine, func, select

from review_scoring.warehouse.ledger.jobs import JobRecord
from review_scoring.warehouse.ledger.ledger import Ledger
from review_scoring.warehouse.source.review_source import ReviewSource


def count_scored(connection: Connection, job: JobRecord) -> int:
    """Return the number of reviews that have a score."""
    return int(connection.scalar(select(func.count()).where(job.tables.scores.c.job_id == job.id)) or 0)


def count_waiting(connection: Connection, job: JobRecord | None, *, source: ReviewSource, engine: Engine) -> int | None:
    """Return the number of reviews in the source that are neither scored nor rejected.

    None if one statement cannot count them: if source and scores are in different databases, for example.

    :param connection: a transaction of the source's engine
    :param job: None for a job that has never run, all of whose reviews are waiting
    :param engine: an engine of the database that holds the scores
    """
    rows = select(func.count()).select_from(source.id.table).where(source.id.is_not(None))
    if job is None:
        return int(connection.scalar(rows) or 0)
    id_as_text = source.id_as_text(engine)
    if id_as_text is None:
        return None
    return int(connection.scalar(rows.where(Ledger(engine, job).records.missing(id_as_text))) or 0)
