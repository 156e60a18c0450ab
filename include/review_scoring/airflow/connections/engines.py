"""Creates the SQLAlchemy engine of an Airflow Connection: of its type, driver and URL, or by the hook of a provider.

Airflow's hooks connect to warehouses (`hooks.py`). Databases that can hold scores are connected to without them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from airflow.sdk import Connection
from sqlalchemy import URL, Engine
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from review_scoring.airflow.compat import AirflowException
from review_scoring.airflow.connections.extras import SCHEME, connect_args_of, drivers_extras, scheme_of
from review_scoring.airflow.connections.hooks import is_warehouse, warehouse_dialect, warehouse_engine, warehouse_place
from review_scoring.errors import ConfigurationError
from review_scoring.job import ScoringJob, target_conn_id
from review_scoring.warehouse.engine import Address, make_engine
from review_scoring.warehouse.scoring_tables import refuse_warehouse

log = logging.getLogger(__name__)

DRIVERS = {
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    "mariadb": "mariadb+pymysql",
    "sqlite": "sqlite",
    "duckdb": "duckdb+duckdb_sqlalchemy",
}
"""Airflow connection type -> SQLAlchemy driver, for the tested databases."""

FILES = frozenset({"sqlite", "duckdb"})


def engine_of(conn_id: str) -> Engine:
    """Return the engine of an Airflow Connection.

    :raises ConfigurationError: if the Connection does not exist, its type or driver is not supported, or the driver
        does not accept its extras
    """
    return _engine_of(connection_named(conn_id))


def target_engine_of(job: ScoringJob) -> Engine:
    """Return the engine of the database that holds a job's scores.

    :raises PreflightError: for a warehouse, which cannot hold them
    :raises ConfigurationError: as :func:`engine_of`
    """
    connection = connection_named(target_conn_id(job))
    refuse_as_target(connection)
    return _engine_of(connection)


def url_of(connection: Connection) -> URL:
    """Return where the tables of a Connection are, for lineage.

    :raises ConfigurationError: as :func:`address_of`
    """
    return warehouse_place(connection) if is_warehouse(connection) else address_of(connection).url


def refuse_as_target(connection: Connection) -> None:
    """Refuse the Connection of a warehouse, without a need for its driver.

    :raises PreflightError: for a warehouse
    """
    if is_warehouse(connection):
        refuse_warehouse(connection.conn_id, warehouse_dialect(connection))


def _engine_of(connection: Connection) -> Engine:
    if is_warehouse(connection):
        return warehouse_engine(connection)
    with as_configuration_errors(connection):
        return make_engine(address_of(connection))


@contextmanager
def as_configuration_errors(connection: Connection) -> Iterator[None]:
    """Convert errors in creating an engine into a ConfigurationError that names the Connection."""
    named = f"connection {connection.conn_id!r}"
    try:
        yield
    except (NoSuchModuleError, ImportError) as error:
        raise ConfigurationError(
            f"{named} of type {connection.conn_type!r} needs a driver that is not installed ({error})"
        ) from None
    except ArgumentError:
        raise ConfigurationError(f"the fields of {named} are not a valid database URL; check them") from None


def connection_named(conn_id: str) -> Connection:
    """Return an Airflow Connection.

    :raises ConfigurationError: if it does not exist
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
    """Return the URL of an Airflow Connection, and the driver's arguments from its extras.

    Connection types other than those of `DRIVERS` are accepted if SQLAlchemy has a dialect of that name. Their extras
    go into the URL if they are text or numbers, as SQLAlchemy's dialects expect, and otherwise to the driver.

    :raises ConfigurationError: for a connection type without an installed dialect, a file that does not exist, or
        extras that the driver does not accept
    """
    scheme = scheme_of(connection)
    driver = DRIVERS.get(connection.conn_type or "") or _tested(scheme or connection.conn_type)
    if driver is None:
        return _untested_address(connection, scheme)
    backend = URL.create(driver).get_backend_name()
    connect_args = connect_args_of(connection, backend)
    if backend in FILES:
        return Address(URL.create(driver, database=_file(connection)), connect_args)
    if not connection.schema and backend != "postgresql":  # PostgreSQL defaults to the database named like the login
        raise ConfigurationError(
            f"connection {connection.conn_id!r} names no database; set its name in the field Schema or Database"
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
    """Return the path of a database file. It must exist: the driver would create an empty one, and hide a typo."""
    path = connection.schema or connection.host
    if not path:
        raise ConfigurationError(f"connection {connection.conn_id!r} names no file; set its path in the field Host")
    if not Path(path).is_file():
        raise ConfigurationError(
            f"connection {connection.conn_id!r}: there is no file {path!r}; correct the path, or create the database"
        )
    return path


def _tested(name: str | None) -> str | None:
    """Return the driver in `DRIVERS` that has the same SQLAlchemy dialect, or None."""
    try:
        named = URL.create(name or "").get_dialect()
    except (NoSuchModuleError, ArgumentError, ValueError):
        return None
    return next((each for each in DRIVERS.values() if URL.create(each).get_dialect() is named), None)


def _untested_address(connection: Connection, scheme: str | None) -> Address:
    """Return the address for a SQLAlchemy dialect that is not tested with this package."""
    name = scheme or connection.conn_type or ""
    try:
        URL.create(name).get_dialect()
    except (NoSuchModuleError, ArgumentError, ValueError):
        raise ConfigurationError(
            f"connection {connection.conn_id!r} is of type {connection.conn_type!r}, which is not supported: supported "
            f"are {', '.join(sorted(set(DRIVERS)))}, and other types with an installed SQLAlchemy dialect. There is no "
            f"dialect {name!r}: install its package, or name another one in the extra {SCHEME!r}"
        ) from None
    _warn_untested(name)
    extras = drivers_extras(connection)
    is_text = {key: isinstance(each, str | int) and not isinstance(each, bool) for key, each in extras.items()}
    query = {key: str(each) for key, each in extras.items() if is_text[key]}
    connect_args = {key: each for key, each in extras.items() if key not in query}
    return Address(_url(name, connection).set(query=query), connect_args)


@cache
def _warn_untested(name: str) -> None:
    log.warning("this package is not tested with %s; it uses standard SQL only", name)
