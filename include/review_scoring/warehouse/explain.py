"""What a person does about a database error, told where a set-up is looked at: by the connection that has it."""

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
"""Seconds of retries while a set-up is looked at: enough for a lost connection. Airflow tries the task again, too."""

LIMITS = "`statement_timeout`, `max_statement_time` or `max_execution_time`"

_FOUND: Mapping[Fault, tuple[str, str]] = {
    Fault.AWAY: ("does not answer", "if it never does, check its host and port"),
    Fault.BUSY: ("is busy", "if it always is, look for locks and for connections that nobody closes"),
    Fault.FULL: ("has no space left", "make room"),
    Fault.TIMEOUT: ("allows a statement less time than it took", f"raise {LIMITS} for its user"),
    Fault.LOGIN: ("refuses the login", "check its login and password, and which hosts the server accepts"),
    Fault.TLS: (
        "answers, and no encrypted connection comes about",
        "check its TLS extras and the server's certificate",
    ),
    Fault.DATABASE: ("leads to no such database", "check the name of its database or file"),
    Fault.READ_ONLY: ("takes no writes", "name the primary server, and a user whose transactions may write"),
    Fault.DATA: (
        "holds a value that cannot be read",
        "see that ids are valid text in the database's encoding, and that the view, if it is one, can compute them",
    ),
    Fault.POOLER: (
        "leads to a pooler that loses prepared statements",
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
    """Look at a set-up, again if that fails for a passing reason; see :func:`explained` and :func:`retried`."""
    with explained(where, cannot=cannot, otherwise=otherwise):
        return retried(look, what=f"looking at {where}", stop=stop, patience_s=PATIENCE_S, endless=endless)


@contextmanager
def explained(where: str, *, cannot: str, otherwise: str) -> Iterator[None]:
    """Turn a database's error into one that names the connection and says what to do.

    :param where: names the connection
    :param cannot: what cannot be done with it, such as "cannot be read"
    :param otherwise: what to do if the error says nothing better: usually the privilege that is missing
    :raises WarehouseUnavailableError: for an error that may pass
    :raises PreflightError: for one that a person has to see to
    """
    try:
        yield
    except (DBAPIError, PoolTimeoutError) as error:
        fault = fault_of(error)
        found, remedy = _FOUND.get(fault, (cannot, otherwise))
        told = f"{where} {found} ({describe(error)}); {remedy}"
        raise (WarehouseUnavailableError(told) if fault in _MAY_PASS else PreflightError([told])) from None
