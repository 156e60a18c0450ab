"""Erases reviews: their scores, rejects and texts in benchmark sets, with a row in `erasures` for each."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from review_scoring.job import ScoringJob
from review_scoring.warehouse.dialects import by_bytes, dialect_of
from review_scoring.warehouse.evaluations.erasable_texts import (
    ErasableTexts,
    erase_texts,
    superseded_texts,
    texts_of_reviews,
)
from review_scoring.warehouse.evaluations.labelled_tables import table_source
from review_scoring.warehouse.ledger.preemption import lock_job
from review_scoring.warehouse.ledger.transactions import JobTransactions
from review_scoring.warehouse.schema import REJECT, SCORE

ROWS_PER_TRANSACTION = 1_000
"""Reviews that one transaction erases, so that locks are short."""


class ErasureReason(StrEnum):
    """Why a review was erased; the values of the column `erasures.reason`."""

    DELETED = "deleted"
    REQUESTED = "requested"


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
    :param benchmark_texts: texts of benchmark sets, which each are stored once
    """

    reviews: int = 0
    scores: int = 0
    rejects: int = 0
    benchmark_texts: int = 0

    def __add__(self, other: Erased) -> Erased:
        return Erased(*(mine + theirs for mine, theirs in zip(vars(self).values(), vars(other).values(), strict=True)))

    def __str__(self) -> str:
        return f"scores={self.scores} rejects={self.rejects} benchmark_texts={self.benchmark_texts}"


@dataclass(frozen=True)
class _Found:
    """What the tables hold of some reviews: rows with the table that they are in, and texts of benchmark sets."""

    rows: Sequence[tuple[str, Row[Any]]]
    texts: ErasableTexts

    @property
    def texts_by_owner(self) -> Counter[str]:
        return Counter(self.texts.owners[text_hash] for text_hash in self.texts.stored)

    def counted(self) -> Erased:
        number, texts = Counter(was for was, _ in self.rows), self.texts_by_owner
        reviews = {row.review_id for _, row in self.rows} | texts.keys()
        return Erased(len(reviews), number[SCORE], number[REJECT], texts.total())


@dataclass(frozen=True, kw_only=True)
class Erasure(JobTransactions):
    """Erases reviews of a job. What a kill interrupts, the next try continues.

    Benchmark sets lose each text that equals the one of an erased review, wherever they came from. A set that was
    loaded from the job's own table loses each text under the review's id.

    :param of: the job as its user has defined it
    """

    of: ScoringJob

    def find(self, ids: Sequence[str]) -> Erased:
        """Count what would be erased of these reviews."""
        look = (partial(self._found, ids=part) for part in _parts(ids))
        return sum((self._read("looking up what to erase", each).counted() for each in look), Erased())

    def erase(self, ids: Sequence[str], request: ErasureRequest) -> None:
        """Erase these reviews, a part in each transaction. Those of which nothing is stored are passed over."""
        for part in _parts(ids):
            self._write("erasing reviews", partial(self._erase, ids=part, request=request))

    def find_superseded(self) -> int:
        """Count the texts of benchmark sets that are in no content that was loaded last."""
        return self._read("looking up earlier texts", lambda c: len(superseded_texts(c, self.job.tables).stored))

    def erase_superseded(self, request: ErasureRequest) -> None:
        """Erase the texts that :meth:`find_superseded` counts."""

        def erase(connection: Connection) -> bool:
            texts = superseded_texts(connection, self.job.tables, most=ROWS_PER_TRANSACTION)
            self._record(connection, _Found((), texts), request)
            erase_texts(connection, self.job.tables, texts.stored, for_good=False)
            return bool(texts.stored)

        while self._write("erasing earlier texts", erase):
            pass

    def erased_in(self, run: str) -> Erased:
        """Return what a run of a DAG or a command has erased, in all its tries."""
        erasures = self.job.tables.erasures
        columns = (erasures.c.was, func.count(), func.sum(erasures.c.benchmark_texts))
        mine = select(*columns).where(erasures.c.job_id == self.job.id, erasures.c.erased_in == run)
        rows = self._read("counting what was erased", lambda c: c.execute(mine.group_by(erasures.c.was)).all())
        number = {was: int(count) for was, count, _ in rows}
        texts = sum(int(count) for _, _, count in rows)
        return Erased(sum(number.values()), number.get(SCORE, 0), number.get(REJECT, 0), texts)

    def _found(self, connection: Connection, ids: Sequence[str], *, locks: bool = False) -> _Found:
        tables_, dialect = self.job.tables, dialect_of(connection)
        rows: list[tuple[str, Row[Any]]] = []
        for was, table in ((SCORE, tables_.scores), (REJECT, tables_.rejects)):
            columns = (table.c.review_id, table.c.shard_id, table.c.text_hash)
            mine = select(*columns).where(table.c.job_id == self.job.id, dialect.in_values(table.c.review_id, ids))
            rows += [(was, row) for row in connection.execute(dialect.locked(mine) if locks else mine)]
        source = table_source(self.of.source_conn_id, self.of.source_schema, self.of.source_table)
        hashes = {row.text_hash: row.review_id for _, row in rows}
        return _Found(rows, texts_of_reviews(connection, tables_, source=source, ids=ids, hashes=hashes))

    def _erase(self, connection: Connection, ids: Sequence[str], request: ErasureRequest) -> None:
        lock_job(connection, self.job)  # before the reviews, as a task does that takes a lease
        found = self._found(connection, ids, locks=True)
        self._record(connection, found, request)
        tables_ = self.job.tables
        for was, table in ((SCORE, tables_.scores), (REJECT, tables_.rejects)):
            if mine := [row.review_id for each, row in found.rows if each == was]:
                one_of = dialect_of(connection).in_values(table.c.review_id, mine)
                connection.execute(delete(table).where(table.c.job_id == self.job.id, one_of))
        erase_texts(connection, tables_, found.texts.owners, for_good=True)
        fewer = tables_.jobs.c.uncounted_reviews - len(found.rows)
        connection.execute(update(tables_.jobs).where(tables_.jobs.c.id == self.job.id).values(uncounted_reviews=fewer))

    def _record(self, connection: Connection, found: _Found, request: ErasureRequest) -> None:
        """Write a row for each review."""
        texts = found.texts_by_owner
        kept: list[tuple[str, str | None, int | None, int]] = [
            (row.review_id, was, row.shard_id, texts.pop(row.review_id, 0)) for was, row in found.rows
        ]
        kept += [(owner, None, None, count) for owner, count in texts.items()]
        same = {"job_id": self.job.id, **vars(request), "erased_at": dialect_of(connection).now(connection)}
        rows = [
            {"review_hash": review_hash(review_id), "was": was, "shard_id": shard, "benchmark_texts": count, **same}
            for review_id, was, shard, count in kept
        ]
        if rows:
            connection.execute(insert(self.job.tables.erasures), rows)


def review_hash(review_id: str) -> bytes:
    """Return what `erasures` keeps of a review's canonical id: its SHA-256 in UTF-8.

    Ids of few digits can be guessed from it; it shows who knows the id that the review was erased.
    """
    return hashlib.sha256(review_id.encode()).digest()


def _parts(ids: Sequence[str]) -> Sequence[Sequence[str]]:
    return [
        part
        for start in range(0, len(ids), ROWS_PER_TRANSACTION)
        for part in by_bytes(ids[start : start + ROWS_PER_TRANSACTION])
    ]
