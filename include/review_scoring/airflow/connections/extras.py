"""Connection extras that each driver accepts: converted to its arguments; those of Airflow's hooks are ignored.

Extras are JSON, or text if the Connection is a URI. An extra that the driver does not know is refused by name; no extra
is dropped silently.
"""

from __future__ import annotations

import inspect
from typing import Any

from airflow.sdk import Connection

from review_scoring.airflow.connections.extra_values import FIELDS, Extras, parsed
from review_scoring.airflow.connections.mysql_tls import mysql_tls
from review_scoring.errors import ConfigurationError
from review_scoring.settings import truth

SCHEME = "sqlalchemy_scheme"
"""The extra that names the SQLAlchemy dialect. Airflow's hooks of MSSQL and ODBC use the same one."""

_AIRFLOWS_OWN = frozenset(
    {SCHEME, "sqlalchemy_query", "__extra__", "client", "cursor", "enable_log_db_messages"}
    | {"iam", "aws_conn_id", "region_name", "redshift", "redshift-serverless", "cluster-identifier", "workgroup-name"}
    | {"azure_conn_id", "azure_oauth_scope", "gcp_conn_id", "dialect", "placeholder", "insert_statement_format"}
    | {"replace_statement_format", "escape_word_format", "escape_column_names"}
)
"""Extras of Airflow's hooks (providers postgres, mysql, common.sql, amazon, microsoft.azure), not of a driver."""

_NEEDED = frozenset({"charset", "client_encoding", "use_unicode"})
"""Ignored, because texts are always fetched as Unicode. Many Connections have `{"charset": "utf8"}`."""

_TRANSACTIONS = frozenset({"autocommit", "isolation_level"})

_MYSQL_NUMBERS = frozenset({"connect_timeout", "read_timeout", "write_timeout", "client_flag", "max_allowed_packet"})
_MYSQL_OBJECTS = frozenset({"conv", "cursorclass", "auth_plugin_map", "defer_connect", "compress", "named_pipe"})

_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_LIBPQ_FILES = frozenset({"sslrootcert", "sslcert", "sslkey", "sslcrl"})


def connect_args_of(connection: Connection, backend: str) -> dict[str, Any]:
    """Return the driver arguments in a Connection's extras, for a tested database.

    :param backend: SQLAlchemy's name of the database: `postgresql`, `mysql`, `mariadb`, `sqlite` or `duckdb`
    :raises ConfigurationError: for an extra that the driver does not know, or a value that it does not accept
    """
    given = {name: value for name, value in drivers_extras(connection).items() if name not in _NEEDED}
    named = f"connection {connection.conn_id!r}"
    nothing = {name for name, value in given.items() if value is None}
    if backend == "postgresql":
        nothing.discard("prepare_threshold")
    extras = {name: value for name, value in given.items() if name not in nothing}
    read = {"postgresql": _postgresql, "mysql": _mysql, "mariadb": _mysql, "sqlite": _sqlite, "duckdb": _duckdb}
    return read[backend](Extras(extras, named))


def drivers_extras(connection: Connection) -> dict[str, Any]:
    """Return a Connection's extras without those of Airflow's hooks.

    :raises ConfigurationError: if they are not a JSON object, or change the transactions
    """
    named = f"connection {connection.conn_id!r}"
    extras = parsed(connection.extra, named)
    if "__extra__" in extras:  # Airflow's form for extras that do not fit into the query of a URI
        extras |= parsed(extras["__extra__"], named)
    if undone := sorted(name for name in _TRANSACTIONS & extras.keys() if truth(extras[name]) is not False):
        raise ConfigurationError(
            f"{named} has the extra {undone[0]!r}; each chunk of scores is one transaction, so remove it"
        )
    return {
        name: value
        for name, value in extras.items()
        if name not in _AIRFLOWS_OWN | _TRANSACTIONS and not name.startswith("extra__") and value != ""
    }


def scheme_of(connection: Connection) -> str | None:
    """Return the extra `sqlalchemy_scheme`."""
    scheme = parsed(connection.extra, f"connection {connection.conn_id!r}").get(SCHEME)
    return str(scheme) if scheme else None


def _postgresql(extras: Extras) -> dict[str, Any]:
    """Convert the extras of psycopg: libpq's keywords, which are text, and its own `prepare_threshold`."""
    import psycopg

    keywords = frozenset(each.keyword.decode() for each in psycopg.pq.Conninfo.get_defaults()) - FIELDS

    def threshold(name: str, value: Any) -> int | None:
        return None if str(value).strip().lower() in {"none", "null"} else extras.number(name, value)

    def ssl_mode(name: str, value: Any) -> str:
        if value not in _SSL_MODES:
            raise ConfigurationError(f"{extras.named}: the extra {name!r} must be one of {', '.join(_SSL_MODES)}")
        return str(value)

    def certificate(name: str, value: Any) -> str:
        return "system" if value == "system" else extras.path(name, value)

    found = {
        **extras.take("prepare_threshold", threshold),
        **extras.take("sslmode", ssl_mode),
        **extras.take_all(_LIBPQ_FILES, certificate),
        **extras.take_all(keywords, extras.text),
    }
    extras.refuse_rest("psycopg")
    return found


def _mysql(extras: Extras) -> dict[str, Any]:
    """Convert the extras of PyMySQL."""
    import pymysql

    parameters = frozenset(inspect.signature(pymysql.connections.Connection.__init__).parameters)
    known = frozenset(each for each in parameters - FIELDS - _MYSQL_OBJECTS - {"self"} if not each.startswith("ssl"))
    found = {
        **mysql_tls(extras),
        **extras.take_all(frozenset({"local_infile"}), extras.flag),
        **extras.take_all(_MYSQL_NUMBERS, extras.number),
        **extras.take_all(known, extras.text),
    }
    extras.refuse_rest("PyMySQL")
    return found


def _sqlite(extras: Extras) -> dict[str, Any]:
    found = extras.take("timeout", extras.number)
    extras.refuse_rest("SQLite")
    return found


def _duckdb(extras: Extras) -> dict[str, Any]:
    def settings(name: str, value: Any) -> dict[str, Any]:
        return parsed(value, f"{extras.named}: extra {name!r}")

    found = {**extras.take("read_only", extras.flag), **extras.take("config", settings)}
    extras.refuse_rest("DuckDB")
    return found
