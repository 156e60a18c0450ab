"""Transactions on the tables of one job, each tried again when its error passes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from sqlalchemy import Connection, Engine

from review_scoring.concurrency.cancellation import StopFlag
from review_scoring.warehouse.engine import writing
from review_scoring.warehouse.ledger.jobs import JobRecord
from review_scoring.warehouse.retry import with_retries

T = TypeVar("T")


@dataclass(frozen=True)
class JobTransactions:
    """The base of everything that reads and writes the ledger of a job during a run.

    :param stop: ends the waiting for a database that does not answer
    """

    engine: Engine
    job: JobRecord
    stop: StopFlag = field(default_factory=StopFlag)

    def _read(self, what: str, work: Callable[[Connection], T]) -> T:
        """Read in one transaction.

        :param what: names the step in the log and in errors
        :param work: may be called several times
        :raises WarehouseUnavailableError: if the database does not answer for longer than a run waits
        """
        return self._run(self.engine, what, work)

    def _write(self, what: str, work: Callable[[Connection], T]) -> T:
        """Write in one transaction, otherwise as :meth:`_read`."""
        return self._run(writing(self.engine), what, work)

    def _run(self, engine: Engine, what: str, work: Callable[[Connection], T]) -> T:
        def once() -> T:
            with engine.begin() as connection:
                return work(connection)

        return with_retries(once, what=what, stop=self.stop)
