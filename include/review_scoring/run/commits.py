"""Commits chunks in a thread: one is on its way while the next is classified."""

from __future__ import annotations

import logging
from concurrent.futures import Future
from functools import partial

from review_scoring.concurrency.background_thread import BackgroundThread, wait_for
from review_scoring.concurrency.cancellation import StopFlag
from review_scoring.warehouse.ledger.chunk import ChunkResult
from review_scoring.warehouse.ledger.held_lease import Lease
from review_scoring.warehouse.ledger.ledger import Ledger
from review_scoring.warehouse.schema import SUCCESS

log = logging.getLogger(__name__)

LAST_COMMIT_S = 3.0
"""Seconds that a cancelled run waits for its last commit."""


class Commits:
    """Everything that a run writes under its lease, in order and one at a time: commits, renewals, and its end.

    :param lease: as taken; `self.lease` is the one after the last commit, and `self.before` its counts before the first
    :param stop: ends the waiting for a commit
    """

    def __init__(self, ledger: Ledger, lease: Lease, stop: StopFlag) -> None:
        self.lease = lease
        self.before = lease.counts
        self._ledger = ledger
        self._stop = stop
        self._thread = BackgroundThread("commit")
        self._pending: Future[None] | None = None

    def add(self, result: ChunkResult) -> None:
        """Commit a chunk in the thread, once the one before it is committed.

        :raises LeaseLostError: if another run has taken over
        """
        self.flush()
        self._pending = self._thread.submit(partial(self._commit, result))

    def flush(self) -> None:
        """Wait until everything is committed.

        :raises ScoringInterruptedError: if the run is cancelled
        """
        if self._pending is not None:
            wait_for(self._pending, self._stop)
            self._pending = None

    def renew(self) -> Future[None]:
        """Renew the lease, behind the commit that is on its way.

        :raises RuntimeError: once closed
        """
        return self._thread.submit(lambda: self._ledger.leases.renew(self.lease))

    def end(self, *, ended_early: bool) -> None:
        """Give the lease back after everything was committed: the run has succeeded."""
        self.flush()
        self._stop.check()
        self._ledger.leases.end(self.lease, SUCCESS, ended_early=ended_early)

    def abandon(self, state: str) -> None:
        """Let the last commit end, and give the lease back, so that the next run need not wait for it to expire."""
        ending = self._thread.submit(lambda: self._ledger.leases.end(self.lease, state))
        try:
            ending.result(timeout=LAST_COMMIT_S)
        except Exception as error:  # noqa: BLE001 the first error is the one to raise; this one is only logged
            log.warning("the run's end could not be written (%s); its lease expires by itself", type(error).__name__)

    def close(self) -> None:
        """End the thread as soon as its current work is done."""
        self._thread.close()

    def _commit(self, result: ChunkResult) -> None:
        self.lease = self._ledger.chunks.commit(self.lease, result)
