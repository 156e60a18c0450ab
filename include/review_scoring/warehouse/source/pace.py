"""Pace: how many rows of a source one statement looks at, so that none takes longer than the job allows."""

from __future__ import annotations

WINDOW_ROWS = 100_000
"""Rows that one statement compares with the ledger: some tenths of a second on a server that is not loaded."""

FIRST_ROWS = 10_000
"""Rows that the first statement looks at: how fast the source is, is not known yet."""

FEWEST_ROWS = 1_000


class Pace:
    """The size of the windows of one source. It is halved while statements are slow, and doubled when they are fast.

    :param limit_s: seconds that a statement may take; 0 for no limit
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._most = WINDOW_ROWS
        self._rows = FIRST_ROWS if limit_s else WINDOW_ROWS
        self._slowest: float | None = None

    def note(self, seconds: float) -> None:
        """Record how long a statement took."""
        self._slowest = max(self._slowest or 0.0, seconds)

    def rows(self) -> int:
        """Return the size of the next window."""
        if self._limit_s and self._slowest is not None:
            if self._slowest > self._limit_s / 4:
                self._rows = max(self._rows // 2, FEWEST_ROWS)
            elif self._slowest < self._limit_s / 16:
                self._rows *= 2
        self._rows = min(self._rows, self._most)
        self._slowest = None
        return self._rows

    def shrink(self) -> bool:
        """Make windows smaller after a time limit has ended a statement; False if they are the smallest already.

        The size that was too large is not tried again: the limit may be one of the server, which is not known here.
        """
        if self._rows <= FEWEST_ROWS:
            return False
        self._most = max(self._rows // 2, FEWEST_ROWS)
        self._rows = max(self._rows // 4, FEWEST_ROWS)
        self._slowest = None
        return True
