"""A job's cursor as kept between runs: its highest value seen, the backlog, and when a full pass last began."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, select, update

from review_scoring.warehouse.dialects import dialect_of
from review_scoring.warehouse.ledger.transactions import JobTransactions


class CursorState(NamedTuple):
    """What earlier runs left, and the time now, by the database's clock. Values of the cursor are kept as text.

    :param seen: the highest value seen
    :param backlog: the value at which the last run used up its budget; rows at or below it may wait. None if none do
    :param full_pass_at: when a full pass last began
    """

    seen: str | None
    backlog: str | None
    full_pass_at: datetime | None
    now: datetime


class JobCursor(JobTransactions):
    """The cursor of a job."""

    def state(self) -> CursorState:
        """Return the state that earlier runs left."""
        jobs = self.job.tables.jobs

        def look(connection: Connection) -> CursorState:
            row = connection.execute(select(jobs).where(jobs.c.id == self.job.id)).one()
            return CursorState(
                row.cursor_seen, row.cursor_backlog, row.full_pass_at, dialect_of(connection).now(connection)
            )

        return self._read("looking up the cursor", look)

    def advance(self, seen: str, *, backlog: str | None, is_full_pass: bool) -> None:
        """Record how far a run has come: the values as in :class:`CursorState`."""
        jobs = self.job.tables.jobs

        def write(connection: Connection) -> None:
            values: dict[str, Any] = {"cursor_seen": seen, "cursor_backlog": backlog}
            if is_full_pass:
                values["full_pass_at"] = dialect_of(connection).now(connection)
            connection.execute(update(jobs).where(jobs.c.id == self.job.id).values(values))

        self._write("moving the cursor", write)
