"""Explains database errors found by preflight: names the connection, what is wrong, and what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from review_scoring.concurrency.cancellation import StopFlag
from review_scoring.errors import PreflightError, WarehouseUnavailableError
from review_scoring.warehouse.errors import PASSING, Fault, describe, fault_of
from review_scoring.warehouse.retry import retried

T = TypeVar("T")

PATIENCE_S = 5.0
"""Seconds of retries during preflight: enough for a lost connection. Airflow retries the task as well."""

LIMITS = "`statement_timeout`, `max_statement_time` or `max_execution_time`"

_FOUND: Mapping[Fault, tuple[str, str]] = {
    Fault.AWAY: ("does not answer", "if that does not pass, check its host and port"),
    Fault.BUSY: ("is busy", "if that does not pass, look for locks and for connections that are never closed"),
    Fault.FULL: ("has no disk space left", "free some space"),
    Fault.TIMEOUT: ("cancelled a statement at its time limit", f"raise {LIMITS} for its user"),
    Fault.LOGIN: ("refuses the login", "check its login and password, and which hosts the server accepts"),
    Fault.TLS: (
        "answers, but the encrypted connection fails",
        "check its TLS extras and the server's certificate",
    ),
    Fault.DATABASE: ("names a database that does not exist", "check the name of its database or file"),
    Fault.READ_ONLY: ("is read-only", "use the primary server, and a user whose transactions may write"),
    Fault.DATA: (
        "contains a value that cannot be read",
        "check that ids are valid text in the database's encoding, and that a view can compute them",
    ),
    Fault.POOLER: (
        "goes through a pooler that loses prepared statements",
        "set its extra `prepare_threshold` to null, which is the default",
    ),
}

_MAY_PASS = PASSING | {Fault.FULL, Fault.TIMEOUT}


def with_explained_errors(
    look: Callable[[], T],
    *,
    where: str,
    cannot: str,
    otherwise: str,
    stop: StopFlag,
    endless: bool = False,
) -> T:
    """Run a check of the set-up; retry transient errors and explain others (:func:`retried`, :func:`explained`)."""
    with explained(where, cannot=cannot, otherwise=otherwise):
        return retried(look, what=f"checking {where}", stop=stop, patience_s=PATIENCE_S, endless=endless)


@contextmanager
def explained(where: str, *, cannot: str, otherwise: str) -> Iterator[None]:
    """Turn a database error into one that names the connection and what to do.

    :param where: names the connection
    :param cannot: what fails, such as "cannot read the table"
    :param otherwise: what to do if the kind of error does not show the cause: usually a privilege is missing
    :raises WarehouseUnavailableError: for a transient error
    :raises PreflightError: for any other
    """
    try:
        yield
    except (DBAPIError, PoolTimeoutError) as error:
        fault = fault_of(error)
        found, remedy = _FOUND.get(fault, (cannot, otherwise))
        message = f"{where} {found} ({describe(error)}); {remedy}"
        raise (WarehouseUnavailableError(message) if fault in _MAY_PASS else PreflightError([message])) from None
