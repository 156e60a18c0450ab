"""Live counts of the overview: cached for a minute, and counted again when a run begins or ends.

A count that exceeded the warehouse's time limit is not repeated within that minute either.
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

from review_scoring.airflow.web.error_pages import named
from review_scoring.airflow.web.selected_job import SelectedJob
from review_scoring.errors import ConfigurationError, WarehouseUnavailableError
from review_scoring.job import ScoringJob
from review_scoring.warehouse.errors import took_too_long
from review_scoring.warehouse.history.live_counts import count_scored, count_waiting
from review_scoring.warehouse.history.rejects import count_rejects
from review_scoring.warehouse.history.runs import Run, last_runs
from review_scoring.warehouse.schema import RUNNING

log = logging.getLogger(__name__)

KEEP_S = 60.0
"""Seconds for which counts are kept while the newest run does not change."""

WAIT_S = 3.0
"""Seconds that a request waits for the count of another request. The API server has few threads."""

OTHER_SERVER = "not counted: reviews and scores are in different databases"
TOO_MANY = "not counted: the query takes too long"
UNREADABLE = "not counted: the source of the reviews cannot be read"


@dataclass(frozen=True)
class LiveCounts:
    """The reviews of a job by state, at one moment.

    :param waiting: None if they could not be counted; `note` then has the reason
    :param rejects: number of rejects by reason, the most frequent reason first
    :param total: the reviews that the run in progress will have read at its end; None if that is unknown
    """

    waiting: int | None
    note: str
    scored: int
    rejects: Mapping[str, int]
    counted_at: datetime
    total: int | None

    @property
    def rejected(self) -> int:
        """Number of rejected reviews, whatever the reason."""
        return sum(self.rejects.values())


@dataclass(frozen=True)
class _Entry:
    """What is cached for a job: its counts, or the error that counting them raised."""

    taken_s: float
    newest: object
    counts: LiveCounts | DBAPIError


class LiveCountsCache:
    """The live counts of each job. One request at a time counts the reviews of a job; the others wait for it."""

    def __init__(self) -> None:
        self._entries: dict[ScoringJob, _Entry] = {}
        self._locks: dict[ScoringJob, threading.Lock] = {}

    def get(self, selected: SelectedJob) -> LiveCounts:
        """Return the counts of a job: those of the last minute, unless a run has begun or ended since.

        :raises DBAPIError: if the count exceeds the time limit, or did within the last minute
        :raises sqlalchemy.exc.TimeoutError: if the count of another request takes longer than `WAIT_S`
        """
        run = _newest_run(selected)
        newest = run and (run.dag_id, run.dag_run_id, run.state, run.shards_done)
        lock = self._locks.setdefault(selected.job, threading.Lock())
        if not lock.acquire(timeout=WAIT_S):
            raise PoolTimeoutError(f"another request counts the reviews of job {selected.job.name!r}; try again later")
        try:
            entry = self._entries.get(selected.job)
            if entry is None or entry.newest != newest or time.monotonic() - entry.taken_s >= KEEP_S:
                counts = _counts_or_error(selected, run)
                self._entries[selected.job] = entry = _Entry(time.monotonic(), newest, counts)
        finally:
            lock.release()
        if isinstance(entry.counts, DBAPIError):
            raise entry.counts.with_traceback(None)
        return entry.counts

    def clear(self) -> None:
        """Forget all counts, so that the next request counts again."""
        self._entries.clear()


def live_counts(selected: SelectedJob, newest: Run | None) -> LiveCounts:
    """Count the reviews of a job in the warehouse and in the source.

    :param newest: the newest run of the job
    :raises DBAPIError: if the warehouse cannot be read; an error of the source becomes the `note` of the counts
    """
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
        log.warning("cannot count the waiting reviews of job %s: %s", selected.job.name, named(error))
    note = "" if waiting is not None else note
    return LiveCounts(waiting, note, scored, rejects, datetime.now(UTC), _total(newest, waiting))


def _newest_run(selected: SelectedJob) -> Run | None:
    with selected.open() as (connection, job):
        return next(iter(last_runs(connection, job, limit=1)), None) if job else None


def _counts_or_error(selected: SelectedJob, newest: Run | None) -> LiveCounts | DBAPIError:
    try:
        return live_counts(selected, newest)
    except DBAPIError as error:
        if not took_too_long(error):
            raise
        return error


def _total(newest: Run | None, waiting: int | None) -> int | None:
    """Return how many reviews a run will have read: what it has read, and what is waiting. Unknown for a rescore."""
    if newest is None or newest.state != RUNNING or newest.is_rescore or waiting is None:
        return None
    total = newest.counts.read + waiting
    return total if newest.limit is None else min(total, newest.limit)
