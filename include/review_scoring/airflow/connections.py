"""From an Airflow Connection to a SQLAlchemy engine, without the provider packages' hooks."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from airflow.sdk import Connection
from airflow.sdk.exceptions import AirflowException
from sqlalchemy import URL, Engine
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from review_scoring.errors import ConfigurationError
from review_scoring.warehouse.engine import make_engine

log = logging.getLogger(__name__)

DRIVERS = {
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    "mariadb": "mariadb+pymysql",
    "sqlite": "sqlite",
    "duckdb": "duckdb+duckdb_sqlalchemy",
}
"""Airflow connection type -> SQLAlchemy driver, for the databases that are tested."""

SCHEME = "sqlalchemy_scheme"
"""Extra that names SQLAlchemy's dialect where the type does not; Airflow's hooks of MSSQL and ODBC read it too."""


def engine_of(conn_id: str) -> Engine:
    """Return the engine of an Airflow Connection.

    :raises ConfigurationError: if there is no such Connection, or its type or driver is not supported
    """
    connection = connection_named(conn_id)
    with told_as_configuration(connection):
        return make_engine(url_of(connection))


@contextmanager
def told_as_configuration(connection: Connection) -> Iterator[None]:
    """Turn what making an engine of a Connection raises into a ConfigurationError that names the Connection."""
    named = f"connection {connection.conn_id!r}"
    try:
        yield
    except (NoSuchModuleError, ImportError) as error:
        raise ConfigurationError(
            f"{named} of type {connection.conn_type!r} needs a driver that is not installed ({error})"
        ) from None
    except ArgumentError:
        raise ConfigurationError(f"{named} does not make a database address; check its fields") from None


def connection_named(conn_id: str) -> Connection:
    """Return an Airflow Connection.

    :raises ConfigurationError: if there is none of this name
    """
    try:
        connection: Connection = Connection.get(conn_id)
    except AirflowException:
        raise ConfigurationError(
            f"there is no Airflow Connection {conn_id!r}; add it under Admin > Connections, with "
            f"`airflow connections add`, or as the environment variable AIRFLOW_CONN_{conn_id.upper()}"
        ) from None
    return connection


def url_of(connection: Connection) -> URL:
    """Return the SQLAlchemy URL that the fields of an Airflow Connection mean.

    Extras that are strings or numbers go into the query, as drivers take `sslmode` and the like.

    Other connection types than those of `DRIVERS` are let through if SQLAlchemy has a dialect of that name.

    :raises ConfigurationError: for a connection type that no installed dialect is named after
    """
    extras = {key: str(value) for key, value in connection.extra_dejson.items() if isinstance(value, str | int)}
    scheme = extras.pop(SCHEME, None)
    driver = DRIVERS.get(connection.conn_type or "") or _untested(connection, scheme)
    if connection.conn_type in {"sqlite", "duckdb"}:
        path = connection.schema or connection.host
        if not path:
            raise ConfigurationError(f"connection {connection.conn_id!r} names no file; put its path into host")
        return URL.create(driver, database=path)
    return URL.create(
        driver,
        username=connection.login,
        password=connection.password,
        host=connection.host,
        port=connection.port,
        database=connection.schema,
        query=extras,
    )


def _untested(connection: Connection, scheme: str | None) -> str:
    """Return the name of a dialect that SQLAlchemy has, and that nobody has tried with this package."""
    name = scheme or connection.conn_type or ""
    try:
        URL.create(name).get_dialect()
    except (NoSuchModuleError, ArgumentError, ValueError):
        raise ConfigurationError(
            f"connection {connection.conn_id!r} is of type {connection.conn_type!r}; reviews are read from and scores "
            f"written to {', '.join(sorted(set(DRIVERS)))}, and what else SQLAlchemy has a dialect for: none named "
            f"{name!r} is installed. Install the package that brings it, or name it in the extra {SCHEME!r}"
        ) from None
    _tell_untested(name)
    return name


@cache
def _tell_untested(name: str) -> None:
    log.warning("this package was never tested with %s; it takes the plain path of standard SQL there", name)
