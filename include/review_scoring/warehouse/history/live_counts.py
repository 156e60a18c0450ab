"""What a job holds now: counted, not remembered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select

from review_scoring.warehouse.ledger.ledger import Ledger
from review_scoring.warehouse.schema import Tables
from review_scoring.warehouse.source.review_source import ReviewSource


@dataclass(frozen=True)
class RejectRow:
    """A review without a score."""

    review_id: str
    reason: str
    detail: str
    first_seen: datetime
    attempts: int


def count_scored(connection: Connection, owned: Tables, job_id: int) -> int:
    """Return how many reviews have a score."""
    return int(connection.scalar(select(func.count()).where(owned.scores.c.job_id == job_id)) or 0)


def count_rejects(connection: Connection, owned: Tables, job_id: int) -> Mapping[str, int]:
    """Return how many reviews are rejected, by reason, the most frequent first."""
    rejects = owned.rejects
    counted = func.count().label("n")
    statement = select(rejects.c.reason, counted).where(rejects.c.job_id == job_id).group_by(rejects.c.reason)
    rows = connection.execute(statement.order_by(counted.desc(), rejects.c.reason)).all()
    return {row.reason: row.n for row in rows}


def count_waiting(connection: Connection, source: ReviewSource, ledger: Ledger | None) -> int | None:
    """Return how many reviews of the source are neither scored nor rejected; None where one statement cannot tell.

    :param connection: a transaction of the source's engine
    """
    rows = select(func.count()).select_from(source.id.table).where(source.id.is_not(None))
    if ledger is None:
        return int(connection.scalar(rows) or 0)
    id_as_text = source.id_as_text(ledger.engine)
    return None if id_as_text is None else int(connection.scalar(rows.where(ledger.records.missing(id_as_text))) or 0)


def rejected(
    connection: Connection, owned: Tables, job_id: int, *, reason: str | None, after: str | None, rows: int
) -> Sequence[RejectRow]:
    """Return rejects in the order of their ids, those of one reason or all.

    :param after: the id of the last one that was seen; None to begin
    """
    rejects = owned.rejects
    columns = (rejects.c.review_id, rejects.c.reason, rejects.c.detail, rejects.c.first_seen, rejects.c.attempts)
    statement: Any = select(*columns).where(rejects.c.job_id == job_id).order_by(rejects.c.review_id).limit(rows)
    if reason is not None:
        statement = statement.where(rejects.c.reason == reason)
    if after is not None:
        statement = statement.where(rejects.c.review_id > after)
    return [RejectRow(*row) for row in connection.execute(statement)]
