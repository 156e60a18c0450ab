"""SQLAlchemy engines as this project needs them: no rows in errors, and sessions that hold what a run relies on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import URL, Engine, ExceptionContext, create_engine, event, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from review_scoring.warehouse.dialects import session_of
from review_scoring.warehouse.dialects.base import BUSY_TIMEOUT_S
from review_scoring.warehouse.errors import without_words
from review_scoring.warehouse.watch import watch

_ADDRESS = "review_scoring_address"


@dataclass(frozen=True)
class Address:
    """Where a database is and how its driver connects.

    :param connect_args: what the driver takes beside the URL, in the driver's own types
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
    """Return an engine whose errors and logs never show bound values or rows, since those are review texts.

    Idle connections are checked before use, so that one dropped overnight costs nothing.

    :param held_s: seconds after which a connection is cut that is still in use; None for no limit
    :param read_only: for DuckDB, which knows this of a whole file alone; see `readonly.py` for the others
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
    engine = create_engine(
        address.url,
        hide_parameters=True,
        connect_args={**address.connect_args, **connect_args},
        execution_options={_ADDRESS: address},
        **options,
    )
    session.prepare(engine)
    watch(engine, ping=session.over_network, within_s=held_s)
    event.listen(engine, "handle_error", _hide_rows)
    return engine


def writing(engine: Engine) -> Engine:
    """Return the same engine for transactions that write.

    SQLite then takes its write lock when the transaction begins, and cannot fail half way for want of it.
    """
    return engine.execution_options(review_scoring_writes=True)


def same_database(one: Engine, other: Engine) -> bool:
    """Say whether both engines reach the same database as the same user, so one statement may name tables of both.

    Another user may lack the rights on the other tables, and other options may mean another search path.
    """

    def place(engine: Engine) -> tuple[object, ...]:
        url, more = engine.url, engine.get_execution_options()[_ADDRESS].connect_args
        return url.get_backend_name(), url.username, url.host, url.port, url.database, url.query, more

    return one is other or place(one) == place(other)


def _hide_rows(context: ExceptionContext) -> None:
    """Leave the type and code of a driver's error, and none of its words, before anything can log them."""
    if isinstance(context.sqlalchemy_exception, DBAPIError):
        without_words(context.sqlalchemy_exception)
