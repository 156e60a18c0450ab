"""The dialect of any database, in standard SQL, which the other dialects override; and a session without settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    FromClause,
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

from review_scoring.warehouse.column_types import UtcDateTime

Row = Mapping[str, Any]

ID_BYTES = 500_000
"""Bytes of ids in one statement: servers refuse statements above a megabyte, or above their packet size."""

BUSY_TIMEOUT_S = 30
"""Timeout in seconds for another writer of SQLite, before its error "database is locked"."""

CONNECT_TIMEOUT_S = 10


class Session:
    """Settings of a connection: none, for a database that needs none."""

    isolation_level: str | None = None
    pings = True
    """Whether an idle connection is checked before it is used, since it may have been dropped."""

    def connect_args(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return arguments of the driver, without those that the Connection sets itself.

        :param given: the Connection's own arguments, in its URL or its extras
        """
        del given
        return {}

    def prepare(self, engine: Engine) -> None:
        """Set up each connection of an engine."""


class Dialect:
    """Statements in standard SQL, which every database can run and other dialects replace by faster ones."""

    clock: ColumnElement[datetime] = func.current_timestamp()
    single_writer = False
    """Whether only one process at a time can write, so that shards are useless."""

    compares_rows = False
    """Whether an index on two columns serves `(a, b) < (1, 2)`."""

    unfit_as_ledger: str | None = None
    """Why it cannot hold the scores, with its name; None for a database that can."""

    enforces_keys = True
    """Whether a column that is declared as unique is."""

    reads_few_rows = True
    """Whether a LIMIT keeps a statement from reading the whole table."""

    id_page_rows = 10_000
    """Ids in a page that is compared with the ledger; ids are small, unlike texts."""

    text_rows = 0
    """Texts that one statement fetches by their ids, at least; 0 for those of one chunk."""

    charges_for_statements = False
    """Whether each statement has a price, so that a dry run tells what a run costs."""

    def now(self, connection: Connection) -> datetime:
        """Return the database's time (aware, UTC), so that leases do not depend on the workers' clocks."""
        moment: datetime | None = connection.scalar(select(type_coerce(self.clock, UtcDateTime())))
        assert moment is not None
        return moment

    def upsert(self, connection: Connection, table: Table, rows: Sequence[Row]) -> None:
        """Insert rows, and replace those with the same key. A key occurs at most once in `rows`."""
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
        """Bind an id with the type of its column."""
        return literal(value, type_)

    def column_type(self, type_: TypeEngine[Any]) -> TypeEngine[Any]:
        """Return the generic type for a reflected one that SQLAlchemy's dialect does not derive from it."""
        return type_

    def time_as_text(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        """Return an `updated_at` column in a form that every driver can fetch."""
        return column

    def id_as_text(self, column: ColumnElement[Any]) -> ColumnElement[str] | None:
        """Return an expression for a column's canonical id, or None where SQL may print it differently from Python."""
        del column
        return None

    def estimated_rows(self, connection: Connection, table: FromClause) -> int | None:
        """Return how many rows the planner expects in a table, without counting; None where it does not know."""
        del connection, table
        return None

    def bytes_read(self, connection: Connection, statement: str, parameters: Any) -> int | None:
        """Return the most bytes that a statement would read, without running it; None where the database does not know.

        :param statement: as the driver takes it, like the parameters
        :raises sqlalchemy.exc.SQLAlchemyError: if the database does not accept the question
        """
        del connection, statement, parameters
        return None

    def locked(self, statement: Select[Any]) -> Select[Any]:
        """Lock the rows that a statement returns until the transaction ends."""
        return statement.with_for_update()

    def force_index_plans(self, connection: Connection, *, has_index: bool = True, bitmaps: bool = False) -> None:
        """Force plans that follow the keys on this connection, whatever the planner's statistics.

        :param has_index: the table that is read in key order has an index; a view has none
        :param bitmaps: two ranges of an index may be combined, such as values above a limit and NULLs
        """

    def limit_statements(self, connection: Connection, seconds: int) -> None:
        """Have the database end a statement of this transaction that takes longer, where it can."""
        del connection, seconds

    def as_probe(self, statement: Select[Any]) -> Select[Any]:
        """Return a subquery for EXISTS that probes an index row by row, and never scans its table."""
        return statement

    @contextmanager
    def exclusive(self, connection: Connection, schema: str | None) -> Iterator[None]:
        """Enter the block as the only process for these tables; wait until others have left it."""
        del connection, schema
        yield

    @contextmanager
    def brief_waits(self, connection: Connection) -> Iterator[None]:
        """Limit how long DDL waits for a table in the block: whoever wants the table next waits behind it."""
        del connection
        yield


def by_bytes(ids: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Split ids into parts of about `ID_BYTES` bytes."""
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
