"""Live counts for the overview: cached for a minute, and counted again as soon as a run begins or ends.

A count that took too long is not tried again before the minute is over, either.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from review_scoring.airflow.web.failures import named
from review_scoring.airflow.web.jobs import SelectedJob
from review_scoring.errors import ConfigurationError, WarehouseUnavailableError
from review_scoring.warehouse.errors import took_too_long
from review_scoring.warehouse.history.live_counts import count_scored, count_waiting
from review_scoring.warehouse.history.rejects import count_rejects
from review_scoring.warehouse.history.runs import Run, last_runs
from review_scoring.warehouse.ledger.leases import RUNNING

log = logging.getLogger(__name__)

KEEP_S = 60.0
WAIT_S = 3.0
"""Seconds that one who looks waits for another's count: the threads of the API server are few."""

OTHER_SERVER = "not counted: the reviews are in another database than the scores"
TOO_MANY = "not counted: it takes longer than the warehouse is given"
UNREADABLE = "not counted: the source of the reviews cannot be read now"


@dataclass(frozen=True)
class LiveCounts:
    """The counts of one moment. `waiting` is None where it could not be counted, and `note` says why.

    `total` is how many reviews the run that goes will have read at its end; None where that cannot be told.
    """

    waiting: int | None
    note: str
    scored: int
    rejects: Mapping[str, int]
    counted_at: datetime
    total: int | None

    @property
    def rejected(self) -> int:
        """How many reviews are rejected, whatever the reason."""
        return sum(self.rejects.values())


_known: dict[object, tuple[float, object, LiveCounts | DBAPIError]] = {}
_locks: dict[object, threading.Lock] = {}


def live_counts(selected: SelectedJob) -> LiveCounts:
    """Return the counts of a job, those of the last minute if no run has begun or ended since.

    :raises DBAPIError: for a count that takes too long, or did in the last minute
    :raises sqlalchemy.exc.TimeoutError: where another's count is not done within `WAIT_S`
    """
    newest = _newest(selected)
    state = newest and (newest.dag_id, newest.run_id, newest.state, newest.shards_done)
    lock = _locks.setdefault(selected.job, threading.Lock())
    if not lock.acquire(timeout=WAIT_S):  # one count at a time, however many look
        raise PoolTimeoutError(f"another request counts the reviews of job {selected.job.name!r}; try again in seconds")
    try:
        known = _known.get(selected.job)
        if known is None or known[1] != state or time.monotonic() - known[0] >= KEEP_S:
            counted = _count_or_why_not(selected, newest)
            _known[selected.job] = known = (time.monotonic(), state, counted)
    finally:
        lock.release()
    if isinstance(known[2], DBAPIError):
        raise known[2].with_traceback(None)
    return known[2]


def _newest(selected: SelectedJob) -> Run | None:
    with selected.open() as (connection, job):
        return next(iter(last_runs(connection, job, limit=1)), None) if job else None


def _count_or_why_not(selected: SelectedJob, newest: Run | None) -> LiveCounts | DBAPIError:
    try:
        return _count(selected, newest)
    except DBAPIError as error:
        if not took_too_long(error):
            raise
        return error


def _count(selected: SelectedJob, newest: Run | None) -> LiveCounts:
    with selected.open() as (connection, job):
        scored = count_scored(connection, job) if job else 0
        rejects = dict(count_rejects(connection, job)) if job else {}
    waiting, note = None, OTHER_SERVER
    try:
        source = selected.source()
        with source.engine.connect() as connection:
            waiting = count_waiting(connection, job, source=source, engine=selected.engine)
    except (DBAPIError, ConfigurationError, WarehouseUnavailableError) as error:
        note = TOO_MANY if took_too_long(error) else UNREADABLE
        log.warning("reviews of job %s that wait cannot be counted: %s", selected.job.name, named(error))
    note = "" if waiting is not None else note
    return LiveCounts(waiting, note, scored, rejects, datetime.now(UTC), _total(newest, waiting))


def _total(newest: Run | None, waiting: int | None) -> int | None:
    """Return how many reviews a run will have read: what it has, and what waited then. A rescore's cannot be told."""
    if newest is None or newest.state != RUNNING or newest.is_rescore or waiting is None:
        return None
    total = newest.counts.read + waiting
    return total if newest.limit is None else min(total, newest.limit)
