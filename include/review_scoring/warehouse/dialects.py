"""What databases do differently: the time, bulk writes, sets of keys, ids as text, and locks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Date,
    DateTime,
    Integer,
    LargeBinary,
    Select,
    String,
    Table,
    Text,
    Uuid,
    any_,
    bindparam,
    cast,
    collate,
    column,
    create_mock_engine,
    delete,
    func,
    insert,
    literal,
    literal_column,
    select,
    tuple_,
    type_coerce,
)
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.types import TypeEngine

from review_scoring.errors import WarehouseUnavailableError
from review_scoring.reviews import screen_unicode
from review_scoring.warehouse.schema import UtcDateTime
from review_scoring.warehouse.sessions import SET_STATEMENT

Row = Mapping[str, Any]

MIGRATION_LOCK = 0x7265766965775F73
"""Key of the advisory lock under which the tables are migrated ("review_s" in ASCII)."""

MIGRATION_PATIENCE_S = 300

ID_BYTES = 500_000
"""Bytes of ids that one statement carries: servers refuse statements above a megabyte, or above their packet size."""


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

    def member(self, column: ColumnElement[Any], values: Sequence[Any]) -> ColumnElement[bool]:
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

    def plan_by_key(self, connection: Connection, *, has_index: bool = True, bitmaps: bool = False) -> None:
        """Have what is read on this connection planned along keys, whatever the planner believes of table sizes.

        :param has_index: the table that is read in key order has an index to go by; a view has none
        :param bitmaps: two ranges of an index may be read together, as those above a value and without one
        """

    def looked_up(self, statement: Select[Any]) -> Select[Any]:
        """Have a subquery in EXISTS look its rows up one by one, and never read its table whole."""
        return statement

    @contextmanager
    def one_at_a_time(self, connection: Connection, schema: str | None) -> Iterator[None]:
        """Wait until no other process is in such a block with these tables, and keep the others out meanwhile."""
        del connection, schema
        yield


class PostgreSQL(Dialect):
    """PostgreSQL: arrays instead of long lists, and its own upsert."""

    clock = func.clock_timestamp()
    _exact = (
        postgresql.INTEGER,
        postgresql.BIGINT,
        postgresql.SMALLINT,
        postgresql.UUID,
        postgresql.TEXT,
        postgresql.VARCHAR,
    )

    def upsert(self, connection: Connection, table: Table, rows: Sequence[Row]) -> None:
        """Send all rows as one JSON document: a fifth of the client's work for arrays, and no staging table."""
        if not rows:
            return
        # Not as ASCII: a database without an encoding takes no escapes of other characters.
        document = bindparam("document", json.dumps(list(rows), default=datetime.isoformat, ensure_ascii=False), Text)
        typed = [column(each.name, _plain(each.type)) for each in table.columns]
        incoming = func.json_to_recordset(cast(document, postgresql.JSON)).table_valued(*typed, name="incoming")
        source = incoming.render_derived(with_types=True)
        names = [each.name for each in table.columns]
        statement = postgresql.insert(table).from_select(names, select(*(source.c[name] for name in names)))
        keys = [column.name for column in table.primary_key]
        changes = {name: statement.excluded[name] for name in names if name not in keys}
        connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=changes))

    def member(self, column: ColumnElement[Any], values: Sequence[Any]) -> ColumnElement[bool]:
        """Compare with one array, whose plan does not depend on how many values it holds."""
        return column == any_(cast(bindparam(None, list(values)), postgresql.ARRAY(_plain(column.type))))

    def bound(self, value: object, type_: TypeEngine[Any]) -> ColumnElement[Any]:
        """Cast as well: `char(5)` and `varchar` do not compare alike."""
        return cast(literal(value, type_), type_)

    def id_as_text(self, column: ColumnElement[Any]) -> ColumnElement[str] | None:
        """Cast to text, compared byte by byte. `char(n)`, `citext` and `numeric` print otherwise than in Python."""
        return collate(cast(column, Text), "C") if type(column.type) in self._exact else None

    def time_as_text(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        """Return seconds since 1970 as text: no session's time zone is in it, and `infinity` can be fetched."""
        is_time = isinstance(column.type, DateTime | Date)
        return cast(func.extract("epoch", column) if is_time else column, Text)

    def looked_up(self, statement: Select[Any]) -> Select[Any]:
        """Keep the planner from making a join of it: with an OFFSET, it cannot."""
        return statement.offset(literal_column("0"))

    def plan_by_key(self, connection: Connection, *, has_index: bool = True, bitmaps: bool = False) -> None:
        """Rule out every plan but probing an index row by row. A view is planned as its author meant it.

        A table that grows by a chunk a second has no statistics yet: taken for empty, it is scanned whole for every
        page, and a night takes quadratic time. `jit` would compile for seconds what runs for milliseconds.
        """
        if not has_index:
            return
        off = ["enable_seqscan", "enable_hashjoin", "enable_mergejoin", "enable_material", "jit"]
        off += [] if bitmaps else ["enable_bitmapscan"]
        connection.execute(select(*(func.set_config(setting, "off", literal(True)) for setting in off)))

    @contextmanager
    def one_at_a_time(self, connection: Connection, schema: str | None) -> Iterator[None]:
        """Take an advisory lock, which the end of the transaction gives back."""
        del schema
        connection.execute(select(func.pg_advisory_xact_lock(MIGRATION_LOCK)))
        yield


class DuckDB(Dialect):
    """DuckDB: a file that one process opens at a time; the plain path does the rest."""

    single_writer = True

    def locked(self, statement: Select[Any]) -> Select[Any]:
        """Leave the statement as it is: nobody else is there, and a run writes with one thread."""
        return statement

    def id_as_text(self, column: ColumnElement[Any]) -> ColumnElement[str] | None:
        """Cast to text, which is compared byte by byte unless a column says otherwise."""
        is_exact = isinstance(column.type, Integer | Uuid | String) and not getattr(column.type, "collation", None)
        return cast(column, Text) if is_exact else None


class MySQL(Dialect):
    """MySQL and MariaDB: no DDL in transactions, and collations in which `a1`, `A1` and `a1 ` are equal."""

    clock = func.utc_timestamp(6)
    _bytewise = "utf8mb4_0900_bin"

    def upsert(self, connection: Connection, table: Table, rows: Sequence[Row]) -> None:
        """Send as many rows in one statement as the driver packs into one."""
        if not rows:
            return
        statement = mysql.insert(table)
        changes = {c.name: statement.inserted[c.name] for c in table.columns if not c.primary_key}
        connection.execute(statement.on_duplicate_key_update(changes), list(rows))

    def id_as_text(self, column: ColumnElement[Any]) -> ColumnElement[str] | None:
        """Cast to text, compared byte by byte. Zero-filled numbers print otherwise than in Python."""
        type_ = column.type
        if getattr(type_, "zerofill", False) or not isinstance(type_, Integer | mysql.VARCHAR):
            return None
        return collate(cast(column, mysql.CHAR(charset="utf8mb4")), self._bytewise)

    @contextmanager
    def one_at_a_time(self, connection: Connection, schema: str | None) -> Iterator[None]:
        """Take a lock of this connection; the server gives it back if the process dies."""
        database = connection.scalar(select(func.database())) if schema is None else schema
        name = hashlib.sha256(f"review_scoring {database}".encode()).hexdigest()  # of the whole server, 64 characters
        if connection.scalar(select(func.get_lock(name, MIGRATION_PATIENCE_S))) != 1:
            raise WarehouseUnavailableError(
                f"another process has kept the tables to itself for {MIGRATION_PATIENCE_S} s"
            )
        try:
            yield
            connection.exec_driver_sql("COMMIT")  # who waits for the lock has to see what was done under it
        finally:
            if not connection.invalidated:  # with the connection, the lock is gone
                connection.execute(select(func.release_lock(name)))


class MariaDB(MySQL):
    """MariaDB: its own name of the collation, and its own ideas of how to plan."""

    _bytewise = "utf8mb4_nopad_bin"

    def plan_by_key(self, connection: Connection, *, has_index: bool = True, bitmaps: bool = False) -> None:
        """Rule out that the scores are read whole, into a temporary table, for every page of the source.

        For each statement of this connection and not for the session: what stays set there, the pool hands on. Without
        `exists_to_in` the cache of subqueries has to be off too: it compares ids in the source's collation.
        """
        del has_index, bitmaps
        switches = "exists_to_in=off,materialization=off,subquery_cache=off"
        variables = f"optimizer_switch = '{switches}', in_predicate_conversion_threshold = 0"
        connection.execution_options(**{SET_STATEMENT: variables})


class SQLite(Dialect):
    """SQLite: one writer at a time, whose transactions begin with the write lock (see `engine.py`)."""

    clock = func.strftime("%Y-%m-%d %H:%M:%f000", "now")
    single_writer = True

    def upsert(self, connection: Connection, table: Table, rows: Sequence[Row]) -> None:
        """One prepared statement, run for each row inside the process."""
        if not rows:
            return
        statement = sqlite.insert(table)
        keys = [column.name for column in table.primary_key]
        changes = {c.name: statement.excluded[c.name] for c in table.columns if c.name not in keys}
        connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=changes), list(rows))

    def bound(self, value: object, type_: TypeEngine[Any]) -> ColumnElement[Any]:
        """Bind an id as it is; one that is no valid UTF-8 goes as its bytes."""
        if isinstance(value, str) and screen_unicode(value) is not None:
            return cast(literal(value.encode("utf-8", "surrogateescape"), LargeBinary), Text)
        return literal(value, type_)

    def id_as_text(self, column: ColumnElement[Any]) -> ColumnElement[str] | None:
        """Cast to text: what it gives for integers and strings is what Python gives."""
        return cast(column, Text)


_POSTGRESQL = create_mock_engine("postgresql+psycopg://", executor=lambda *_: None).dialect
_DIALECTS: dict[str, type[Dialect]] = {
    "postgresql": PostgreSQL,
    "sqlite": SQLite,
    "duckdb": DuckDB,
    "mysql": MySQL,
    "mariadb": MariaDB,
}


def dialect_of(connection_or_engine: Any) -> Dialect:
    """Return how the database behind a connection or engine does things."""
    return _DIALECTS.get(dialect_name(connection_or_engine), Dialect)()


def dialect_name(connection_or_engine: Any) -> str:
    """Name the database: `mysql://` may lead to MariaDB too, as SQLAlchemy knows after the first connection."""
    dialect = connection_or_engine.dialect
    return "mariadb" if getattr(dialect, "is_mariadb", False) else str(dialect.name)


def _plain(type_: TypeEngine[Any]) -> TypeEngine[Any]:
    """Return the type that a column has on PostgreSQL, as the element of an array."""
    return type_.dialect_impl(_POSTGRESQL)


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
