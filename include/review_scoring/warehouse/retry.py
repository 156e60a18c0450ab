"""Retries of database work: which errors, for how long, with which pauses, and the error after the last one."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.exc import SQLAlchemyError
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_delay, wait_exponential, wait_random

from review_scoring.concurrency.cancellation import StopFlag
from review_scoring.errors import WarehouseUnavailableError
from review_scoring.warehouse.errors import PASSING, Fault, describe, fault_of, is_passing
from review_scoring.warehouse.server_timeouts import watched

log = logging.getLogger(__name__)
T = TypeVar("T")

PATIENCE_S = 120.0
"""Seconds of retries, for instance after a lost connection. Then the task fails, and Airflow retries it."""

_GIVEN_UP = {
    Fault.FULL: (
        "failed: the database has no disk space left ({error}). Nothing was half written; free some space and run again"
    ),
    Fault.TIMEOUT: (
        "was cancelled at the server's time limit ({error}). Nothing was half written; for the source, raise "
        "`source_statement_s` of the job or set it to 0, and create an index on its cursor_column; otherwise raise the "
        "limit for the connection's user (`statement_timeout`, `max_statement_time`, `max_execution_time`), or use "
        "smaller chunks (`chunk_rows`)"
    ),
    Fault.POOLER: (
        "failed: a pooler in front of the server loses prepared statements ({error}). Set the extra "
        "`prepare_threshold` of the connection to null, which is the default, and run again"
    ),
}


class TimeLimitError(WarehouseUnavailableError):
    """A statement met a time limit of the server. With fewer rows to look at, it may not."""


def with_retries(
    call: Callable[[], T],
    *,
    what: str,
    stop: StopFlag,
    patience_s: float | None = None,
) -> T:
    """Call until it succeeds: transient errors are retried with growing pauses, others are raised at once.

    :param call: repeatable; it opens its own connection and transaction
    :param what: names the step in the log and in the error
    :param stop: ends a pause at once, and a call that waits for the server within seconds
    :raises WarehouseUnavailableError: if it did not succeed within `patience_s` (`PATIENCE_S`) seconds, or the disk is
        full
    :raises TimeLimitError: if it met a time limit of the server
    :raises ScoringInterruptedError: when `stop` was set while waiting
    """
    patience_s = PATIENCE_S if patience_s is None else patience_s
    try:
        return retried(call, what=what, stop=stop, patience_s=patience_s)
    except SQLAlchemyError as error:
        fault = fault_of(error)
        if fault in PASSING:
            raise WarehouseUnavailableError(
                f"{what} failed for {patience_s:.0f} s: {describe(error)}. "
                "Nothing was half written; run again when the database answers."
            ) from None
        if fault in _GIVEN_UP:
            kind = TimeLimitError if fault is Fault.TIMEOUT else WarehouseUnavailableError
            raise kind(f"{what} {_GIVEN_UP[fault].format(error=describe(error))}.") from None
        raise


BACKOFF = wait_exponential(multiplier=0.2, max=10.0) + wait_random(0, 1)
"""Seconds before another attempt: 0.2 at first, doubled each time up to 10, and up to one more at random."""


def retried(call: Callable[[], T], *, what: str, stop: StopFlag, patience_s: float, endless: bool = False) -> T:
    """Retry like :func:`with_retries`, and raise the last error unchanged.

    :param endless: a call has no timeout, in place of :data:`server_timeouts.ANSWER_WITHIN_S` seconds
    :raises sqlalchemy.exc.SQLAlchemyError: as the database raised it
    :raises ScoringInterruptedError: when `stop` was set while waiting
    """

    def once() -> T:
        with watched(what, stop, endless=endless):
            return call()

    def log_retry(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        log.warning("%s failed (%s), retrying", what, describe(error))

    retrying = Retrying(
        retry=retry_if_exception(lambda error: is_passing(error) and not stop.is_set()),
        wait=BACKOFF,
        stop=stop_after_delay(patience_s),
        sleep=stop.pause,
        before_sleep=log_retry,
        reraise=True,
    )
    try:
        return retrying(once)
    except SQLAlchemyError:
        stop.check()  # the watch may have cut the connection for it
        raise
