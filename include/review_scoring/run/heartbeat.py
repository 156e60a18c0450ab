"""The heartbeat of a run: renews its lease every 20 seconds, so that other runs know that it is alive."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress

HEARTBEAT_S = 20.0
"""Seconds between two renewals of the lease."""


class Heartbeat:
    """Renews a lease from a thread of its own, whether the run reads, loads a model or classifies.

    :param renew: starts a renewal; raises RuntimeError once the run has ended
    """

    def __init__(self, renew: Callable[[], Future[None]]) -> None:
        self._renew = renew
        self._renewal: Future[None] | None = None
        self._closed = threading.Event()
        threading.Thread(target=self._beat, name="heartbeat", daemon=True).start()

    def check(self) -> None:
        """Raise what the last renewal raised.

        :raises LeaseLostError: if another run has taken over
        """
        if self._renewal is not None and self._renewal.done():
            self._renewal.result()

    def close(self) -> None:
        """Stop renewing."""
        self._closed.set()

    def _beat(self) -> None:
        while not self._closed.wait(HEARTBEAT_S):
            with suppress(RuntimeError):  # the run ended at this very moment, and takes no more work
                self._renewal = self._renew()
