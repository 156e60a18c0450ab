"""A job's cursor as kept between runs: its highest value seen, and when a full pass last began."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, select, update

from review_scoring.warehouse.dialects import dialect_of
from review_scoring.warehouse.ledger.transactions import JobTransactions


class CursorState(NamedTuple):
    """The highest value seen, as text; when a full pass last began; and the time now, in the database's clock."""

    seen: str | None
    full_pass_at: datetime | None
    now: datetime


class JobCursor(JobTransactions):
    """The cursor of a job."""

    def state(self) -> CursorState:
        """Return the state that earlier runs left."""
        jobs = self.job.tables.jobs

        def look(connection: Connection) -> CursorState:
            row = connection.execute(select(jobs).where(jobs.c.id == self.job.id)).one()
            return CursorState(row.cursor_seen, row.full_pass_at, dialect_of(connection).now(connection))

        return self._read("looking up the cursor", look)

    def advance(self, seen: str, *, is_full_pass: bool) -> None:
        """Record the highest value of a pass over the source that is complete."""
        jobs = self.job.tables.jobs

        def write(connection: Connection) -> None:
            values: dict[str, Any] = {"cursor_seen": seen}
            if is_full_pass:
                values["full_pass_at"] = dialect_of(connection).now(connection)
            connection.execute(update(jobs).where(jobs.c.id == self.job.id).values(values))

        self._write("moving the cursor", write)
