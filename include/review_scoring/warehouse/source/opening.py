"""Opens a job's source table: checks its columns, the type of its ids, and whether they are unique."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnClause, ColumnElement, Engine, Uuid, column, inspect, select, table, type_coerce
from sqlalchemy.dialects import mysql
from sqlalchemy.engine.interfaces import ReflectedColumn
from sqlalchemy.exc import NoSuchTableError
from sqlalchemy.types import (
    BINARY,
    VARBINARY,
    DateTime,
    Float,
    Integer,
    LargeBinary,
    NullType,
    Numeric,
    String,
    TypeEngine,
)

from review_scoring.concurrency.cancellation import StopFlag
from review_scoring.errors import PreflightError
from review_scoring.job import ScoringJob
from review_scoring.reviews import canonical_id
from review_scoring.warehouse.dialects import dialect_name, dialect_of
from review_scoring.warehouse.preflight_errors import with_explained_errors
from review_scoring.warehouse.source.columns import columns_of, has_schema, leading_keys, table_names
from review_scoring.warehouse.source.pace import Pace
from review_scoring.warehouse.source.review_source import ReviewSource

FEW_REPEATS = 20
"""Repeated ids that are treated as rejects; more of them, and more than a tenth of all, and the column is no id."""

UNIQUENESS_SAMPLE = 10_000
"""Rows of a source without a unique key that are checked for repeated ids."""

_UUID_AS_TEXT = {"mysql": "BIN_TO_UUID({0})", "mariadb": "LOWER(HEX({0}))", "postgresql": "encode({0}, 'hex')"}


def checked_source(engine: Engine, job: ScoringJob, stop: StopFlag) -> ReviewSource:
    """Open a job's source for a run.

    :raises PreflightError: with everything that is wrong
    :raises WarehouseUnavailableError: if the only problem is that the server does not answer
    """
    return with_explained_errors(
        lambda: open_source(engine, job, stop),
        where=f"connection {job.source_conn_id!r}",
        cannot=f"cannot read {job.source_table!r}",
        otherwise="grant SELECT on it to the connection's user",
        stop=stop,
    )


def open_source(engine: Engine, job: ScoringJob, stop: StopFlag | None = None) -> ReviewSource:
    """Check a job's source table, and return it ready to be read.

    :raises PreflightError: with everything that is wrong: table, columns, id type, uniqueness
    :raises sqlalchemy.exc.SQLAlchemyError: if the server does not answer, or refuses
    """
    place = f"{job.source_schema}.{job.source_table}" if job.source_schema else job.source_table
    columns = _columns(engine, job, place)
    if problems := _problems(engine, job, place, columns):
        raise PreflightError(problems)
    reads_raw = engine.dialect.name == "sqlite"  # SQLite does not enforce declared types, so nothing is converted
    id_ = columns[job.id_column]
    others = filter(None, (job.updated_at_column, job.cursor_column))
    clause = table(
        job.source_table,
        # By the names that were found: on Snowflake, they know whether they need quotes.
        column(id_["name"], NullType() if reads_raw else id_["type"]),
        column(columns[job.text_column]["name"]),
        *(column(columns[each]["name"], columns[each]["type"]) for each in others),
        schema=job.source_schema,
    )
    keys = leading_keys(engine, job.source_table, job.source_schema)
    source = ReviewSource(
        engine=engine,
        name=place,
        other_names=_other_names(engine, job),
        id_type=_id_type(id_["type"], engine.dialect.name),
        id=clause.c[job.id_column],
        text=clause.c[job.text_column],
        updated_at=_updated_at(engine, clause.c[job.updated_at_column]) if job.updated_at_column else None,
        changed_by=_sortable(engine, clause.c[job.updated_at_column]) if job.updated_at_column else None,
        cursor=clause.c[job.cursor_column] if job.cursor_column else None,
        id_is_unique=((job.id_column,), True) in keys,
        id_is_indexed=any(key[0] == job.id_column for key, _ in keys),
        cursor_is_indexed=any(key[0] == job.cursor_column for key, _ in keys),
        updated_at_is_indexed=any(key[0] == job.updated_at_column for key, _ in keys),
        id_is_nullable=bool(id_.get("nullable", True)),
        pace=Pace(job.source_statement_s),
        statement_s=job.source_statement_s,
        stop=stop or StopFlag(),
    )
    source.reader.check()
    if not source.id_is_unique:
        _look_for_repeats(source, job, [key for key, unique in keys if unique and job.id_column in key])
    return source


def _columns(engine: Engine, job: ScoringJob, place: str) -> Mapping[str, ReflectedColumn]:
    where = f"connection {job.source_conn_id!r}"
    inspector = inspect(engine)
    if not has_schema(engine, job.source_schema):
        found = ", ".join(inspector.get_schema_names())
        raise PreflightError([f"{where} has no schema {job.source_schema!r}; there is {found}"])
    try:
        return columns_of(engine, job.source_table, job.source_schema)
    except NoSuchTableError:
        found = ", ".join(table_names(engine, job.source_schema)[:20]) or "no table at all"
        message = f"{where} has no table {place!r}; there is {found}"
        schema, dot, name = job.source_table.rpartition(".")
        if dot and not job.source_schema:
            message += f". A schema has a setting of its own: source_schema={schema!r}, source_table={name!r}"
        elif not job.source_schema and not inspector.default_schema_name:
            message += ". The user's search_path leads to no schema: name one as source_schema"
        raise PreflightError([message]) from None


def _problems(engine: Engine, job: ScoringJob, place: str, columns: Mapping[str, ReflectedColumn]) -> list[str]:
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
    if job.id_column in columns and not _id_type(declared := columns[job.id_column]["type"], engine.dialect.name):
        problems.append(
            f"column {job.id_column!r} of {place!r} is of type {declared}, which cannot serve as an id; "
            f"use an integer, a string or a UUID column{_view_with_text(engine, job, place, declared)}"
        )
    cursor = columns.get(job.cursor_column) if job.cursor_column else None
    if cursor is not None and not _is_sortable(engine, cursor["type"]):
        problems.append(
            f"column {job.cursor_column!r} of {place!r} is of type {cursor['type']}, which cannot "
            "serve as a cursor; use an integer or a timestamp column, or none"
        )
    return problems


def _view_with_text(engine: Engine, job: ScoringJob, place: str, declared: TypeEngine[Any]) -> str:
    """Return advice for binary ids: a view that returns them as text."""
    if not isinstance(declared, BINARY | VARBINARY | LargeBinary):
        return ""
    as_text = _UUID_AS_TEXT.get(dialect_name(engine), "hex({0})").format(job.id_column)
    select_ids = f"SELECT {as_text} AS {job.id_column}, {job.text_column} FROM {place}"  # noqa: S608 to be read
    return f", such as that of a view: CREATE VIEW {job.source_table}_to_score AS {select_ids}"


def _other_names(engine: Engine, job: ScoringJob) -> frozenset[str]:
    """Return the other names of the source: with the connection's default schema, and without it."""
    default = inspect(engine).default_schema_name
    if default is None or job.source_schema not in {None, default}:
        return frozenset()
    return frozenset({job.source_table, f"{default}.{job.source_table}"})


