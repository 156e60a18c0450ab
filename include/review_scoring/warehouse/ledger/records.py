"""Which reviews have a score or a reject, and what is recorded of them."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, and_, literal, null, select

from review_scoring.warehouse.dialects import by_bytes, dialect_of
from review_scoring.warehouse.ledger.chunk import Recorded
from review_scoring.warehouse.ledger.transactions import JobTransactions


class Records(JobTransactions):
    """The scores and rejects of a job, looked up by review id."""

    def of(self, ids: Sequence[str]) -> dict[str, Recorded]:
        """Return the record of each of these reviews that has a score or a reject."""
        return self._read("looking up what is scored", lambda connection: self._look_up(connection, ids)) if ids else {}

    def missing(self, review_id: ColumnElement[str]) -> ColumnElement[bool]:
        """Return the SQL condition that a review, by its canonical id, has neither a score nor a reject."""
        as_probe = dialect_of(self.engine).as_probe
        found = (
            select(literal(1)).where(table.c.job_id == self.job.id, table.c.review_id == review_id)
            for table in (self.job.tables.scores, self.job.tables.rejects)
        )
        return and_(*(~as_probe(each).exists() for each in found))

    def _look_up(self, connection: Connection, ids: Sequence[str]) -> dict[str, Recorded]:
        dialect = dialect_of(connection)
        dialect.force_index_plans(connection)
        found: dict[str, Recorded] = {}
        scores, rejects, models = self.job.tables.scores, self.job.tables.rejects, self.job.tables.models
        for table, label, at in ((scores, scores.c.label, "scored_at"), (rejects, null(), "first_seen")):
            columns = [table.c[name] for name in ("review_id", "text_hash", "source_updated_at", "shard_id")]
            more = (label, models.c.name, models.c.revision, table.c[at])
            for part in by_bytes(ids):
                in_part = dialect.in_values(table.c.review_id, part)
                rows = select(*columns, *more).join_from(table, models, models.c.id == table.c.model_id)
                rows = rows.where(table.c.job_id == self.job.id, in_part)
                found |= {review_id: Recorded(*rest) for review_id, *rest in connection.execute(rows)}
        return found
