"""SQLAlchemy engines of warehouses, made by the hooks of Airflow's providers.

A warehouse has many ways to log in: key pairs, OAuth, service accounts, impersonation, IAM. The provider's hook has all
of them, so a Connection works here as it does in other DAGs. Each hook is asked for what it offers: Snowflake's for its
engine, BigQuery's for its client, and those of Databricks and Redshift for a connection, each time that one is needed.
The engines of these two would have a token that expires, and on Redshift another dialect.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from airflow.sdk import Connection
from sqlalchemy import URL, Engine, create_engine, event
from sqlalchemy.engine import ExceptionContext

from review_scoring.airflow.compat import AirflowException
from review_scoring.airflow.connections.extra_values import parsed
from review_scoring.errors import ConfigurationError, in_short
from review_scoring.warehouse.cloud_errors import cloud_error
from review_scoring.warehouse.engine import Address, guarded
from review_scoring.warehouse.faults import Fault

APPLICATION = "review_scoring"
"""How the statements of this package are tagged, where that can be set."""

SNOWFLAKE_LOGIN_S = 30
SNOWFLAKE_REQUEST_S = 300
"""How long Snowflake's client repeats a login, or another request, while the network is down."""


@dataclass(frozen=True)
class Provider:
    """A warehouse that Airflow's provider connects to.

    :param dialect: SQLAlchemy's name of the database
    :param extra: the extra of this package that installs provider and dialect
    :param engine: makes an engine, of a Connection and further arguments of `create_engine`
    :param place: names where the tables are, without a need for the provider
    """

    dialect: str
    extra: str
    engine: Callable[[Connection, Mapping[str, Any]], Engine]
    place: Callable[[Connection], URL]


def is_warehouse(connection: Connection) -> bool:
    """Return whether the hook of a provider connects."""
    return (connection.conn_type or "") in _PROVIDERS


def warehouse_dialect(connection: Connection) -> str:
    """Return SQLAlchemy's name of a warehouse, which needs no driver."""
    return _PROVIDERS[connection.conn_type or ""].dialect


def warehouse_place(connection: Connection) -> URL:
    """Return where the tables of a warehouse are: its host or account, database, and in the query the schema."""
    return _PROVIDERS[connection.conn_type or ""].place(connection)


def warehouse_engine(
    connection: Connection,
    *,
    pool_size: int = 3,
    max_overflow: int = 2,
    held_s: float | None = None,
) -> Engine:
    """Return the engine of a warehouse.

    :param held_s: timeout in seconds of a connection that is checked out; None for no timeout
    :raises ConfigurationError: if the provider is not installed, or does not accept the Connection
    """
    provider = _PROVIDERS[connection.conn_type or ""]
    with _as_configuration_errors(connection, provider):
        engine = provider.engine(connection, {"pool_size": pool_size, "max_overflow": max_overflow})
    return guarded(engine, Address(engine.url), held_s=held_s)


@contextmanager
def _as_configuration_errors(connection: Connection, provider: Provider) -> Iterator[None]:
    named = f"connection {connection.conn_id!r} of type {connection.conn_type!r}"
    try:
        yield
    except ImportError as error:
        raise ConfigurationError(
            f"{named} needs a package that is not installed ({error}): pip install 'review-scoring[{provider.extra}]'"
        ) from None
    except (AirflowException, ValueError, FileNotFoundError) as error:
        raise ConfigurationError(f"{named} is not accepted by its provider ({in_short(error)}); correct it") from None
    except Exception as error:  # noqa: BLE001  of clients that are not imported here; their words may hold a secret
        raise ConfigurationError(
            f"{named} cannot be opened by its provider ({type(error).__name__}); check its login and extras"
        ) from None


def _snowflake(connection: Connection, options: Mapping[str, Any]) -> Engine:
    """Return the hook's engine, which has key pair, OAuth token, role and warehouse of the Connection."""
    from airflow.providers.snowflake.hooks.snowflake import SnowflakeHook

    given = parsed(_extras(connection).get("session_parameters"), f"connection {connection.conn_id!r}")
    tagged = {"QUERY_TAG": APPLICATION, **given}
    hook = SnowflakeHook(snowflake_conn_id=connection.conn_id, session_parameters=tagged)
    arguments = {"login_timeout": SNOWFLAKE_LOGIN_S}
    engine: Engine = hook.get_sqlalchemy_engine(engine_kwargs={**options, "connect_args": arguments})
    event.listen(engine, "connect", _limit_requests)
    event.listen(engine, "handle_error", _drop_lost)
    return engine


