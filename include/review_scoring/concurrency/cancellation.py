"""The stop flag of a run (cancellation), safe to set from a signal handler."""

from __future__ import annotations

import time

from review_scoring.errors import ScoringInterruptedError

POLL_S = 0.05


class StopFlag:
    """A `threading.Event` without a lock.

    A signal handler interrupts the main thread between two instructions. If the main thread holds the event's lock at
    that moment, `Event.set` in the handler deadlocks.
    """

    def __init__(self) -> None:
        self._set = False

    def set(self) -> None:
        """Cancel the run."""
        self._set = True

    def is_set(self) -> bool:
        """Return whether the run was cancelled."""
        return self._set

    def pause(self, seconds: float) -> None:
        """Sleep, and wake up early if the run is cancelled."""
        deadline = time.monotonic() + seconds
        while not self._set and (left := deadline - time.monotonic()) > 0:
            time.sleep(min(POLL_S, left))

    def check(self) -> None:
        """Raise if the run was cancelled.

        :raises ScoringInterruptedError: committed chunks are kept
        """
        if self._set:
            raise ScoringInterruptedError(
                "the run was stopped; committed chunks are kept, and the next run continues after them"
            )
