"""Timeouts for silent database servers: a thread watches every step that waits for a database.

A server can stop answering while its connection stays open, for instance behind a proxy. The log has a warning every
minute that a step waits. The connection is cut after `ANSWER_WITHIN_S` seconds, or when the run is cancelled; the
driver then raises an ordinary lost connection.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

from review_scoring.concurrency.cancellation import StopFlag

log = logging.getLogger(__name__)

WARN_EVERY_S = 60.0
ANSWER_WITHIN_S = 1800.0
"""Timeout of one transaction, in seconds. Planning a run over hundreds of millions of rows takes minutes."""

LAST_ANSWER_S = 3.0
"""Seconds that a step may still take when its run is cancelled. Airflow kills the task two seconds later."""

_CHECK_EVERY_S = 0.25


@dataclass(eq=False)
class _Step:
    """A step that waits for a database, and the connections that it has checked out."""

    what: str
    stop: StopFlag
    endless: bool
    within_s: float | None = None
    connections: list[Any] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)
    warnings: int = 0
    stopping_since: float | None = None

    def check(self, now: float) -> None:
        """Log how long the step has waited, and cut its connections after the timeout."""
        waited = now - self.started
        if waited >= WARN_EVERY_S * (self.warnings + 1):
            self.warnings += 1
            log.warning("%s: the database has not answered for %d s", self.what, waited)
        if self.stop.is_set() and self.stopping_since is None:
            self.stopping_since = now
        too_long = not self.endless and waited > (self.within_s or ANSWER_WITHIN_S)
        stopped = self.stopping_since is not None and now - self.stopping_since > LAST_ANSWER_S
        if too_long or stopped:
            for connection in list(self.connections):
                _cut(connection)


class _Watch:
    """The steps that wait now, and the thread that watches them."""

    def __init__(self) -> None:
        self.of_thread = threading.local()
        self._steps: set[_Step] = set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def add(self, step: _Step) -> None:
        with self._lock:
            self._steps.add(step)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="database watch", daemon=True)
                self._thread.start()

    def remove(self, step: _Step) -> None:
        with self._lock:
            self._steps.discard(step)

    def _run(self) -> None:
        while True:
            time.sleep(_CHECK_EVERY_S)
            with self._lock:
                if not self._steps:
                    self._thread = None
                    return
                steps = list(self._steps)
            for step in steps:
                step.check(time.monotonic())


_watch = _Watch()


def _after_fork() -> None:
    """Start with a new watch in a forked task: threads do not survive a fork, and a lock may have been held."""
    global _watch  # noqa: PLW0603 one for each process
    _watch = _Watch()


os.register_at_fork(after_in_child=_after_fork)


@contextmanager
def watched(what: str, stop: StopFlag, *, endless: bool = False) -> Iterator[None]:
    """Watch what this thread does with databases in the block.

    :param what: names the step in the log
    :param endless: the step has no timeout; only cancelling the run ends it
    """
    outer = getattr(_watch.of_thread, "step", None)
    step = _watch.of_thread.step = _Step(what, stop, endless)
    _watch.add(step)
    try:
        yield
    finally:
        _watch.remove(step)
        _watch.of_thread.step = outer


def waited_for(connection: Any) -> None:
    """Register a connection with the current step of this thread, if there is one."""
    step: _Step | None = getattr(_watch.of_thread, "step", None)
    if step is not None:
        step.connections.append(connection)


def watch(engine: Engine, *, ping: bool, within_s: float | None = None) -> None:
    """Register the connections of an engine with the steps that check them out.

    :param within_s: timeout in seconds of a connection that is used outside of steps; None for no timeout
    :param ping: check that an idle connection answers before it is used. SQLAlchemy's `pool_pre_ping` does so before
        the connection is registered, so that a silent server could not be interrupted
    """

    def connected(_connection: Any, record: ConnectionPoolEntry) -> None:
        record.info["fresh"] = True

    def checked_out(connection: Any, record: ConnectionPoolEntry, _proxy: PoolProxiedConnection) -> None:
        waited_for(connection)
        if ping and not record.info.pop("fresh", False):
            try:
                engine.dialect.do_ping(connection)
            except engine.dialect.loaded_dbapi.Error as error:
                current: _Step | None = getattr(_watch.of_thread, "step", None)
                if current is not None and current.stop.is_set():
                    raise
                raise DisconnectionError from error
        if within_s is not None:
            step = record.info["step"] = _Step("a page", StopFlag(), endless=False, within_s=within_s)
            step.connections.append(connection)
            _watch.add(step)

    def checked_in(connection: Any, record: ConnectionPoolEntry) -> None:
        current: _Step | None = getattr(_watch.of_thread, "step", None)
        if current is not None and connection in current.connections:
            current.connections.remove(connection)  # another thread may use it next
        if (step := record.info.pop("step", None)) is not None:
            _watch.remove(step)

    event.listen(engine, "connect", connected)
    event.listen(engine, "checkout", checked_out)
    event.listen(engine, "checkin", checked_in)


def _cut(connection: Any) -> None:
    """Interrupt a driver's connection from another thread."""
    with suppress(Exception):  # already closed
        if hasattr(connection, "interrupt"):  # SQLite and DuckDB, in this process
            connection.interrupt()
            return
        pgconn = getattr(connection, "pgconn", None)
        if pgconn is None:
            connection._sock.shutdown(socket.SHUT_RDWR)  # no public name in PyMySQL
            return
        with socket.socket(fileno=os.dup(pgconn.socket)) as line:
            line.shutdown(socket.SHUT_RDWR)
