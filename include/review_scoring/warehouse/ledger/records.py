"""Which reviews have a score or a reject, and what is recorded of them."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, and_, func, literal, null, outerjoin, select

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
        scores, rejects, runs = self.job.tables.scores, self.job.tables.rejects, self.job.tables.runs
        scored = (scores.c.label, scores.c.model, scores.c.revision, scores.c.scored_at)
        # An earlier version kept model and revision of a reject with its run alone.
        model = func.coalesce(rejects.c.model, runs.c.model)
        rejected = (null(), model, func.coalesce(rejects.c.revision, runs.c.revision), rejects.c.first_seen)
        with_run = outerjoin(rejects, runs, rejects.c.run_id == runs.c.id)
        for table, joined, more in ((scores, scores, scored), (rejects, with_run, rejected)):
            columns = (table.c.review_id, table.c.text_hash, table.c.source_updated_at, table.c.run_id, *more)
            for part in by_bytes(ids):
                in_part = dialect.in_values(table.c.review_id, part)
                rows = select(*columns).select_from(joined).where(table.c.job_id == self.job.id, in_part)
                found |= {review_id: Recorded(*rest) for review_id, *rest in connection.execute(rows)}
        return found
