"""A chunk as rows of `review_scores` and `review_rejects`: a review is in one of the two, never in both."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Table, and_, bindparam, delete, select, update

from review_scoring.reviews import Prediction, Reject
from review_scoring.warehouse.dialects import by_bytes, dialect_of
from review_scoring.warehouse.ledger.chunk import ChunkResult, Outcome
from review_scoring.warehouse.ledger.leases import Lease
from review_scoring.warehouse.schema import Tables


def write_chunk(
    connection: Connection, owned: Tables, job_id: int, lease: Lease, chunk: ChunkResult, now: datetime
) -> None:
    """Write what became of a chunk's reviews, within the caller's transaction.

    :param now: when they were scored, aware
    """
    _write_scores(connection, owned, job_id, lease, chunk, now)
    _write_rejects(connection, owned, job_id, lease, chunk, now)
    _write_retimed(connection, owned, job_id, chunk)


def _write_scores(
    connection: Connection, owned: Tables, job_id: int, lease: Lease, chunk: ChunkResult, now: datetime
) -> None:
    rows = [
        {
            **_row(job_id, lease, outcome),
            "label": outcome.result.label,
            "score": outcome.result.score,
            "probabilities": json.dumps(outcome.result.probabilities),
            "model": lease.model,
            "revision": lease.revision,
            "token_count": outcome.result.token_count,
            "truncated": outcome.result.truncated,
            "scored_at": now,
        }
        for outcome in chunk.outcomes
        if isinstance(outcome.result, Prediction)
    ]
    _replace(connection, job_id, owned.scores, owned.rejects, rows)


def _write_rejects(
    connection: Connection, owned: Tables, job_id: int, lease: Lease, chunk: ChunkResult, now: datetime
) -> None:
    rejected = [(o, o.result) for o in chunk.outcomes if isinstance(o.result, Reject)]
    if not rejected:
        return
    rejects = owned.rejects
    known: dict[str, Any] = {}
    for part in by_bytes([outcome.review.id for outcome, _ in rejected]):
        member = dialect_of(connection).member(rejects.c.review_id, part)
        rows_of = connection.execute(select(rejects).where(rejects.c.job_id == job_id, member))
        known |= {row.review_id: row for row in rows_of}
    rows = []
    for outcome, reject in rejected:
        before = known.get(outcome.review.id)
        rows.append(
            {
                **_row(job_id, lease, outcome),
                "reason": reject.reason.value,
                "detail": reject.detail,
                "first_seen": before.first_seen if before else now,
                "attempts": before.attempts + 1 if before else 1,
                "model": lease.model,
                "revision": lease.revision,
            }
        )
    _replace(connection, job_id, rejects, owned.scores, rows)


def _write_retimed(connection: Connection, owned: Tables, job_id: int, chunk: ChunkResult) -> None:
    """Remember the new `updated_at` of texts that did not change, so that they are not fetched every time."""
    seen = [{"b_id": review.id, "b_at": review.updated_at} for review in chunk.retimed]
    for table in (owned.scores, owned.rejects) if seen else ():
        one = and_(table.c.job_id == job_id, table.c.review_id == bindparam("b_id"))
        connection.execute(update(table).where(one).values(source_updated_at=bindparam("b_at")), seen)


def _row(job_id: int, lease: Lease, outcome: Outcome) -> dict[str, Any]:
    return {
        "job_id": job_id,
        "review_id": outcome.review.id,
        "text_hash": outcome.text_hash,
        "source_updated_at": outcome.review.updated_at,
        "run_id": lease.run_id,
    }


def _replace(
    connection: Connection, job_id: int, into: Table, out_of: Table, rows: Sequence[Mapping[str, Any]]
) -> None:
    """Write rows into one of the two tables and take their reviews out of the other."""
    if rows:
        dialect = dialect_of(connection)
        for part in by_bytes([row["review_id"] for row in rows]):
            member = dialect.member(out_of.c.review_id, part)
            connection.execute(delete(out_of).where(out_of.c.job_id == job_id, member))
        dialect.upsert(connection, into, rows)
