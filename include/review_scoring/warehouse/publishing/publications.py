"""The row of a job and a destination in `publications`: who publishes now, and what was published last."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, and_, insert, select, update

from review_scoring.errors import JobBusyError, LeaseLostError
from review_scoring.warehouse.dialects import dialect_of
from review_scoring.warehouse.ledger.held_lease import LEASE_S, lease_until
from review_scoring.warehouse.ledger.preemption import lock_job
from review_scoring.warehouse.ledger.transactions import JobTransactions


@dataclass(frozen=True)
class Published:
    """The state of the ledger that a destination has.

    :param token: the highest fencing token of the shards that were looked at
    :param erasure: the id of the last erasure that was published
    :param left: ids of the shards up to `token` that may still have something to publish
    :param rows: rows of the job in the table afterwards; None if an attempt that did not succeed may have changed them
    :param at: when the publication began
    :param age: how long ago that is
    """

    token: int
    erasure: int
    left: Sequence[int]
    rows: int | None
    at: datetime
    age: timedelta = timedelta()


@dataclass(frozen=True)
class Attempt:
    """A publication in progress.

    :param number: counts the attempts for this destination
    :param published: the last one that succeeded; None for the first
    :param began: when, by the clock of the ledger's database
    """

    destination: str
    number: int
    published: Published | None
    began: datetime


class Publications(JobTransactions):
    """The publications of a job, one at a time for each destination."""

    def begin(self, destination: str, holder: str) -> Attempt:
        """Take the lease of a destination, and return what was published last.

        :param destination: names the Connection and the table
        :param holder: the task that publishes; another try of it takes over from the one before
        :raises JobBusyError: if another task publishes to the same destination
        """
        return self._write("beginning to publish", lambda c: self._begin(c, destination, holder))

    def renew(self, attempt: Attempt) -> None:
        """Renew the lease.

        :raises LeaseLostError: if another attempt has begun
        """

        def write(connection: Connection) -> None:
            self._set(connection, attempt, lease_until(dialect_of(connection).now(connection)))

        self._write("renewing the lease of a publication", write)

    def end(self, attempt: Attempt, published: Published | None, run: str) -> None:
        """Give the lease back, and record what was published; None for nothing.

        :param run: the DAG run that published
        :raises LeaseLostError: if another attempt has begun
        """

        def write(connection: Connection) -> None:
            now = dialect_of(connection).now(connection)
            values: dict[str, Any] = {"lease_until": now}
            if published is not None:
                values |= {
                    "published_attempt": attempt.number,
                    "published_token": published.token,
                    "published_erasure": published.erasure,
                    "withheld_shards": json.dumps(list(published.left)),
                    "table_rows": published.rows,
                    "published_in": run,
                    "published_at": published.at,
                }
            self._set(connection, attempt, values)

        self._write("recording the publication", write)

    def published(self, destination: str) -> Published | None:
        """Return what was published last; None for nothing."""

        def look(connection: Connection) -> Published | None:
            return _published(self._row(connection, destination), dialect_of(connection).now(connection))

        return self._read("looking up the last publication", look)

    def _begin(self, connection: Connection, destination: str, holder: str) -> Attempt:
        table = self.job.tables.publications
        lock_job(connection, self.job)
        now = dialect_of(connection).now(connection)
        row = self._row(connection, destination)
        if row is not None and row.lease_until > now and row.lease_holder != holder:
            raise JobBusyError(
                f"{row.lease_holder} publishes scores of job {self.job.name!r} to {destination}, and was last seen "
                f"alive less than {LEASE_S} s ago; wait until it has ended"
            )
        number = 1 if row is None else row.attempts + 1
        values = {"attempts": number, "lease_holder": holder, **lease_until(now)}
        if row is None:
            connection.execute(insert(table).values(job_id=self.job.id, destination=destination, **values))
        else:
            connection.execute(update(table).where(table.c.id == row.id).values(values))
        return Attempt(destination, number, _published(row, now), now)

    def _row(self, connection: Connection, destination: str) -> Any:
        table = self.job.tables.publications
        mine = and_(table.c.job_id == self.job.id, table.c.destination == destination)
        return connection.execute(select(table).where(mine)).one_or_none()

    def _set(self, connection: Connection, attempt: Attempt, values: dict[str, Any]) -> None:
        table = self.job.tables.publications
        mine = (
            table.c.job_id == self.job.id,
            table.c.destination == attempt.destination,
            table.c.attempts == attempt.number,
        )
        if not connection.execute(update(table).where(*mine).values(values)).rowcount:
            raise LeaseLostError(
                f"another task publishes to {attempt.destination} now; it writes everything that this one would have"
            )


def _published(row: Any, now: datetime) -> Published | None:
    if row is None or row.published_attempt is None:
        return None
    return Published(
        token=row.published_token,
        erasure=row.published_erasure,
        left=json.loads(row.withheld_shards),
        rows=row.table_rows if row.attempts == row.published_attempt else None,
        at=row.published_at,
        age=now - row.published_at,
    )
