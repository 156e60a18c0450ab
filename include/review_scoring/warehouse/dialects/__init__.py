"""What databases do differently, one module each: statements (dialect) and settings of a connection (session)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from review_scoring.warehouse.dialects.base import Dialect, Session, by_bytes
from review_scoring.warehouse.dialects.bigquery import BigQuery, BigQuerySession
from review_scoring.warehouse.dialects.databricks import Databricks, DatabricksSession
from review_scoring.warehouse.dialects.duckdb import DuckDB, DuckDBSession
from review_scoring.warehouse.dialects.mysql import MariaDB, MySQL, MySQLSession
from review_scoring.warehouse.dialects.postgresql import PostgreSQL, PostgreSQLSession
from review_scoring.warehouse.dialects.redshift import Redshift, RedshiftSession
from review_scoring.warehouse.dialects.snowflake import Snowflake, SnowflakeSession
from review_scoring.warehouse.dialects.sqlite import SQLite, SQLiteSession

__all__ = ["Dialect", "Session", "by_bytes", "dialect_name", "dialect_named", "dialect_of", "session_of"]

_DATABASES: Mapping[str, tuple[type[Dialect], type[Session]]] = {
    "postgresql": (PostgreSQL, PostgreSQLSession),
    "mysql": (MySQL, MySQLSession),
    "mariadb": (MariaDB, MySQLSession),
    "sqlite": (SQLite, SQLiteSession),
    "duckdb": (DuckDB, DuckDBSession),
    "snowflake": (Snowflake, SnowflakeSession),
    "bigquery": (BigQuery, BigQuerySession),
    "databricks": (Databricks, DatabricksSession),
    "redshift": (Redshift, RedshiftSession),
}
_PLAIN = (Dialect, Session)


def dialect_of(connection_or_engine: Any) -> Dialect:
    """Return the dialect of the database behind a connection or engine."""
    return dialect_named(dialect_name(connection_or_engine))


def dialect_named(name: str) -> Dialect:
    """Return the dialect of a database, by the name that :func:`dialect_name` returns."""
    return _DATABASES.get(name, _PLAIN)[0]()


def dialect_name(connection_or_engine: Any) -> str:
    """Return the name of the database: `mysql://` may lead to MariaDB, which SQLAlchemy knows after connecting."""
    dialect = connection_or_engine.dialect
    return "mariadb" if getattr(dialect, "is_mariadb", False) else str(dialect.name)


def session_of(backend: str) -> Session:
    """Return the session settings of a database, by SQLAlchemy's name of the database."""
    return _DATABASES.get(backend, _PLAIN)[1]()
