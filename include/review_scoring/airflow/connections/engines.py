"""From an Airflow Connection to a SQLAlchemy engine, without the provider packages' hooks."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from airflow.sdk import Connection
from airflow.sdk.exceptions import AirflowException
from sqlalchemy import URL, Engine
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from review_scoring.airflow.connections.extras import SCHEME, connect_args_of, drivers_extras, scheme_of
from review_scoring.errors import ConfigurationError
from review_scoring.warehouse.engine import Address, make_engine

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

FILES = frozenset({"sqlite", "duckdb"})


def engine_of(conn_id: str) -> Engine:
    """Return the engine of an Airflow Connection.

    :raises ConfigurationError: if there is no such Connection, its type or driver is not supported, or its extras are
        not what the driver takes
    """
    connection = connection_named(conn_id)
    with told_as_configuration(connection):
        return make_engine(address_of(connection))


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


def address_of(connection: Connection) -> Address:
    """Return where an Airflow Connection leads, and what its extras tell the driver.

    Other connection types than those of `DRIVERS` are let through if SQLAlchemy has a dialect of that name; their
    extras that are text or numbers go into the URL, as SQLAlchemy's dialects read them, and the others to the driver.

    :raises ConfigurationError: for a connection type that no installed dialect is named after, a file that does not
        exist, or extras that the driver does not take
    """
    scheme = scheme_of(connection)
    driver = DRIVERS.get(connection.conn_type or "") or _tested(scheme or connection.conn_type)
    if driver is None:
        return _untested_address(connection, scheme)
    backend = URL.create(driver).get_backend_name()
    connect_args = connect_args_of(connection, backend)
    if backend in FILES:
        return Address(URL.create(driver, database=_file(connection)), connect_args)
    if not connection.schema and backend != "postgresql":  # whose databases are named like their users by default
        raise ConfigurationError(
            f"connection {connection.conn_id!r} names no database; put its name into the field Schema or Database"
        )
    return Address(_url(driver, connection), connect_args)


def _url(driver: str, connection: Connection) -> URL:
    return URL.create(
        driver,
        username=connection.login,
        password=connection.password,
        host=connection.host,
        port=connection.port,
        database=connection.schema,
    )


def _file(connection: Connection) -> str:
    """Return the path of a database in a file. A database makes a missing one, and a typo would go unnoticed."""
    path = connection.schema or connection.host
    if not path:
        raise ConfigurationError(f"connection {connection.conn_id!r} names no file; put its path into host")
    if not Path(path).is_file():
        raise ConfigurationError(
            f"connection {connection.conn_id!r}: there is no file {path!r}; correct the path, or create the database"
        )
    return path


def _tested(name: str | None) -> str | None:
    """Return the driver of `DRIVERS` that SQLAlchemy's name of a dialect means, if it is one."""
    try:
        named = URL.create(name or "").get_dialect()
    except (NoSuchModuleError, ArgumentError, ValueError):
        return None
    return next((each for each in DRIVERS.values() if URL.create(each).get_dialect() is named), None)


def _untested_address(connection: Connection, scheme: str | None) -> Address:
    """Return the address for a dialect that SQLAlchemy has, and that nobody has tried with this package."""
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
    extras = drivers_extras(connection)
    is_text = {key: isinstance(each, str | int) and not isinstance(each, bool) for key, each in extras.items()}
    query = {key: str(each) for key, each in extras.items() if is_text[key]}
    connect_args = {key: each for key, each in extras.items() if key not in query}
    return Address(_url(name, connection).set(query=query), connect_args)


@cache
def _tell_untested(name: str) -> None:
    log.warning("this package was never tested with %s; it takes the plain path of standard SQL there", name)
