"""Interrupts what a database runs, at any statement."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine, event


class InterruptedStatementError(Exception):
    """Raised in place of a statement, as if the process ended there."""


class Interruption:
    """Whether a statement was interrupted."""

    happened = False


@contextmanager
def interrupted(engine: Engine, moment: int) -> Iterator[Interruption]:
    """Interrupt the block at the n-th moment, before or after a statement, counted from 0, and go on after it."""
    found = Interruption()
    left = moment

    def count(*_arguments: object) -> None:
        nonlocal left
        left -= 1
        if left < 0 and not found.happened:
            found.happened = True
            raise InterruptedStatementError

    for name in ("before_cursor_execute", "after_cursor_execute"):
        event.listen(engine, name, count)
    try:
        yield found
    except InterruptedStatementError:
        pass
    finally:
        for name in ("before_cursor_execute", "after_cursor_execute"):
            event.remove(engine, name, count)