def _limit_requests(opened: Any, _record: object) -> None:
    """Have Snowflake's client give up a request that is not answered; by default it repeats it for ever.

    Its parameter for that, `network_timeout`, also cancels each statement that takes longer. A MERGE takes more than
    five minutes if it waits for the transaction of a process that was killed, which Snowflake ends no sooner.
    """
    fetch = opened.rest.fetch

    def fetch_in_time(*request: Any, timeout: float | None = None, **more: Any) -> Any:
        return fetch(*request, timeout=SNOWFLAKE_REQUEST_S if timeout is None else timeout, **more)

    opened.rest.fetch = fetch_in_time


def _drop_lost(context: ExceptionContext) -> None:
    """Have SQLAlchemy drop a connection that was lost, which Snowflake's dialect does not tell it.

    It would roll back otherwise, and wait as long again.
    """
    error = cloud_error(context.original_exception)
    if error is not None and error.fault is Fault.AWAY:
        context.is_disconnect = True


def _bigquery(connection: Connection, options: Mapping[str, Any]) -> Engine:
    """Return an engine of the hook's client; the hook's own engine has neither its location nor its impersonation.

    *Schema* of the Connection is the dataset of tables that are named without one.
    """
    from airflow.providers.google.cloud.hooks.bigquery import BigQueryHook
    from google.cloud.bigquery import QueryJobConfig

    hook = BigQueryHook(gcp_conn_id=connection.conn_id, use_legacy_sql=False)
    client = hook.get_client(project_id=hook.project_id, location=hook.location)
    config = QueryJobConfig(labels={"application": APPLICATION})
    if connection.schema:
        config.default_dataset = f"{client.project}.{connection.schema}"
    client.default_query_job_config = config
    url = URL.create(
        "bigquery", host=client.project, database=connection.schema or None, query={"user_supplied_client": "true"}
    )
    return create_engine(url, connect_args={"client": client}, **options)


def _databricks(connection: Connection, options: Mapping[str, Any]) -> Engine:
    """Return an engine whose connections the hook makes. The hook keeps one connection, so each has its own hook."""
    from airflow.providers.databricks.hooks.databricks_sql import DatabricksSqlHook

    place = _databricks_place(connection)
    schema, http_path = place.query["schema"], _extras(connection).get("http_path")
    if not http_path:  # otherwise the hook raises no error of a database when it connects
        raise ValueError("the extra http_path is missing")
    query = {"http_path": http_path, "catalog": place.database, "schema": schema}
    url = URL.create("databricks", host=place.host, query={name: value for name, value in query.items() if value})

    def connect() -> Any:
        hook = DatabricksSqlHook(databricks_conn_id=connection.conn_id, schema=schema, caller=APPLICATION)
        return hook.get_conn()

    return create_engine(url, creator=connect, **options)


def _redshift(connection: Connection, options: Mapping[str, Any]) -> Engine:
    """Return an engine whose connections the hook makes: with IAM, each has a password of its own."""
    from airflow.providers.amazon.aws.hooks.redshift_sql import RedshiftSQLHook

    url = _redshift_place(connection).set(drivername="redshift+redshift_connector")
    hook = RedshiftSQLHook(redshift_conn_id=connection.conn_id)
    return create_engine(url, creator=hook.get_conn, **options)


def _snowflake_place(connection: Connection) -> URL:
    extras = _extras(connection)
    query = {"schema": connection.schema} if connection.schema else {}
    return URL.create("snowflake", host=extras.get("account"), database=extras.get("database"), query=query)


def _bigquery_place(connection: Connection) -> URL:
    extras = _extras(connection)
    project = extras.get("project") or extras.get("extra__google_cloud_platform__project")
    return URL.create("bigquery", host=project, database=connection.schema or None)


def _databricks_place(connection: Connection) -> URL:
    extras = _extras(connection)
    host = (connection.host or "").removeprefix("https://").rstrip("/")
    schema = str(extras.get("schema") or connection.schema or "default")
    return URL.create("databricks", host=host, database=extras.get("catalog"), query={"schema": schema})


def _redshift_place(connection: Connection) -> URL:
    return URL.create("redshift", host=connection.host, port=connection.port, database=connection.schema)


def _extras(connection: Connection) -> dict[str, Any]:
    return parsed(connection.extra, f"connection {connection.conn_id!r}")


_PROVIDERS: Mapping[str, Provider] = {
    "snowflake": Provider("snowflake", "snowflake", _snowflake, _snowflake_place),
    "gcpbigquery": Provider("bigquery", "bigquery", _bigquery, _bigquery_place),
    "google_cloud_platform": Provider("bigquery", "bigquery", _bigquery, _bigquery_place),
    "databricks": Provider("databricks", "databricks", _databricks, _databricks_place),
    "redshift": Provider("redshift", "redshift", _redshift, _redshift_place),
}
"""Airflow connection type -> the provider that connects."""
