"""What a run says of itself while it works: a line every ten seconds."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future

from review_scoring.background import BackgroundThread

log = logging.getLogger(__name__)

EVERY_S = 10.0


class Progress:
    """Reviews done, of how many, how fast, and how long it will still take.

    :param limit: the most reviews that this try will do
    :param count_waiting: counts what waits in the database; called once, in a thread of its own, when the first line is
        due, so that short runs do not pay for it
    """

    def __init__(self, count_waiting: Callable[[], int], *, limit: int | None = None, every_s: float = EVERY_S) -> None:
        self._limit = limit
        self._count_waiting = count_waiting
        self._every_s = every_s
        self._started = self._last = time.monotonic()
        self._counter = BackgroundThread("count")
        self._total: Future[int] | None = None

    def tick(self, done: int, committed: int, rejects: int) -> None:
        """Write a line if one is due.

        :param done: reviews that this try has read and classified
        :param committed: those of them that are in the database
        """
        now = time.monotonic()
        if now - self._last < self._every_s:
            return
        self._last = now
        if self._total is None:
            self._total = self._counter.submit(lambda: committed + self._count_waiting())
        rate = done / (now - self._started)
        log.info("%s", line(done, self._known_total(), rate, rejects))

    def close(self) -> None:
        """End the counting, if it still goes on."""
        self._counter.close()

    def _known_total(self) -> int | None:
        if self._total is None or not self._total.done() or self._total.exception() is not None:
            return None
        total = self._total.result()
        return total if self._limit is None else min(total, self._limit)


def line(done: int, total: int | None, rate: float, rejects: int) -> str:
    """Return a progress line: `1,200 of 5,000 reviews, 130.5/s, 0:29 left, 3 rejects`."""
    if total is None:
        return f"{done:,} reviews, {rate:.1f}/s, {rejects:,} rejects"
    left = int(max(total - done, 0) / rate) if rate else 0
    minutes, seconds = divmod(left, 60)
    hours, minutes = divmod(minutes, 60)
    clock = f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
    return f"{done:,} of {max(total, done):,} reviews, {rate:.1f}/s, {clock} left, {rejects:,} rejects"
