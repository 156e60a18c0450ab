"""A daemon thread with a work queue, which does not block the exit of the process.

Python joins the workers of `concurrent.futures.ThreadPoolExecutor` when the interpreter exits, so a worker that waits
for a server that no longer answers would keep a stopped task alive.
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
    """One daemon thread that runs submitted calls in order."""

    def __init__(self, name: str) -> None:
        self._waiting: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        self._closed = threading.Event()
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Queue a call, to run after those submitted before.

        :raises RuntimeError: if the thread is closed
        """
        if self._closed.is_set():
            raise RuntimeError("the background thread is closed")
        future: Future[T] = Future()
        self._waiting.put((future, work))
        return future

    def close(self) -> None:
        """End after the call that is running, and cancel those in the queue."""
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
            except BaseException as error:  # noqa: BLE001 the future passes it on
                future.set_exception(error)
            else:
                future.set_result(result)


def wait_for(future: Future[T], stop: StopFlag) -> T:
    """Wait for a future and return its result.

    :raises ScoringInterruptedError: if the run is cancelled while it waits
    """
    while not future.done():
        wait([future], timeout=POLL_S)
        stop.check()
    return future.result()