def _is_sortable(engine: Engine, type_: TypeEngine[Any]) -> bool:
    """Return whether values of a column can be ordered and compared with a number or a time."""
    return isinstance(type_, Integer if engine.dialect.name == "sqlite" else Integer | DateTime)  # times as text there


def _sortable(engine: Engine, column_: ColumnClause[Any]) -> ColumnClause[Any] | None:
    return column_ if _is_sortable(engine, column_.type) else None


def _updated_at(engine: Engine, updated_at: ColumnElement[Any]) -> ColumnElement[Any]:
    if engine.dialect.name == "sqlite":
        return type_coerce(updated_at, NullType())
    return dialect_of(engine).time_as_text(updated_at)


def _id_type(type_: TypeEngine[Any], dialect: str) -> str:
    if isinstance(type_, Integer):
        return "integer"
    if isinstance(type_, Float | mysql.ENUM | mysql.SET):  # ENUM and SET are ordered by number, but compared by name
        return ""
    if isinstance(type_, Numeric):
        return "integer" if dialect == "sqlite" or not type_.scale else ""
    if isinstance(type_, Uuid):
        return "uuid"
    if isinstance(type_, String):
        return "string"
    return "string" if dialect == "sqlite" and isinstance(type_, NullType) else ""


def _some_ids(source: ReviewSource) -> Sequence[Any]:
    """Return rows with the first ids that the database gives, in no particular order."""
    ids = select(source.id.label("id")).where(source.id.is_not(None)).limit(UNIQUENESS_SAMPLE)
    with source.engine.connect() as connection:
        return connection.execute(ids).all()


def _look_for_repeats(source: ReviewSource, job: ScoringJob, keys: list[tuple[str | None, ...]]) -> None:
    """Check that the ids in a column without a unique key are unique, apart from a few.

    :param keys: unique keys that contain the column
    """
    ids = [i for row in _some_ids(source) if (i := canonical_id(row.id)) is not None]
    repeated = len(ids) - len(set(ids))
    if repeated <= max(len(ids) // 10, FEW_REPEATS):
        return
    message = (
        f"column {job.id_column!r} of {source.name!r} is not unique: {repeated} of {len(ids)} rows "
        "checked repeat another row's id; use a unique column as id_column"
    )
    if keys:
        names = [str(name) for name in keys[0]]
        parts = ", '-', ".join(names)
        select_ids = f"SELECT CONCAT({parts}) AS id, {job.text_column} FROM {source.name}"  # noqa: S608 to be read
        message += (
            f". Its key is ({', '.join(names)}): use a view with one id made of it, such as "
            f"CREATE VIEW {job.source_table}_to_score AS {select_ids}"
        )
    raise PreflightError([message])
