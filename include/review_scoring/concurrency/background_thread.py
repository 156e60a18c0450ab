"""Work in a thread that nobody has to wait for: a process that is told to stop ends, whatever the thread waits for.

The workers of `concurrent.futures.ThreadPoolExecutor` are joined when the interpreter ends, so one that waits for a
server that has fallen silent would keep a stopped task alive.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any, TypeVar

from review_scoring.concurrency.cancellation import POLL_S, StopFlag

T = TypeVar("T")


class BackgroundThread:
    """One daemon thread that does what it is given, in that order."""

    def __init__(self, name: str) -> None:
        self._waiting: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        self._closed = threading.Event()
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Do something after what was given before.

        :raises RuntimeError: once the thread is closed
        """
        if self._closed.is_set():
            raise RuntimeError("the thread takes no more work")
        future: Future[T] = Future()
        self._waiting.put((future, work))
        return future

    def close(self) -> None:
        """End as soon as what is at work is done; what waits behind it is cancelled."""
        self._closed.set()
        self._waiting.put(None)

    def _work(self) -> None:
        while (given := self._waiting.get()) is not None:
            future, work = given
            if self._closed.is_set():
                future.cancel()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = work()
            except BaseException as error:  # noqa: BLE001 whoever waits for the future gets it
                future.set_exception(error)
            else:
                future.set_result(result)


def wait_for(future: Future[T], stop: StopFlag) -> T:
    """Return the result of work in another thread.

    :raises ScoringInterruptedError: if told to stop while waiting
    """
    while not future.done():
        wait([future], timeout=POLL_S)
        stop.check()
    return future.result()
