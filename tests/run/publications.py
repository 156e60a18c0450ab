"""What the tests of publications share: a mart beside the ledger, and how it is compared with it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Engine, Row, inspect, select, text

from review_scoring.concurrency.cancellation import StopFlag
from review_scoring.job import Publication
from review_scoring.request import RunKey
from review_scoring.run.publishing import PublicationReport, Publisher
from review_scoring.warehouse.ledger.ledger import find_ledger
from review_scoring.warehouse.publishing.destinations import Destination, destination_of
from review_scoring.warehouse.publishing.published_table import COLUMNS
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
        assert not [name for name in names if "staging" in name]
        return True
