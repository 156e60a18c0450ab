"""Which reviews have a score or a reject, and what is recorded of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Table, and_, literal, null, select

from review_scoring.warehouse.dialects import by_bytes, dialect_of
from review_scoring.warehouse.ledger.chunk import Recorded
from review_scoring.warehouse.ledger.transactions import JobTransactions


class Records(JobTransactions):
    """The scores and rejects of a job, looked up by review id."""

    def of(self, ids: Sequence[str]) -> dict[str, Recorded]:
        """Return the record of each of these reviews that has a score or a reject."""
        return self._read("looking up what is scored", lambda connection: self._look_up(connection, ids)) if ids else {}

    def rejects(self, rows: int, reason: str | None, after: str | None, upto: str | None) -> dict[str, Recorded]:
        """Return the records of the first rejects in the order of their ids.

        :param rows: how many at most
        :param reason: only those with this reason; None for all
        :param after: only ids above this one, `upto` up to this one; None for no end
        """

        def look(connection: Connection) -> dict[str, Recorded]:
            ids = self.job.tables.rejects.c.review_id
            ends = [ids > after] if after is not None else []
            ends += [ids <= upto] if upto is not None else []
            ends += [self.job.tables.rejects.c.reason == reason] if reason is not None else []
            statement = self._of_table(self.job.tables.rejects).where(*ends).order_by(ids).limit(rows)
            return {review_id: Recorded(*rest) for review_id, *rest in connection.execute(statement)}

        return self._read("looking up rejects", look)

    def pages(self, rows: int) -> Iterator[list[str]]:
        """Yield the ids of all reviews that have a score or a reject, in pages of at most this many."""
        for table in (self.job.tables.scores, self.job.tables.rejects):
            after: str | None = None
            while page := self._read("reading recorded ids", partial(self._ids, table=table, after=after, rows=rows)):
                yield page
                after = page[-1]

    def missing(self, review_id: ColumnElement[str]) -> ColumnElement[bool]:
        """Return the SQL condition that a review, by its canonical id, has neither a score nor a reject."""
        as_probe = dialect_of(self.engine).as_probe
        found = (
            select(literal(1)).where(table.c.job_id == self.job.id, table.c.review_id == review_id)
            for table in (self.job.tables.scores, self.job.tables.rejects)
        )
        return and_(*(~as_probe(each).exists() for each in found))

    def _ids(self, connection: Connection, *, table: Table, after: str | None, rows: int) -> list[str]:
        beyond = [] if after is None else [table.c.review_id > after]
        ids = select(table.c.review_id).where(table.c.job_id == self.job.id, *beyond)
        return list(connection.scalars(ids.order_by(table.c.review_id).limit(rows)))

    def _look_up(self, connection: Connection, ids: Sequence[str]) -> dict[str, Recorded]:
        dialect = dialect_of(connection)
        dialect.force_index_plans(connection)
        found: dict[str, Recorded] = {}
        for table in (self.job.tables.scores, self.job.tables.rejects):
            for part in by_bytes(ids):
                rows = self._of_table(table).where(dialect.in_values(table.c.review_id, part))
                found |= {review_id: Recorded(*rest) for review_id, *rest in connection.execute(rows)}
        return found

    def _of_table(self, table: Table) -> Select[Any]:
        """Return the statement of the job's rows in one of the two tables, with the columns of :class:`Recorded`."""
        models = self.job.tables.models
        is_scored = table is self.job.tables.scores
        columns = [table.c[name] for name in ("review_id", "text_hash", "source_updated_at", "shard_id")]
        label, at = (table.c.label, table.c.scored_at) if is_scored else (null(), table.c.first_seen)
        rows = select(*columns, label, models.c.name, models.c.revision, at)
        return rows.join_from(table, models, models.c.id == table.c.model_id).where(table.c.job_id == self.job.id)
