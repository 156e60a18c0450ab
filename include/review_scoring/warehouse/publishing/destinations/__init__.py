"""What databases do differently as a destination, one module each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Engine, create_mock_engine
from sqlalchemy.exc import NoSuchModuleError

from review_scoring.errors import ConfigurationError
from review_scoring.warehouse.publishing.destinations.base import Destination
from review_scoring.warehouse.publishing.destinations.bigquery import BigQueryDestination
from review_scoring.warehouse.publishing.destinations.databricks import DatabricksDestination
from review_scoring.warehouse.publishing.destinations.duckdb import DuckDBDestination
from review_scoring.warehouse.publishing.destinations.mysql import MySQLDestination
from review_scoring.warehouse.publishing.destinations.postgresql import PostgreSQLDestination
from review_scoring.warehouse.publishing.destinations.redshift import RedshiftDestination
from review_scoring.warehouse.publishing.destinations.snowflake import SnowflakeDestination

__all__ = ["DESTINATIONS", "Destination", "destination_of", "publication_ddl"]

DESTINATIONS: Mapping[str, type[Destination]] = {
    "postgresql": PostgreSQLDestination,
    "mysql": MySQLDestination,
    "mariadb": MySQLDestination,
    "duckdb": DuckDBDestination,
    "snowflake": SnowflakeDestination,
    "bigquery": BigQueryDestination,
    "databricks": DatabricksDestination,
    "redshift": RedshiftDestination,
}
"""SQLAlchemy's name of a database -> its destination."""

_DRIVERS = {"postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql", "mariadb": "mariadb+pymysql"}
_DRIVERS["duckdb"] = "duckdb+duckdb_sqlalchemy"


def publication_ddl(database: str, table: str, schema: str | None) -> str:
    """Return the SQL that creates a table for scores, for a name such as `snowflake`.

    :raises ConfigurationError: if SQLAlchemy's dialect of the database is not installed
    """
    try:
        engine: Any = create_mock_engine(f"{_DRIVERS.get(database, database)}://", executor=None)
    except (NoSuchModuleError, ImportError):
        raise ConfigurationError(
            f"SQLAlchemy's dialect of {database} is not installed: pip install 'review-scoring[{database}]'"
        ) from None
    return DESTINATIONS[database](engine, "", table, schema).ddl()


def destination_of(engine: Engine, job: str, table: str, schema: str | None) -> Destination:
    """Return the destination for a table of a database.

    :raises ConfigurationError: for a database that scores cannot be published to
    """
    name = engine.dialect.name
    if name not in DESTINATIONS:
        raise ConfigurationError(
            f"scores cannot be published to {name}; publish to one of {', '.join(sorted(DESTINATIONS))}"
        )
    return DESTINATIONS[name](engine, job, table, schema)
