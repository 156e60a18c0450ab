"""What databases do differently as a destination, one module each."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Engine

from review_scoring.errors import ConfigurationError
from review_scoring.warehouse.publishing.destinations.base import Destination
from review_scoring.warehouse.publishing.destinations.duckdb import DuckDBDestination
from review_scoring.warehouse.publishing.destinations.mysql import MySQLDestination
from review_scoring.warehouse.publishing.destinations.postgresql import PostgreSQLDestination

__all__ = ["DESTINATIONS", "Destination", "destination_of"]

DESTINATIONS: Mapping[str, type[Destination]] = {
    "postgresql": PostgreSQLDestination,
    "mysql": MySQLDestination,
    "mariadb": MySQLDestination,
    "duckdb": DuckDBDestination,
}
"""SQLAlchemy's name of a database -> its destination."""


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
