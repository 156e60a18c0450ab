"""Which database errors pass by themselves, and how long a run waits for that."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_delay
from tenacity import wait_exponential_jitter as backoff

from review_scoring.errors import WarehouseUnavailableError
from review_scoring.stop import StopFlag

log = logging.getLogger(__name__)
T = TypeVar("T")

PATIENCE_S = 120.0
"""Seconds of retries after which a run gives up and leaves the rest to Airflow's own retry."""

# SQLSTATE classes and codes, PostgreSQL's documentation, appendix A: connection exceptions (08), serialization
# failure, deadlock, lock not available, too many connections, and the shutdown codes of a restarting server.
_TRANSIENT_SQLSTATES = ("08", "40001", "40P01", "55P03", "53300", "57P01", "57P02", "57P03")
# MySQL and MariaDB: lock wait timeout, deadlock, server gone away, lost connection, server shutdown, cannot connect.
_TRANSIENT_MYSQL = frozenset({1205, 1213, 2006, 2013, 1053, 2002, 2003})
# Disk full, table full, and the operating system's ENOSPC as seen by a temporary file.
_FULL_MYSQL = frozenset({1021, 1114, 28})


def is_transient(error: BaseException) -> bool:
    """Say whether the same call may go through later: a lost connection, a deadlock, a lock held by another."""
    if not isinstance(error, DBAPIError):
        return False
    if error.connection_invalidated:
        return True
    code = _code(error.orig)
    if isinstance(code, int):
        return code in _TRANSIENT_MYSQL
    if code is not None:
        return code.startswith((*_TRANSIENT_SQLSTATES, "SQLITE_BUSY", "SQLITE_LOCKED"))
    if "Could not set lock on file" in str(error.orig):
        return True  # DuckDB: another process has the file open
    # psycopg reports a server that cannot be reached without any code.
    return isinstance(error, OperationalError | InterfaceError) and type(error.orig).__module__.startswith("psycopg")


def is_unreachable(error: DBAPIError) -> bool:
    """Say whether a server did not answer, as opposed to having refused the user, the password or the database."""
    refused = ("authentication failed", "does not exist", "no pg_hba.conf entry")
    return is_transient(error) and not any(words in str(error.orig) for words in refused)


def is_full(error: DBAPIError) -> bool:
    """Say whether the database ran out of disk space."""
    return _code(error.orig) in {"53100", "SQLITE_FULL", *_FULL_MYSQL}


def patiently(call: Callable[[], T], *, what: str, stop: StopFlag, patience_s: float | None = None) -> T:
    """Call until it goes through: transient errors are retried with growing pauses, others raised at once.

    :param call: repeatable; it opens its own connection and transaction
    :param what: names the step in the log and in the error
    :param stop: ends the waiting at once
    :raises WarehouseUnavailableError: when it did not go through within `patience_s` (`PATIENCE_S`) seconds
    :raises ScoringInterruptedError: when `stop` was set while waiting
    """
    patience_s = PATIENCE_S if patience_s is None else patience_s

    def told(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        log.warning("%s failed (%s), trying again", what, describe(error))

    retrying = Retrying(
        retry=retry_if_exception(lambda error: is_transient(error) and not stop.is_set()),
        wait=backoff(multiplier=0.2, max=10.0),
        stop=stop_after_delay(patience_s),
        sleep=stop.pause,
        before_sleep=told,
        reraise=True,
    )
    try:
        return retrying(call)
    except DBAPIError as error:
        if is_full(error):
            raise WarehouseUnavailableError(
                f"{what} failed: the database has no space left ({describe(error)}). Nothing half done is left; make "
                "room and run again."
            ) from None
        if not is_transient(error):
            raise
        stop.check()
        raise WarehouseUnavailableError(
            f"{what} did not go through for {patience_s:.0f} s: {describe(error)}. "
            "Nothing half done is left; run again when the database answers."
        ) from None


def describe(error: BaseException | None) -> str:
    """Name a database error by its type and code, without the statement, the values or the server's address."""
    original = getattr(error, "orig", None) or error
    code = _code(original)
    name = type(original).__name__
    return f"{name} {code}" if code else name


def _code(original: BaseException | None) -> str | int | None:
    """Return what a driver calls its error: MySQL's number, an SQLSTATE, or SQLite's name."""
    first = original.args[0] if original is not None and original.args else None
    if isinstance(first, int):
        return first  # and not the SQLSTATE beside it, which is HY000 for a lock wait and for much else
    code = getattr(original, "sqlstate", None) or getattr(original, "sqlite_errorname", None)
    return str(code) if code else None
