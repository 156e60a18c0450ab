"""Progress of a run: a log line every ten seconds, with reviews done, speed and time left."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from itertools import accumulate

from review_scoring.concurrency.background_thread import BackgroundThread

log = logging.getLogger(__name__)

EVERY_S = 10.0


class Progress:
    """Logs reviews done, the total, the speed and the time left.

    The time left is estimated by tokens, not by reviews: the longest reviews of a chunk are classified first, and the
    later ones take a fraction of their time. The clock starts with the first chunk, which excludes loading the model.

    :param limit: maximum number of reviews of this try
    :param count_waiting: counts the waiting reviews in the database; called once, in a background thread, when the
        first line is due, so that short runs do not count at all
    """

    def __init__(self, count_waiting: Callable[[], int], *, limit: int | None = None, every_s: float = EVERY_S) -> None:
        self._limit = limit
        self._count_waiting = count_waiting
        self._every_s = every_s
        self._started = self._last = time.monotonic()
        self._counter = BackgroundThread("count")
        self._total: Future[int] | None = None
        self._chunk = _ChunkTokens(0, ())
        self._reviews = 0
        self._tokens_before = 0.0

    def begin_chunk(self, reviews: int, texts: int, tokens: Sequence[int]) -> None:
        """Record the size of the next chunk.

        :param reviews: number of reviews in the chunk
        :param texts: number of those that are classified
        :param tokens: token counts of the first of these
        """
        if self._reviews == 0:
            self._started = time.monotonic()
        self._tokens_before += self._chunk.total
        self._chunk = _ChunkTokens(texts, tokens)
        self._reviews += reviews

    def tick(self, done: int, committed: int, rejects: int, *, done_of_chunk: int = 0) -> None:
        """Log a line if one is due.

        :param done: reviews that this try has read and classified
        :param committed: those of them that are committed
        :param done_of_chunk: texts of the current chunk that are classified
        """
        now = time.monotonic()
        if now - self._last < self._every_s:
            return
        self._last = now
        if self._total is None:
            self._total = self._counter.submit(lambda: committed + self._count_waiting())
        total, seconds = self._known_total(), now - self._started
        rate = done / seconds if seconds > 0 else 0.0
        log.info("%s", line(done, total, rate, rejects, self._left(total, done_of_chunk, seconds)))

    def close(self) -> None:
        """Stop counting."""
        self._counter.close()

    def _left(self, total: int | None, done_of_chunk: int, seconds: float) -> float | None:
        """Return the seconds left at the speed so far; None if unknown."""
        done = self._tokens_before + self._chunk.done(done_of_chunk)
        if total is None or done <= 0:
            return None
        known = self._tokens_before + self._chunk.total
        later = max(total - self._reviews, 0) * known / self._reviews
        return (known - done + later) * seconds / done

    def _known_total(self) -> int | None:
        if self._total is None or not self._total.done() or self._total.exception() is not None:
            return None
        total = self._total.result()
        return total if self._limit is None else min(total, self._limit)


class _ChunkTokens:
    """The tokens of a chunk, and of the texts that are done, which are the longest ones.

    :param texts: number of texts of the chunk
    :param known: token counts of the first texts, which are sorted and classified together; the others are assumed to
        have their mean
    """

    def __init__(self, texts: int, known: Sequence[int]) -> None:
        self._longest_first = [0, *accumulate(sorted(known, reverse=True))]
        self._mean = self._longest_first[-1] / len(known) if known else 0.0
        self.total = self.done(texts)

    def done(self, texts: int) -> float:
        """Return the tokens of the first `texts` texts, in the order in which they are classified."""
        known = min(texts, len(self._longest_first) - 1)
        return self._longest_first[known] + (texts - known) * self._mean


def line(done: int, total: int | None, rate: float, rejects: int, left: float | None = None) -> str:
    """Return a progress line: `1,200 of 5,000 reviews, 130.5/s, 0:29 left, 3 rejects`.

    :param left: seconds; None if unknown
    """
    if total is None:
        return f"{done:,} reviews, {rate:.1f}/s, {rejects:,} rejects"
    clock = "" if left is None else f"{_clock(left)} left, "
    return f"{done:,} of {max(total, done):,} reviews, {rate:.1f}/s, {clock}{rejects:,} rejects"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
