"""What databases do differently: the time, bulk writes, sets of keys, ids as text, and locks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Date,
    DateTime,
    LargeBinary,
    Table,
    Text,
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
    select,
    tuple_,
    type_coerce,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.types import TypeEngine

from review_scoring.reviews import screen_unicode
from review_scoring.warehouse.schema import UtcDateTime

Row = Mapping[str, Any]

MIGRATION_LOCK = 0x7265766965775F73
"""Key of the advisory lock under which the tables are migrated ("review_s" in ASCII)."""


class Dialect:
    """The plain path, in standard SQL: what every database can do, and what the others replace by something faster."""

    clock: ColumnElement[datetime] = func.current_timestamp()

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
            connection.execute(delete(table).where(columns.in_([tuple(row[key] for key in keys) for row in rows])))
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

    def plan_by_key(self, connection: Connection) -> None:
        """Have this transaction's statements planned along keys, whatever the planner believes of table sizes."""

    def lock_migrations(self, connection: Connection) -> None:
        """Wait until no other process migrates, and keep the others out until the transaction ends."""


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
        document = bindparam("document", json.dumps(list(rows), default=datetime.isoformat), Text)
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

    def plan_by_key(self, connection: Connection) -> None:
        """Rule out every plan but probing an index row by row.

        A table that grows by a chunk a second has no statistics yet: taken for empty, it is scanned whole for every
        page, and a night takes quadratic time. `jit` would compile for seconds what runs for milliseconds.
        """
        off = ("enable_seqscan", "enable_bitmapscan", "enable_hashjoin", "enable_mergejoin", "enable_material", "jit")
        connection.execute(select(*(func.set_config(setting, "off", literal(True)) for setting in off)))

    def lock_migrations(self, connection: Connection) -> None:
        """Take an advisory lock of this transaction."""
        connection.execute(select(func.pg_advisory_xact_lock(MIGRATION_LOCK)))


class SQLite(Dialect):
    """SQLite: one writer at a time, whose transactions begin with the write lock (see `engine.py`)."""

    clock = func.strftime("%Y-%m-%d %H:%M:%f000", "now")

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
_DIALECTS: dict[str, type[Dialect]] = {"postgresql": PostgreSQL, "sqlite": SQLite}


def dialect_of(connection_or_engine: Any) -> Dialect:
    """Return how the database behind a connection or engine does things."""
    return _DIALECTS.get(connection_or_engine.dialect.name, Dialect)()


def _plain(type_: TypeEngine[Any]) -> TypeEngine[Any]:
    """Return the type that a column has on PostgreSQL, as the element of an array."""
    return type_.dialect_impl(_POSTGRESQL)
