"""Commits a chunk: its scores, rejects and progress in one transaction. A review is a score or a reject, never both."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Table, and_, bindparam, delete, select, update

from review_scoring.reviews import Prediction, Reject, review_hash
from review_scoring.warehouse.dialects import by_bytes, dialect_of
from review_scoring.warehouse.ledger.chunk import ChunkResult, Outcome
from review_scoring.warehouse.ledger.held_lease import Lease, advance, as_committed, lock_shard
from review_scoring.warehouse.ledger.jobs import JobRecord
from review_scoring.warehouse.ledger.transactions import JobTransactions
from review_scoring.warehouse.schema import SUPERSEDED

Rows = Sequence[Mapping[str, Any]]


class ChunkWriter(JobTransactions):
    """Commits the chunks of a job."""

    def commit(self, lease: Lease, chunk: ChunkResult) -> Lease:
        """Write a chunk's scores, rejects and progress in one transaction, and return the lease after it.

        A commit whose answer was lost is recognised by its number when it is tried again: neither lost nor doubled.

        :raises LeaseLostError: if another run has taken over; then nothing of the chunk is written
        """

        def write(connection: Connection) -> Lease:
            now = dialect_of(connection).now(connection)
            ids = [outcome.review.id for outcome in chunk.outcomes]
            mine = chunk.without(self._erased(connection, lease, ids))
            if chunk.checks_siblings:
                mine = mine.without(self._done_by_siblings(connection, lease, ids))
            after = lease.after(mine.counts())
            if advance(connection, self.job, lease, after, now, device=mine.device, read_to=mine.read_to):
                write_chunk(connection, self.job, lease, mine, now)
                return after
            return as_committed(connection, self.job, lease)

        return self._write("committing a chunk", write)

    def _erased(self, connection: Connection, lease: Lease, ids: Sequence[str]) -> frozenset[str]:
        """Return which of these reviews were erased since the lease was taken: they may have been read before that."""
        erasures = self.job.tables.erasures
        # An erasure locks the shards that are running: it is either seen here, or sees what is written here.
        lock_shard(connection, self.job, lease)
        of_job = (erasures.c.job_id == self.job.id, erasures.c.reason != SUPERSEDED)
        recent = (*of_job, erasures.c.erased_at >= lease.taken_at)
        if connection.scalar(select(erasures.c.id).where(*recent).limit(1)) is None:
            return frozenset()
        hashes = {review_hash(review_id): review_id for review_id in ids}
        found: set[str] = set()
        for part in by_bytes(list(hashes)):
            erased = select(erasures.c.review_hash).where(*recent, erasures.c.review_hash.in_(part))
            found.update(hashes[bytes(each)] for each in connection.scalars(erased))
        return frozenset(found)

    def _done_by_siblings(self, connection: Connection, lease: Lease, ids: Sequence[str]) -> frozenset[str]:
        """Return which of these reviews another shard of the same run has done: their cursor changed meanwhile."""
        shards = self.job.tables.shards
        siblings = select(shards.c.id).where(shards.c.run_id == lease.run_id, shards.c.id != lease.shard_id)
        found: set[str] = set()
        for table in (self.job.tables.scores, self.job.tables.rejects):
            for part in by_bytes(ids):
                in_part = dialect_of(connection).in_values(table.c.review_id, part)
                theirs = select(table.c.review_id).where(table.c.job_id == self.job.id, in_part)
                found.update(connection.scalars(theirs.where(table.c.shard_id.in_(siblings))))
        return frozenset(found)


def write_chunk(connection: Connection, job: JobRecord, lease: Lease, chunk: ChunkResult, now: datetime) -> None:
    """Write the rows of a chunk, within the caller's transaction.

    :param now: when its reviews were scored, aware
    """
    _write_scores(connection, job, lease, chunk, now)
    _write_rejects(connection, job, lease, chunk, now)
    _write_retimed(connection, job, chunk)


def _write_scores(connection: Connection, job: JobRecord, lease: Lease, chunk: ChunkResult, now: datetime) -> None:
    rows = [
        {
            **_row(job, lease, outcome),
            "label": outcome.result.label,
            "score": outcome.result.score,
            "probabilities": json.dumps(outcome.result.probabilities),
            "token_count": outcome.result.token_count,
            "truncated": outcome.result.truncated,
            "scored_at": now,
        }
        for outcome in chunk.outcomes
        if isinstance(outcome.result, Prediction)
    ]
    _replace(connection, job, job.tables.scores, job.tables.rejects, rows)


def _write_rejects(connection: Connection, job: JobRecord, lease: Lease, chunk: ChunkResult, now: datetime) -> None:
    rejected = [(o, o.result) for o in chunk.outcomes if isinstance(o.result, Reject)]
    known = _known_rejects(connection, job, [outcome.review.id for outcome, _ in rejected])
    rows = []
    for outcome, reject in rejected:
        before = known.get(outcome.review.id)
        rows.append(
            {
                **_row(job, lease, outcome),
                "reason": reject.reason.value,
                "detail": reject.detail,
                "first_seen": before.first_seen if before else now,
                "attempts": before.attempts + 1 if before else 1,
            }
        )
    _replace(connection, job, job.tables.rejects, job.tables.scores, rows)


def _known_rejects(connection: Connection, job: JobRecord, ids: Sequence[str]) -> Mapping[str, Any]:
    rejects = job.tables.rejects
    known: dict[str, Any] = {}
    for part in by_bytes(ids):
        in_part = dialect_of(connection).in_values(rejects.c.review_id, part)
        rows = connection.execute(select(rejects).where(rejects.c.job_id == job.id, in_part))
        known |= {row.review_id: row for row in rows}
    return known


def _write_retimed(connection: Connection, job: JobRecord, chunk: ChunkResult) -> None:
    """Record the new `updated_at` of texts that did not change, so that they are not fetched every time."""
    seen = [{"b_id": review.id, "b_at": review.updated_at} for review in chunk.retimed]
    for table in (job.tables.scores, job.tables.rejects) if seen else ():
        one = and_(table.c.job_id == job.id, table.c.review_id == bindparam("b_id"))
        connection.execute(update(table).where(one).values(source_updated_at=bindparam("b_at")), seen)


def _row(job: JobRecord, lease: Lease, outcome: Outcome) -> dict[str, Any]:
    return {
        "job_id": job.id,
        "review_id": outcome.review.id,
        "text_hash": outcome.text_hash,
        "source_updated_at": outcome.review.updated_at,
        "shard_id": lease.shard_id,
        "model_id": lease.model_id,
    }


def _replace(connection: Connection, job: JobRecord, into: Table, out_of: Table, rows: Rows) -> None:
    """Write rows into one of the two tables and take their reviews out of the other."""
    if rows:
        dialect = dialect_of(connection)
        for part in by_bytes([row["review_id"] for row in rows]):
            in_part = dialect.in_values(out_of.c.review_id, part)
            connection.execute(delete(out_of).where(out_of.c.job_id == job.id, in_part))
        dialect.upsert(connection, into, rows)
