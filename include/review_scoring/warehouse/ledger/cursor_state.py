"""A job's cursor as kept between runs: its highest value seen, the backlog, and when a full pass last began."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, select, update

from review_scoring.warehouse.dialects import dialect_of
from review_scoring.warehouse.ledger.transactions import JobTransactions


class CursorState(NamedTuple):
    """What earlier runs left, and the time now, by the database's clock. Values of the cursor are kept as text.

    :param seen: the highest value seen
    :param backlog: the value at which the last run used up its budget; rows at or below it may wait. None if none do
    :param full_pass_at: when a full pass last began
    :param changes_seen: the highest value of `updated_at` up to which recorded reviews were compared
    :param compared_at: when all of them were last compared
    """

    seen: str | None
    backlog: str | None
    full_pass_at: datetime | None
    changes_seen: str | None
    compared_at: datetime | None
    now: datetime

    @classmethod
    def of_new_job(cls) -> CursorState:
        """Return the state of a job that has nothing recorded, by the clock of this machine."""
        return cls(None, None, None, None, None, datetime.now(UTC))


_COLUMNS = {
    "seen": "cursor_seen",
    "backlog": "cursor_backlog",
    "full_pass_at": "full_pass_at",
    "changes_seen": "changes_seen",
    "compared_at": "compared_at",
}


class JobCursor(JobTransactions):
    """The cursor of a job."""

    def state(self) -> CursorState:
        """Return the state that earlier runs left."""
        jobs = self.job.tables.jobs

        def look(connection: Connection) -> CursorState:
            columns = (jobs.c[name].label(field) for field, name in _COLUMNS.items())
            row = connection.execute(select(*columns).where(jobs.c.id == self.job.id)).one()
            return CursorState(**row._mapping, now=dialect_of(connection).now(connection))

        return self._read("looking up the cursor", look)

    def advance(
        self, before: tuple[str | None, str | None], seen: str, *, backlog: str | None, is_full_pass: bool
    ) -> None:
        """Record how far a run has come: the values as in :class:`CursorState`.

        :param before: `seen` and `backlog` when the run was planned. If another run has moved them since, they stay
        """
        jobs = self.job.tables.jobs
        unmoved = (
            jobs.c.cursor_seen.is_not_distinct_from(before[0]),
            jobs.c.cursor_backlog.is_not_distinct_from(before[1]),
        )

        def write(connection: Connection) -> None:
            values: dict[str, Any] = {"cursor_seen": seen, "cursor_backlog": backlog}
            if is_full_pass:
                values["full_pass_at"] = dialect_of(connection).now(connection)
            connection.execute(update(jobs).where(jobs.c.id == self.job.id, *unmoved).values(values))

        self._write("moving the cursor", write)

    def advance_changes(self, before: str | None, seen: str | None, *, is_full: bool) -> None:
        """Record up to which value of `updated_at` recorded reviews were compared, and whether all of them were.

        :param before: the value when the run was planned. If another run has moved it since, it stays
        """
        jobs = self.job.tables.jobs

        def write(connection: Connection) -> None:
            values: dict[str, Any] = {"changes_seen": seen}
            if is_full:
                values["compared_at"] = dialect_of(connection).now(connection)
            unmoved = jobs.c.changes_seen.is_not_distinct_from(before)
            connection.execute(update(jobs).where(jobs.c.id == self.job.id, unmoved).values(values))

        self._write("recording what was compared", write)
