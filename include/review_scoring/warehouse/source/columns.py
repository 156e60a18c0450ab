"""Inspects a user's table or view: its columns, their types, and its unique keys."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Engine, Uuid, bindparam, inspect, text
from sqlalchemy import exc as sa_exc
from sqlalchemy.dialects.mysql.base import ischema_names as mysql_types
from sqlalchemy.dialects.postgresql import DOMAIN
from sqlalchemy.engine.interfaces import ReflectedColumn
from sqlalchemy.types import Integer, NullType, Numeric, TypeEngine

from review_scoring.warehouse.dialects import dialect_of
from review_scoring.warehouse.errors import Fault, fault_of

_MYSQL_COLUMNS = text(
    "SELECT column_name AS name, data_type AS type, column_type AS declared, is_nullable AS nullable,"
    " numeric_scale AS scale, character_maximum_length AS length, collation_name AS collation"
    " FROM information_schema.columns WHERE table_name = :table AND table_schema = COALESCE(:schema, DATABASE())"
    " ORDER BY ordinal_position"
)

_POSTGRESQL_INVALID = text(
    "SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE NOT i.indisvalid"
)
_POSTGRESQL_HEIRS = text(
    "SELECT count(*) FROM pg_inherits h JOIN pg_class c ON c.oid = h.inhparent JOIN pg_namespace n ON n.oid ="
    " c.relnamespace WHERE c.relkind = 'r' AND c.relname = :table"
    " AND CASE WHEN CAST(:schema AS text) IS NULL THEN pg_table_is_visible(c.oid) ELSE n.nspname = :schema END"
)


def columns_of(engine: Engine, name: str, schema: str | None) -> Mapping[str, ReflectedColumn]:
    """Return the columns by name, with a domain's base type in place of the domain, and generic types where possible.

    :raises sqlalchemy.exc.NoSuchTableError: if there is no such table or view that this user sees
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sa_exc.SAWarning)  # for unknown types in columns that are not read
        try:
            columns = inspect(engine).get_columns(name, schema=schema)
        except sa_exc.DBAPIError as error:
            # MySQL hides the definition of a table or view from users who may read only some of its columns.
            if engine.dialect.name != "mysql" or fault_of(error) is not Fault.RIGHTS:
                raise
            columns = _visible_mysql_columns(engine, name, schema)
    if not columns:  # for a table that does not exist, as some dialects have it
        raise sa_exc.NoSuchTableError(name)
    for each in columns:
        each["type"] = dialect_of(engine).column_type(_base(each["type"]))
    return {each["name"]: each for each in columns}


def leading_keys(engine: Engine, name: str, schema: str | None) -> list[tuple[tuple[str | None, ...], bool]]:
    """Return the columns of each key and index over the whole table, and whether it is unique.

    Empty for a view, for a table whose definition the user may not see, and where no declared key is enforced.
    """
    if not dialect_of(engine).enforces_keys:
        return []
    inspector = inspect(engine)
    try:
        primary = inspector.get_pk_constraint(name, schema=schema).get("constrained_columns") or []
        unique = [each["column_names"] for each in inspector.get_unique_constraints(name, schema=schema)]
        indexes = inspector.get_indexes(name, schema=schema)
    except sa_exc.DBAPIError as error:
        if fault_of(error) is not Fault.RIGHTS:
            raise
        return []
    untrue = _untrue_keys(engine, name, schema)
    if untrue is None:
        return [(tuple(each["column_names"]), False) for each in indexes if each["column_names"]]
    partial = [
        each["name"] for each in indexes if any(key.endswith("_where") for key in each.get("dialect_options", {}))
    ]
    whole = [each for each in indexes if each["name"] not in {*partial, *untrue}]
    keys: list[tuple[tuple[str | None, ...], bool]] = [(tuple(each), True) for each in (primary, *unique) if each]
    return keys + [(tuple(each["column_names"]), bool(each["unique"])) for each in whole if each["column_names"]]


def _untrue_keys(engine: Engine, name: str, schema: str | None) -> Sequence[str] | None:
    """Return PostgreSQL's invalid indexes; None for a table with child tables, whose rows its keys do not cover."""
    if engine.dialect.name != "postgresql":
        return []
    with engine.connect() as connection:
        if connection.scalar(_POSTGRESQL_HEIRS.bindparams(bindparam("table", name), bindparam("schema", schema))):
            return None
        return list(connection.scalars(_POSTGRESQL_INVALID).all())


def has_schema(engine: Engine, schema: str | None) -> bool:
    """Return whether a schema exists; True for None, and for a dataset of another project, which is not looked up."""
    is_elsewhere = not dialect_of(engine).enforces_keys and "." in (schema or "")  # project.dataset
    return not schema or is_elsewhere or inspect(engine).has_schema(schema)


def table_names(engine: Engine, schema: str | None) -> list[str]:
    """Return the names of all tables and views of a schema, in order."""
    inspector = inspect(engine)
    return sorted([*inspector.get_table_names(schema), *inspector.get_view_names(schema)])


def _base(type_: TypeEngine[Any]) -> TypeEngine[Any]:
    while isinstance(type_, DOMAIN):
        type_ = type_.data_type
    return type_


def _visible_mysql_columns(engine: Engine, name: str, schema: str | None) -> list[ReflectedColumn]:
    with engine.connect() as connection:
        statement = _MYSQL_COLUMNS.bindparams(bindparam("table", name), bindparam("schema", schema))
        rows = connection.execute(statement).all()
    if not rows:
        raise sa_exc.NoSuchTableError(name)
    types = {**mysql_types, "uuid": Uuid}  # uuid exists in MariaDB only
    return [
        {"name": row.name, "type": _mysql_type(types, row), "nullable": row.nullable == "YES", "default": None}
        for row in rows
    ]


def _mysql_type(types: Mapping[str, Any], row: Any) -> TypeEngine[Any]:
    kind: type[Any] = types.get(str(row.type).lower(), NullType)
    arguments: dict[str, Any] = {}
    if issubclass(kind, Integer) and "zerofill" in str(row.declared).lower():
        arguments = {"zerofill": True}
    elif issubclass(kind, Numeric):
        arguments = {"scale": row.scale}
    elif row.type in {"char", "varchar"}:
        arguments = {"length": row.length, "collation": row.collation}
    made: TypeEngine[Any] = kind(**arguments)
    return made
