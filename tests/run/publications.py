"""What the tests of publications share: a mart beside the ledger, and how it is compared with it."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sqlalchemy import Engine, Row, event, inspect, select, text
from sqlalchemy.exc import DBAPIError

from review_scoring.concurrency.cancellation import StopFlag
from review_scoring.job import Publication, Rescore, ScoringJob
from review_scoring.request import RunKey
from review_scoring.run.publishing import PublicationReport, Publisher
from review_scoring.warehouse.engine import make_engine
from review_scoring.warehouse.ledger.ledger import find_ledger
from review_scoring.warehouse.publishing import changes
from review_scoring.warehouse.publishing.destinations import Destination, destination_of
from review_scoring.warehouse.publishing.published_table import COLUMNS
from tests.run.reconciliations import forgotten
from tests.stubs import Warehouse


@dataclass
class Mart:
    """A table beside a ledger that its scores are published to."""

    warehouse: Warehouse
    engine: Engine
    to: Publication = field(default_factory=lambda: Publication(conn_id="mart", table="film_labels"))

    @property
    def destination(self) -> Destination:
        """The table."""
        return destination_of(self.engine, self.warehouse.job.name, self.to.table, self.to.table_schema)

    def publisher(self, night: str | None = None, *, task: str = "publish", **options: Any) -> Publisher:
        """Return what publishes; with `night`, for the run of that name."""
        ledger = find_ledger(self.warehouse.target or self.warehouse.engine, self.warehouse.job)
        own = RunKey("dag", "score", night) if night else None
        holder = RunKey("dag", task, night or "by hand")
        stop = StopFlag()
        return Publisher(
            ledger=ledger, to=self.to, destination=self.destination, holder=holder, own=own, stop=stop, **options
        )

    def publish(self, night: str | None = None, *, resync: bool = False) -> PublicationReport:
        """Publish, for a run or by hand."""
        return self.publisher(night).publish(resync=resync)

    def rows(self) -> list[Row[Any]]:
        """Return the rows of the table, in order."""
        table = self.destination.table
        with self.engine.connect() as connection:
            found = connection.execute(select(*(table.c[name] for name in COLUMNS))).all()
        return sorted(found, key=lambda row: (row.job, row.review_id))

    def ids(self) -> list[int]:
        """Return the ids of the reviews in the table, in order."""
        return sorted(int(row.review_id) for row in self.rows())

    def run(self, statement: str) -> Any:
        """Run one statement in the mart's database."""
        with self.engine.begin() as connection:
            result = connection.execute(text(statement))
            return result.all() if result.returns_rows else None

    def is_equal(self) -> bool:
        """Compare the table with the ledger, row by row, and check that no staging table is left."""
        jobs, models, scores = (getattr(self.warehouse.tables, name) for name in ("jobs", "models", "scores"))
        columns = (jobs.c.name, scores.c.review_id, scores.c.label, scores.c.score, models.c.name, models.c.revision)
        labels = select(*columns, scores.c.scored_at).join_from(scores, jobs, jobs.c.id == scores.c.job_id)
        labels = labels.join(models, models.c.id == scores.c.model_id)
        with (self.warehouse.target or self.warehouse.engine).connect() as connection:
            rows = connection.execute(labels.where(jobs.c.name == self.warehouse.job.name)).all()
        expected = sorted(map(tuple, rows), key=lambda row: row[:2])
        mine = [tuple(row) for row in self.rows() if row.job == self.warehouse.job.name]
        assert mine == expected
        names = inspect(self.engine).get_table_names(schema=self.to.table_schema)
        assert not [name for name in names if "staging" in name and self._has(name)]
        return True

    def _has(self, name: str) -> bool:
        """Return whether a table can be read: the emulator of BigQuery lists tables that were dropped."""
        place = f"{self.to.table_schema}.{name}" if self.to.table_schema else name
        try:
            self.run(f"SELECT * FROM {place} LIMIT 1")
        except DBAPIError:
            return False
        return True


def change(mart: Mart, night: int) -> None:
    """Make a night with a change of each kind."""
    first = 100 * night
    mart.warehouse.fill(20, first=first)
    mart.warehouse.run(
        "UPDATE reviews SET body = :body WHERE id = :id", body=f"un autre avis {night}", id=first - 100 or 1
    )
    mart.warehouse.run("UPDATE reviews SET body = ' ' WHERE id = :id", id=first - 99)
    mart.warehouse.score(f"{night} changed", Rescore.CHANGED)
    mart.warehouse.score(str(night))
    mart.warehouse.run("DELETE FROM reviews WHERE id = :id", id=first + 5)
    forgotten(mart.warehouse, str(first + 5))


class Statements:
    """Calls something at the n-th moment: before or after a statement, of both databases, counted from 0."""

    def __init__(self, moment: int, then: Callable[[], None], *engines: Engine) -> None:
        self._left = moment
        self._then = then
        self.happened = self.is_over = False
        for each in engines:
            event.listen(each, "before_cursor_execute", self._count)
            event.listen(each, "after_cursor_execute", self._count)
            event.listen(each, "commit", self._count)

    def _count(self, *_arguments: Any) -> None:
        self._left -= 1
        if self._left == -1 and not self.is_over:
            self.happened = True
            self._then()


def killed_at(mart: Mart, moment: int, reopen: Callable[[], Engine]) -> bool:
    """Publish in a process of its own that is killed at a moment; return whether it was.

    :param reopen: returns a new engine of the mart's database, in that process
    """
    for each in (mart.warehouse.engine, mart.engine):
        each.dispose()  # another process cannot open a file of DuckDB otherwise
    ledger = partial(reopened, url_of(mart.warehouse.engine))
    given = (ledger, mart.warehouse.job, reopen, mart.to, moment, changes.PAGE_ROWS)
    process = PROCESSES.Process(target=_publish_and_die, args=given)
    process.start()
    process.join()
    assert process.exitcode in {0, -signal.SIGKILL}
    return process.exitcode != 0


# Not a fork of the process of the tests, which has threads.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.run.publications"])


def _publish_and_die(
    ledger: Callable[[], Engine],
    job: ScoringJob,
    reopen: Callable[[], Engine],
    to: Publication,
    moment: int,
    page_rows: int,
) -> None:
    changes.PAGE_ROWS = page_rows
    mart = Mart(Warehouse(ledger(), job=job), reopen(), to)
    Statements(moment, lambda: os.kill(os.getpid(), signal.SIGKILL), mart.engine, mart.warehouse.engine)
    mart.publish("2")


def reopened(url: str) -> Engine:
    """Return a new engine of a database."""
    return make_engine(url)


def url_of(engine: Engine) -> str:
    """Return the URL of a database, with its password."""
    return engine.url.render_as_string(hide_password=False)
