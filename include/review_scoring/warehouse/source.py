"""Where reviews come from: a table or view, read in key order, a page at a time, each in a transaction of its own."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias
from uuid import UUID

from sqlalchemy import (
    ColumnClause,
    ColumnElement,
    Engine,
    Row,
    Select,
    Uuid,
    and_,
    case,
    column,
    false,
    func,
    inspect,
    select,
    table,
    true,
    type_coerce,
    union_all,
)
from sqlalchemy import exc as sa_exc
from sqlalchemy.dialects import mysql
from sqlalchemy.engine.interfaces import ReflectedColumn
from sqlalchemy.types import DateTime, Float, Integer, NullType, Numeric, String, TypeEngine

from review_scoring.errors import PreflightError, WarehouseUnavailableError
from review_scoring.job import ScoringJob
from review_scoring.reviews import Review, canonical_id, canonical_time
from review_scoring.stop import StopFlag
from review_scoring.warehouse.dialects import dialect_of
from review_scoring.warehouse.engine import same_database
from review_scoring.warehouse.retry import describe, is_unreachable, patiently

NativeId: TypeAlias = Any
"""An id as the driver gives and takes it: int, str, UUID or Decimal."""

SourceRow: TypeAlias = Row[Any]

FEW_REPEATS = 20
"""Repeated ids that are rejects of single rows; more of them, and more than a tenth, mean that the column is no id."""

UNIQUENESS_SAMPLE = 10_000
"""Rows of a source without a unique key that are looked at before a run."""


@dataclass(frozen=True)
class KeyRange:
    """Ids above `after` and up to `upto`, in the source's own order; None leaves that end open."""

    after: NativeId | None = None
    upto: NativeId | None = None


EVERYTHING = KeyRange()


