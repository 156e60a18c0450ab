"""Erases reviews: their scores, rejects and texts in benchmark sets, with a row in `erasures` for each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from functools import partial
from typing import Any

from sqlalchemy import Connection, Row, case, delete, distinct, func, insert, or_, select, update

from review_scoring.reviews import WITHOUT_TEXT, review_hash
from review_scoring.warehouse.dialects import by_bytes, dialect_of
from review_scoring.warehouse.evaluations.erasable_texts import (
    ErasableTexts,
    erase_texts,
    superseded_texts,
    texts_of_reviews,
    unlink_texts,
)
from review_scoring.warehouse.ledger.preemption import lock_job
from review_scoring.warehouse.ledger.transactions import JobTransactions
from review_scoring.warehouse.schema import REJECT, RUNNING, SCORE, SUPERSEDED

ROWS_PER_TRANSACTION = 1_000
"""Reviews that one transaction erases, so that locks are short."""


class ErasureReason(StrEnum):
    """Why a review was erased; the values of the column `erasures.reason`."""

    DELETED = "deleted"
    REQUESTED = "requested"
    SUPERSEDED = SUPERSEDED


@dataclass(frozen=True)
class ErasureRequest:
    """Who erases, and why.

    :param reason: `deleted` for a review that left the source, `requested` for one that somebody named
    :param requested_by: the user
    :param erased_in: the run of a DAG or the command, which a retry continues
    """

    reason: ErasureReason
    requested_by: str
    erased_in: str


@dataclass(frozen=True)
class Erased:
    """What was erased, or would be.

    :param reviews: those that had a score, a reject or a text in a benchmark set
    :param benchmark_texts: their texts in benchmark sets, each of which is stored once
    :param superseded_texts: texts that only earlier contents of benchmark sets have
    """

    reviews: int = 0
    scores: int = 0
    rejects: int = 0
    benchmark_texts: int = 0
    superseded_texts: int = 0

    def __add__(self, other: Erased) -> Erased:
        return Erased(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))

    def __str__(self) -> str:
        parts = {name: value for name, value in vars(self).items() if name != "reviews"}
        return " ".join(f"{name}={value}" for name, value in parts.items())


@dataclass(frozen=True)
class _Stored:
    """What the tables hold of some reviews: rows with the table that they are in, and texts of benchmark sets."""

    rows: Sequence[tuple[str, Row[Any]]]
    texts: ErasableTexts

    @property
    def texts_by_owner(self) -> Counter[str]:
        return Counter(self.texts.owners[text_hash] for text_hash in self.texts.stored)

    def counted(self) -> Erased:
        number, texts = Counter(table for table, _ in self.rows), self.texts_by_owner
        reviews = {row.review_id for _, row in self.rows} | texts.keys()
        return Erased(len(reviews), number[SCORE], number[REJECT], texts.total())


@dataclass(frozen=True, kw_only=True)
class Erasure(JobTransactions):
    """Erases reviews of a job. What a kill interrupts, the next try continues.

    Benchmark sets lose each text that equals the one of an erased review, wherever they came from, unless a set from
    the job's own table has it under another id as well. Such a set loses each text under the review's id.

    :param set_sources: values of `benchmark_sets.source` of sets that were loaded from the job's own table
    """

    set_sources: frozenset[str]

    def find(self, ids: Sequence[str]) -> Erased:
        """Count what would be erased of these reviews; a text that several reviews share may be counted twice."""
        look = (partial(self._stored, ids=part) for part in _parts(ids))
        return sum((self._read("looking up what to erase", each).counted() for each in look), Erased())

    def erase(self, ids: Sequence[str], request: ErasureRequest) -> None:
        """Erase these reviews, a part in each transaction.

        A run in progress that has read one of them before does not write it any more. A review of which nothing is
        stored has a row in `erasures` as well if its erasure was requested.
        """
        for part in _parts(ids):
            self.stop.check()
            self._write("erasing reviews", partial(self._erase, ids=part, request=request))

    def find_superseded(self) -> Erased:
        """Count the texts of benchmark sets that are in no content that was loaded last."""
        found = self._read("looking up earlier texts", lambda c: superseded_texts(c, self.job.tables))
        return Erased(superseded_texts=len(found.stored))

    def erase_superseded(self, request: ErasureRequest) -> None:
        """Erase the texts that :meth:`find_superseded` counts."""
        by = ErasureRequest(ErasureReason.SUPERSEDED, request.requested_by, request.erased_in)

        def erase(connection: Connection) -> bool:
            # A set that is being loaded may have found one of these texts, and rely on it.
            with dialect_of(connection).exclusive(connection, self.job.tables.schema):
                texts = superseded_texts(connection, self.job.tables, most=ROWS_PER_TRANSACTION)
                self._record(connection, _Stored((), texts), by)
                erase_texts(connection, self.job.tables, texts.stored)
            return bool(texts.stored)

        while self._write("erasing earlier texts", erase):
            self.stop.check()

    def erased_in(self, run: str) -> Erased:
        """Return what a run of a DAG or a command has erased, in all its tries."""
        erasures = self.job.tables.erasures
        mine = (erasures.c.job_id == self.job.id, erasures.c.erased_in == run)
        is_superseded = erasures.c.reason == SUPERSEDED
        has_erased = or_(erasures.c.erased_from.is_not(None), erasures.c.benchmark_texts > 0)
        columns = (
            func.count(distinct(erasures.c.review_hash)),
            *(
                func.coalesce(func.sum(case((erasures.c.erased_from == name, 1), else_=0)), 0)
                for name in (SCORE, REJECT)
            ),
            func.coalesce(func.sum(erasures.c.benchmark_texts), 0),
        )
        of_reviews = select(*columns).where(*mine, has_erased, ~is_superseded)
        superseded = select(columns[-1]).where(*mine, is_superseded)

        def count(connection: Connection) -> Erased:
            numbers = [*connection.execute(of_reviews).one(), connection.scalar(superseded)]
            return Erased(*map(int, numbers))

        return self._read("counting what was erased", count)

    def _stored(self, connection: Connection, ids: Sequence[str], *, locks: bool = False) -> _Stored:
        tables_, dialect = self.job.tables, dialect_of(connection)
        rows: list[tuple[str, Row[Any]]] = []
        hashes: dict[bytes, str] = {}
        for name, table in ((SCORE, tables_.scores), (REJECT, tables_.rejects)):
            reason = [table.c.reason] if name == REJECT else []
            mine = select(table.c.review_id, table.c.shard_id, table.c.text_hash, *reason)
            mine = mine.where(table.c.job_id == self.job.id, dialect.in_values(table.c.review_id, ids))
            for row in connection.execute(dialect.locked(mine) if locks else mine):
                rows.append((name, row))
                if name == SCORE or row.reason not in WITHOUT_TEXT:
                    hashes[row.text_hash] = row.review_id
        texts = texts_of_reviews(connection, tables_, sources=self.set_sources, ids=ids, hashes=hashes)
        return _Stored(rows, texts)

    def _erase(self, connection: Connection, ids: Sequence[str], request: ErasureRequest) -> None:
        tables_, dialect = self.job.tables, dialect_of(connection)
        lock_job(connection, self.job)
        self._lock_running(connection)
        stored = self._stored(connection, ids, locks=True)
        self._record(connection, stored, request, ids)
        for name, table in ((SCORE, tables_.scores), (REJECT, tables_.rejects)):
            if mine := [row.review_id for each, row in stored.rows if each == name]:
                one_of = dialect.in_values(table.c.review_id, mine)
                connection.execute(delete(table).where(table.c.job_id == self.job.id, one_of))
        erase_texts(connection, tables_, stored.texts.stored)
        unlink_texts(connection, tables_, sources=self.set_sources, ids=ids, hashes=stored.texts.owners)
        fewer = tables_.jobs.c.uncounted_reviews - len(stored.rows)
        connection.execute(update(tables_.jobs).where(tables_.jobs.c.id == self.job.id).values(uncounted_reviews=fewer))

    def _lock_running(self, connection: Connection) -> None:
        """Wait for the commits of the shards that are running, and keep others out: see `ChunkWriter.commit`."""
        runs, shards = self.job.tables.runs, self.job.tables.shards
        of_job = shards.c.run_id.in_(select(runs.c.id).where(runs.c.job_id == self.job.id))
        running = select(shards.c.id).where(shards.c.state == RUNNING, of_job).order_by(shards.c.id)
        connection.execute(dialect_of(connection).locked(running)).all()

    def _record(
        self, connection: Connection, stored: _Stored, request: ErasureRequest, asked: Sequence[str] = ()
    ) -> None:
        """Write a row for each review.

        :param asked: the reviews that were asked for, which all get one if their erasure was requested
        """
        texts = stored.texts_by_owner
        rows: list[tuple[str, str | None, int | None, int]] = [
            (row.review_id, table, row.shard_id, texts.pop(row.review_id, 0)) for table, row in stored.rows
        ]
        rows += [(owner, None, None, count) for owner, count in texts.items()]
        if request.reason is ErasureReason.REQUESTED:  # so that a run that has read the others does not write them
            others = sorted({*asked} - {review_id for review_id, *_ in rows})
            rows += [(review_id, None, None, 0) for review_id in others]
        now = dialect_of(connection).now(connection)
        values = [
            {
                "job_id": self.job.id,
                "review_hash": review_hash(review_id),
                "erased_from": table,
                "shard_id": shard,
                "benchmark_texts": count,
                "reason": request.reason.value,
                "requested_by": request.requested_by,
                "erased_in": request.erased_in,
                "erased_at": now,
            }
            for review_id, table, shard, count in rows
        ]
        if values:
            connection.execute(insert(self.job.tables.erasures), values)


def _parts(ids: Sequence[str]) -> Sequence[Sequence[str]]:
    return [
        part
        for start in range(0, len(ids), ROWS_PER_TRANSACTION)
        for part in by_bytes(ids[start : start + ROWS_PER_TRANSACTION])
    ]
