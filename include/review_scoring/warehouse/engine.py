"""SQLAlchemy engines: no rows or values in errors and logs, session settings, pool size, and timeouts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import URL, Engine, ExceptionContext, create_engine, event, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from review_scoring.warehouse.dialects import session_of
from review_scoring.warehouse.dialects.base import BUSY_TIMEOUT_S
from review_scoring.warehouse.errors import as_database_error, without_words
from review_scoring.warehouse.server_timeouts import watch

_ADDRESS = "review_scoring_address"


@dataclass(frozen=True)
class Address:
    """Where a database is and how its driver connects.

    :param connect_args: arguments of the driver in addition to the URL, in the driver's own types
    """

    url: URL
    connect_args: Mapping[str, Any] = field(default_factory=dict, repr=False)


def make_engine(
    address: Address | URL | str,
    *,
    pool_size: int = 3,
    max_overflow: int = 2,
    pool_timeout_s: float = BUSY_TIMEOUT_S,
    read_only: bool = False,
    held_s: float | None = None,
) -> Engine:
    """Return an engine whose errors and logs never contain bound values or rows, since those are review texts.

    Idle connections are checked before use, so that a connection dropped overnight does not matter.

    :param held_s: timeout in seconds of a connection that is checked out; None for no timeout
    :param read_only: for DuckDB, which opens a whole file read-only; see `readonly.py` for other databases
    """
    if not isinstance(address, Address):
        address = Address(make_url(address))
    session = session_of(address.url.get_backend_name())
    connect_args = session.connect_args({**address.url.query, **address.connect_args})
    options: dict[str, Any] = {"pool_size": pool_size, "max_overflow": max_overflow, "pool_timeout": pool_timeout_s}
    if address.url.get_backend_name() == "duckdb" and read_only:
        connect_args = {**connect_args, "read_only": True}
        options = {"poolclass": NullPool}  # an idle connection would lock out the process that writes
    if session.isolation_level is not None:
        options["isolation_level"] = session.isolation_level
    engine = create_engine(address.url, connect_args={**address.connect_args, **connect_args}, **options)
    return guarded(engine, address, held_s=held_s)


def guarded(engine: Engine, address: Address, *, held_s: float | None = None) -> Engine:
    """Return a new engine with the session settings of its database, the watch, and errors without values.

    For an engine that :func:`make_engine` has made, or the hook of an Airflow provider.

    :param address: what tells two databases apart (:func:`same_database`)
    :param held_s: timeout in seconds of a connection that is checked out; None for no timeout
    """
    engine.hide_parameters = True
    engine.update_execution_options(**{_ADDRESS: address})
    session = session_of(engine.dialect.name)
    session.prepare(engine)
    watch(engine, ping=session.pings, within_s=held_s)
    event.listen(engine, "handle_error", _hide_rows, retval=True)
    return engine


def writing(engine: Engine) -> Engine:
    """Return the same engine for transactions that write.

    SQLite then takes its write lock when the transaction begins, so that it cannot fail later for lack of it.
    """
    return engine.execution_options(review_scoring_writes=True)


def same_database(one: Engine, other: Engine) -> bool:
    """Return whether both engines reach the same database as the same user, so that a statement may use tables of both.

    Another user may lack privileges on the other tables, and other options may set another search path.
    """

    def place(engine: Engine) -> tuple[object, ...]:
        url, more = engine.url, engine.get_execution_options()[_ADDRESS].connect_args
        return url.get_backend_name(), url.username, url.host, url.port, url.database, url.query, more

    return one is other or place(one) == place(other)


def _hide_rows(context: ExceptionContext) -> DBAPIError | None:
    """Reduce a driver's error to its type and code before anything can log its message.

    A client of a warehouse also raises errors that are no database errors, such as those of its HTTP library.
    """
    if isinstance(context.sqlalchemy_exception, DBAPIError):
        without_words(context.sqlalchemy_exception)
        return None
    return as_database_error(context.original_exception, context.statement)
