"""Rejects: the reviews of a job that could not be scored, counted by reason and listed by id."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select

from review_scoring.warehouse.ledger.jobs import JobRecord


@dataclass(frozen=True)
class RejectedReview:
    """A row of `review_rejects`."""

    review_id: str
    reason: str
    detail: str
    first_seen: datetime
    attempts: int


def count_rejects(connection: Connection, job: JobRecord) -> Mapping[str, int]:
    """Return the number of rejects by reason, the most frequent reason first."""
    rejects = job.tables.rejects
    counted = func.count().label("n")
    statement = select(rejects.c.reason, counted).where(rejects.c.job_id == job.id).group_by(rejects.c.reason)
    rows = connection.execute(statement.order_by(counted.desc(), rejects.c.reason)).all()
    return {row.reason: row.n for row in rows}


def list_rejects(
    connection: Connection, job: JobRecord, *, reason: str | None, after: str | None, limit: int
) -> Sequence[RejectedReview]:
    """Return rejects in the order of their ids.

    :param reason: return the rejects with this reason only; None for all
    :param after: the id of the last reject on the previous page; None for the first page
    """
    rejects = job.tables.rejects
    statement: Any = _select(job).order_by(rejects.c.review_id).limit(limit)
    if reason is not None:
        statement = statement.where(rejects.c.reason == reason)
    if after is not None:
        statement = statement.where(rejects.c.review_id > after)
    return [RejectedReview(*row) for row in connection.execute(statement)]


def find_reject(connection: Connection, job: JobRecord, *, review_id: str) -> RejectedReview | None:
    """Return the reject of a review, or None for a review that was not rejected."""
    statement = _select(job).where(job.tables.rejects.c.review_id == review_id)
    row = connection.execute(statement).one_or_none()
    return None if row is None else RejectedReview(*row)


def _select(job: JobRecord) -> Any:
    rejects = job.tables.rejects
    columns = [rejects.c[name] for name in RejectedReview.__dataclass_fields__]
    return select(*columns).where(rejects.c.job_id == job.id)
