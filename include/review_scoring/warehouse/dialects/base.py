"""What databases do differently, as SQL: the plain path, which every database takes, and sessions without settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Select,
    Table,
    delete,
    func,
    insert,
    literal,
    select,
    tuple_,
    type_coerce,
)
from sqlalchemy.types import TypeEngine

from review_scoring.warehouse.schema import UtcDateTime

Row = Mapping[str, Any]

ID_BYTES = 500_000
"""Bytes of ids that one statement carries: servers refuse statements above a megabyte, or above their packet size."""

BUSY_TIMEOUT_S = 30
"""Seconds that SQLite waits for another writer before it says "database is locked"."""

CONNECT_TIMEOUT_S = 10


class Session:
    """What a database without settings of its own needs: nothing."""

    isolation_level: str | None = None
    over_network = True

    def connect_args(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the driver is told, less what a Connection gives.

        :param given: what the Connection says, in its URL or beside it
        """
        del given
        return {}

    def prepare(self, engine: Engine) -> None:
        """Have each connection of an engine set up."""


class Dialect:
    """The plain path, in standard SQL: what every database can do, and what the others replace by something faster."""

    clock: ColumnElement[datetime] = func.current_timestamp()
    single_writer = False
    """Whether one process at a time writes, so that shards are of no use."""

    def now(self, connection: Connection) -> datetime:
        """Return the database's own time (aware, UTC), so that leases do not depend on the workers' clocks."""
        moment: datetime | None = connection.scalar(select(type_coerce(self.clock, UtcDateTime())))
        assert moment is not None
        return moment

    def upsert(self, connection: Connection, table: Table, rows: Sequence[Row]) -> None:
        """Write whole rows, each in place of the one with its key. A key stands in `rows` once at most."""
        if rows:
            keys = [column.name for column in table.primary_key]
            columns = tuple_(*(table.c[key] for key in keys))
            for part in by_bytes([tuple(row[key] for key in keys) for row in rows]):
                connection.execute(delete(table).where(columns.in_(part)))
            connection.execute(insert(table), list(rows))

    def in_values(self, column: ColumnElement[Any], values: Sequence[Any]) -> ColumnElement[bool]:
        """Return the condition that a column is one of many values."""
        return column.in_(values)

    def bound(self, value: object, type_: TypeEngine[Any]) -> ColumnElement[Any]:
        """Bind an id with its column's own type."""
        return literal(value, type_)

    def time_as_text(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        """Return an `updated_at` in a form that every driver can fetch."""
        return column

    def id_as_text(self, column: ColumnElement[Any]) -> ColumnElement[str] | None:
        """Return a column's canonical id as the database itself makes it, or None where that is not certain."""
        del column
        return None

    def locked(self, statement: Select[Any]) -> Select[Any]:
        """Lock the rows that a statement gives until the transaction ends."""
        return statement.with_for_update()

    def force_index_plans(self, connection: Connection, *, has_index: bool = True, bitmaps: bool = False) -> None:
        """Have what is read on this connection planned along keys, whatever the planner believes of table sizes.

        :param has_index: the table that is read in key order has an index to go by; a view has none
        :param bitmaps: two ranges of an index may be read together, as those above a value and without one
        """

    def as_probe(self, statement: Select[Any]) -> Select[Any]:
        """Have a subquery in EXISTS look its rows up one by one, and never read its table whole."""
        return statement

    @contextmanager
    def exclusive(self, connection: Connection, schema: str | None) -> Iterator[None]:
        """Wait until no other process is in such a block with these tables, and keep the others out meanwhile."""
        del connection, schema
        yield


def by_bytes(ids: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Cut ids into parts of about `ID_BYTES` bytes."""
    part: list[Any] = []
    size = 0
    for each in ids:
        if size >= ID_BYTES:
            yield part
            part, size = [], 0
        part.append(each)
        size += len(str(each).encode(errors="replace")) + 8
    if part:
        yield part
