"""A flag that tells a run to stop, safe to set from a signal handler."""

from __future__ import annotations

import time

from review_scoring.errors import ScoringInterruptedError

POLL_S = 0.05


class StopFlag:
    """What `threading.Event` does, without its lock.

    A signal handler runs in the main thread between two instructions; if those hold the event's lock, `Event.set`
    waits for ever.
    """

    def __init__(self) -> None:
        self._set = False

    def set(self) -> None:
        """Ask the run to stop."""
        self._set = True

    def is_set(self) -> bool:
        """Say whether the run was asked to stop."""
        return self._set

    def pause(self, seconds: float) -> None:
        """Sleep, but no longer than until asked to stop."""
        deadline = time.monotonic() + seconds
        while not self._set and (left := deadline - time.monotonic()) > 0:
            time.sleep(min(POLL_S, left))

    def check(self) -> None:
        """Raise if the run was asked to stop.

        :raises ScoringInterruptedError: what was committed stays
        """
        if self._set:
            raise ScoringInterruptedError(
                "the run was told to stop; what it had committed stays, and the next run goes on from there"
            )