@dataclass(frozen=True)
class ReviewSource:
    """A source that was looked at and found readable. Made by :func:`open_source`."""

    engine: Engine
    name: str
    id_type: str
    id: ColumnElement[Any]
    text: ColumnElement[Any]
    updated_at: ColumnElement[Any] | None
    cursor: ColumnClause[Any] | None
    id_is_unique: bool
    id_is_nullable: bool
    stop: StopFlag = field(default_factory=StopFlag)

    def pages(
        self, rows: int, *, texts: bool, where: ColumnElement[bool] | None = None, keys: KeyRange = EVERYTHING
    ) -> Iterator[Sequence[SourceRow]]:
        """Yield pages of about `rows` rows (id, updated_at and, with `texts`, text), in the source's order.

        Every row whose id is not NULL is in exactly one page; rows whose ids the source takes for equal are in the
        same page. Nothing is held open between pages.
        """
        columns = select(*self._columns(texts=texts)).where(where if where is not None else true())
        while True:
            within = self._within(keys) or [self.id.is_not(None)]
            page = self._fetch(columns.where(*within).order_by(self.id).limit(rows))
            if not page:
                return
            full = len(page) >= rows
            keys = replace(keys, after=page[-1].id)
            if full and not self.id_is_unique:
                equal = self._fetch(columns.where(self.id == self._bound(keys.after)))
                ids = {row.id for row in equal}
                page = [row for row in page if row.id not in ids] + list(equal)
            yield page
            if not full:
                return

    def reviews(self, ids: Sequence[NativeId]) -> Sequence[SourceRow]:
        """Return id, updated_at and text of the rows with these ids that are still there, in no particular order."""
        if not ids:
            return []
        member = dialect_of(self.engine).member(self.id, ids)
        return self._fetch(select(*self._columns(texts=True)).where(member))

    def count(self, where: ColumnElement[bool], keys: KeyRange) -> int:
        """Return how many rows with an id meet a condition."""
        statement = select(func.count().label("n")).where(self.id.is_not(None), where, *self._within(keys))
        return int(self._fetch(statement)[0].n)

    def ends(
        self, where: ColumnElement[bool], keys: KeyRange, *, most: int, least: int, limit: int | None = None
    ) -> Sequence[tuple[NativeId, int]]:
        """Cut the first `limit` rows that meet a condition into parts of equal numbers of rows, in the database.

        :param most: number of parts at most
        :param least: rows of a part at least
        :return: the last id of each part but the last, in the source's order, and how many rows there are up to it
        """
        rows = select(self.id.label("id")).where(self.id.is_not(None), where, *self._within(keys))
        if limit is not None:
            rows = rows.order_by(self.id).limit(limit)
        met = rows.subquery("met")
        place, total = func.row_number().over(order_by=met.c.id), func.count().over()
        row = select(met.c.id, place.label("place"), total.label("total")).subquery("numbered").c
        parts = case((row.total > most * least, most), else_=(row.total + (least - 1)) // least)
        # A part ends where place * parts / total passes a whole number.
        is_end = and_(row.place * parts % row.total < parts, row.place < row.total)
        return [(end.id, end.place) for end in self._fetch(select(row.id, row.place).where(is_end).order_by(row.place))]

    def highest_cursor(self) -> Any:
        """Return the highest value of the cursor column: an integer or a time; None for an empty source."""
        return self._fetch(select(func.max(self.cursor).label("highest")))[0].highest

    def overlap(self, one: KeyRange, other: KeyRange) -> bool:
        """Say whether two ranges of ids have an id in common. Where one shard is scored at a time, all do."""
        if dialect_of(self.engine).single_writer:
            return True
        return self._may_precede(one.after, other.upto) and self._may_precede(other.after, one.upto)

    def _may_precede(self, lower: NativeId | None, upper: NativeId | None) -> bool:
        """Compare two ids as the source does; None is an open end."""
        if lower is None or upper is None:
            return True
        if self.id_type == "integer":
            return bool(lower < upper)
        one, other = self._as_id(lower), self._as_id(upper)
        return bool(self._fetch(select((one < other).label("precedes")))[0].precedes)

    def _as_id(self, value: NativeId) -> ColumnElement[Any]:
        """Give a value the type and the collation of the id column, which a literal does not have everywhere."""
        of_its_type = select(self.id.label("id")).where(false())
        return union_all(of_its_type, select(self._bound(value))).scalar_subquery()

    def review(self, row: SourceRow, review_id: str) -> Review:
        """Turn a row with its text into a review."""
        return Review(review_id, row.text, None if self.updated_at is None else canonical_time(row.updated_at))

    def null_ids(self) -> int:
        """Return how many rows have no id."""
        if not self.id_is_nullable:
            return 0
        return int(self._fetch(select(func.count().label("n")).where(self.id.is_(None)))[0].n)

    def id_as_text(self, target: Engine) -> ColumnElement[str] | None:
        """Return the canonical id as SQL, if a statement in `target` may name this table and both agree on it."""
        return dialect_of(self.engine).id_as_text(self.id) if same_database(self.engine, target) else None

    def _columns(self, *, texts: bool) -> list[ColumnElement[Any]]:
        columns: list[ColumnElement[Any]] = [self.id.label("id")]
        if self.updated_at is not None:
            columns.append(self.updated_at.label("updated_at"))
        if texts:
            columns.append(self.text.label("text"))
        return columns

    def _within(self, keys: KeyRange) -> list[ColumnElement[bool]]:
        above = [self.id > self._bound(keys.after)] if keys.after is not None else []
        return above + ([self.id <= self._bound(keys.upto)] if keys.upto is not None else [])

    def _bound(self, value: NativeId) -> ColumnElement[Any]:
        return dialect_of(self.engine).bound(value, self.id.type)

    def _fetch(self, statement: Select[Any]) -> Sequence[SourceRow]:
        def fetch() -> Sequence[SourceRow]:
            with self.engine.connect() as connection:
                if self.id_is_unique:  # a table with an index to go by; a view is planned as its author meant it
                    dialect_of(connection).plan_by_key(connection)
                return connection.execute(statement).all()

        return patiently(fetch, what=f"reading {self.name}", stop=self.stop)


def open_source(engine: Engine, job: ScoringJob, stop: StopFlag | None = None) -> ReviewSource:
    """Look at a job's source table and return it ready to read.

    :raises PreflightError: with everything that is wrong: table, columns, id type, uniqueness, right to read
    :raises WarehouseUnavailableError: if the server does not answer
    """
    place = f"{job.source_schema}.{job.source_table}" if job.source_schema else job.source_table
    where = f"connection {job.source_conn_id!r}"
    columns = _columns_of(engine, job, f"table {place!r}", where)
    problems = [
        f"table {place!r} has no column {name!r} ({setting}); it has {', '.join(columns)}"
        for setting, name in (
            ("id_column", job.id_column),
            ("text_column", job.text_column),
            ("updated_at_column", job.updated_at_column),
            ("cursor_column", job.cursor_column),
        )
        if name is not None and name not in columns
    ]
    id_type = ""
    if job.id_column in columns:
        declared = columns[job.id_column]["type"]
        id_type = _id_type(declared, engine.dialect.name)
        if not id_type:
            problems.append(
                f"column {job.id_column!r} of {place!r} is of type {declared}, which cannot serve as an id; "
                "use an integer, a string or a UUID column"
            )
    cursor_types = Integer if engine.dialect.name == "sqlite" else Integer | DateTime  # SQLite keeps times as text
    if job.cursor_column in columns and not isinstance(columns[job.cursor_column]["type"], cursor_types):
        problems.append(
            f"column {job.cursor_column!r} of {place!r} is of type {columns[job.cursor_column]['type']}, which cannot "
            "serve as a cursor; use an integer or a timestamp column, or none"
        )
    if problems:
        raise PreflightError(problems)

    reads_raw = engine.dialect.name == "sqlite"  # a declared type binds no SQLite row, so nothing is converted there
    id_ = columns[job.id_column]
    clause = table(
        job.source_table,
        column(job.id_column, NullType() if reads_raw else id_["type"]),
        column(job.text_column),
        *([column(job.updated_at_column, columns[job.updated_at_column]["type"])] if job.updated_at_column else []),
        *([column(job.cursor_column, columns[job.cursor_column]["type"])] if job.cursor_column else []),
        schema=job.source_schema,
    )
    source = ReviewSource(
        engine=engine,
        name=place,
        id_type=id_type,
        id=clause.c[job.id_column],
        text=clause.c[job.text_column],
        updated_at=_updated_at(engine, clause.c[job.updated_at_column]) if job.updated_at_column else None,
        cursor=clause.c[job.cursor_column] if job.cursor_column else None,
        id_is_unique=_is_unique(engine, job),
        id_is_nullable=bool(id_.get("nullable", True)),
        stop=stop or StopFlag(),
    )
    _try_reading(source, job)
    return source


def parse_id(canonical: str, id_type: str) -> NativeId:
    """Turn a canonical id back into what the source's driver takes."""
    return {"integer": int, "uuid": UUID}.get(id_type, str)(canonical)


def _columns_of(engine: Engine, job: ScoringJob, place: str, where: str) -> dict[str, ReflectedColumn]:
    """Return the columns of the source table by name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sa_exc.SAWarning)  # of types it does not know, in columns we do not read
        try:
            inspector = inspect(engine)
            if job.source_schema and not inspector.has_schema(job.source_schema):
                found = ", ".join(inspector.get_schema_names())
                raise PreflightError([f"{where} has no schema {job.source_schema!r}; there is {found}"])
            return {c["name"]: c for c in inspector.get_columns(job.source_table, schema=job.source_schema)}
        except sa_exc.NoSuchTableError:
            schema = job.source_schema
            names = sorted([*inspector.get_table_names(schema), *inspector.get_view_names(schema)])
            found = ", ".join(names[:20]) or "no table at all"
            raise PreflightError([f"{where} has no {place}; there is {found}"]) from None
        except sa_exc.DBAPIError as error:
            if is_unreachable(error):
                raise WarehouseUnavailableError(
                    f"{where} does not answer ({describe(error)}); if it never does, check its host and port"
                ) from None
            problem = f"{where} refuses to be read ({describe(error)}); check its login, password and database"
            raise PreflightError([problem]) from None


def _updated_at(engine: Engine, updated_at: ColumnElement[Any]) -> ColumnElement[Any]:
    if engine.dialect.name == "sqlite":
        return type_coerce(updated_at, NullType())
    return dialect_of(engine).time_as_text(updated_at)


def _id_type(type_: TypeEngine[Any], dialect: str) -> str:
    if isinstance(type_, Integer):
        return "integer"
    if isinstance(type_, Float | mysql.ENUM | mysql.SET):  # the last two: ordered by number, compared by name
        return ""
    if isinstance(type_, Numeric):
        return "integer" if dialect == "sqlite" or not type_.scale else ""
    if isinstance(type_, Uuid):
        return "uuid"
    if isinstance(type_, String):
        return "string"
    return "string" if dialect == "sqlite" and isinstance(type_, NullType) else ""


def _is_unique(engine: Engine, job: ScoringJob) -> bool:
    """Say whether a constraint or a whole-table index makes the id column unique."""
    inspector = inspect(engine)
    name, schema, alone = job.source_table, job.source_schema, [job.id_column]
    if inspector.get_pk_constraint(name, schema=schema).get("constrained_columns") == alone:
        return True
    if any(unique["column_names"] == alone for unique in inspector.get_unique_constraints(name, schema=schema)):
        return True
    return any(
        index["unique"]
        and index["column_names"] == alone
        and not any(key.endswith("_where") for key in index.get("dialect_options", {}))
        for index in inspector.get_indexes(name, schema=schema)
    )


def _try_reading(source: ReviewSource, job: ScoringJob) -> None:
    """Read a row, and where no key says that ids are unique, look whether they are."""
    try:
        with source.engine.connect() as connection:
            connection.execute(select(*source._columns(texts=True)).limit(1)).all()
            if not source.id_is_unique:
                sample = select(source.id.label("id")).where(source.id.is_not(None)).limit(UNIQUENESS_SAMPLE)
                ids = [i for row in connection.execute(sample) if (i := canonical_id(row.id)) is not None]
                repeated = len(ids) - len(set(ids))
                if repeated > max(len(ids) // 10, FEW_REPEATS):
                    raise PreflightError(
                        [
                            f"column {job.id_column!r} of {source.name!r} does not tell reviews apart: {repeated} of "
                            f"{len(ids)} rows looked at repeat another row's id; name a unique column as id_column"
                        ]
                    )
    except sa_exc.DBAPIError as error:
        raise PreflightError(
            [
                f"table {source.name!r} cannot be read through connection {job.source_conn_id!r} "
                f"({describe(error)}); grant SELECT on it to that connection's user"
            ]
        ) from None
