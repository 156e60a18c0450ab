"""Pace: how many rows of a source one statement looks at, so that none takes longer than the job allows."""

from __future__ import annotations

WINDOW_ROWS = 100_000
"""Rows that one statement compares with the ledger: some tenths of a second on a server that is not loaded."""

FEWEST_ROWS = 1_000

LONG_LIMIT_S = 60
"""Limits of so many seconds are not reached by windows of the full size."""


class Pace:
    """The size of the windows of one source. It is halved while statements are slow, and doubled when they are not.

    :param limit_s: seconds that a statement may take; 0 for no limit
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        # A source that needs a short limit may be slow from the first statement on.
        self._rows = WINDOW_ROWS if limit_s == 0 or limit_s >= LONG_LIMIT_S else WINDOW_ROWS // 10
        self._slowest = 0.0

    def note(self, seconds: float) -> None:
        """Record how long a statement took."""
        self._slowest = max(self._slowest, seconds)

    def rows(self) -> int:
        """Return the size of the next window."""
        if self._limit_s and self._slowest > self._limit_s / 4:
            self._rows = max(self._rows // 2, FEWEST_ROWS)
        elif self._slowest < self._limit_s / 16:
            self._rows = min(self._rows * 2, WINDOW_ROWS)
        self._slowest = 0.0
        return self._rows
