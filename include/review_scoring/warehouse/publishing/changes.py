"""What a publication has to write: the rows of shards that were not published yet, and what was erased since.

Each lease of a job has a higher fencing token than the one before it, and no shard commits without a lease. So a shard
whose token was published, and that was not running then, has nothing new.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, func, or_, select
from sqlalchemy.exc import SQLAlchemyError

from review_scoring.errors import WarehouseUnavailableError
from review_scoring.request import RunKey
from review_scoring.warehouse.dialects import dialect_of
from review_scoring.warehouse.errors import describe, is_passing
from review_scoring.warehouse.ledger.runs import of_task
from review_scoring.warehouse.ledger.transactions import JobTransactions
from review_scoring.warehouse.ledger.verdicts import no_check_failed
from review_scoring.warehouse.publishing.publications import Published
from review_scoring.warehouse.schema import RUNNING

PAGE_ROWS = 20_000
"""Rows that are read, and loaded, at once."""

SHARDS = 1_000
"""Shards whose rows one statement reads."""


@dataclass(frozen=True)
class Changes:
    """What has changed in the ledger since a publication.

    :param shards: ids of the shards whose rows are published; None for the rows of all shards but `excluded`
    :param excluded: ids of the shards of runs whose checks failed
    :param left: ids of the shards that the next publication has to look at: `excluded`, and those that are running
    :param hashes: of the ids of reviews whose scores or rejects were erased
    :param token: the highest fencing token of all shards
    :param erasure: the id of the last erasure
    """

    shards: Sequence[int] | None
    excluded: Sequence[int]
    left: Sequence[int]
    hashes: Sequence[bytes]
    token: int
    erasure: int

    @property
    def is_full(self) -> bool:
        """Whether everything is published."""
        return self.shards is None

    def __bool__(self) -> bool:
        return self.is_full or bool(self.shards or self.hashes)


class LedgerChanges(JobTransactions):
    """Reads what a job's publications have to write."""

    def since(
        self, published: Published | None, own: RunKey | None, *, excludes_failed: bool = True, is_full: bool = False
    ) -> Changes:
        """Return what has changed since a publication; everything if there was none.

        Rows of shards that are running are left to the publication of their own run.

        :param own: the task that scored the run that publishes: its rows are published whatever its checks said, since
            Airflow runs the publication only if they passed, or somebody has marked them as passed
        :param excludes_failed: whether rows of runs whose checks failed are not published, unless they were before
        :param is_full: whether everything is returned in any case
        """
        last, published = published, None if is_full else published
        # In this order: a review that is erased and scored again is then never published as an erasure alone.
        shards = self._read("looking up what to publish", lambda c: self._shards(c, published, own))
        erased = self._read("looking up erased reviews", lambda c: self._erased(c, published))
        excluded = [row.id for row in shards if row.has_failed and excludes_failed and not _was_published(row, last)]
        left = {*excluded, *(row.id for row in shards if row.is_running)}
        before = (published.token, published.erasure) if published else (0, 0)
        return Changes(
            shards=[row.id for row in shards if row.id not in left] if published else None,
            excluded=excluded,
            left=sorted(left),
            # Of a reject as well: its score may have been published before.
            hashes=[bytes(row.review_hash) for row in erased if row.erased_from is not None] if published else [],
            token=max([before[0], *(row.fencing_token for row in shards)]),
            erasure=max([before[1], *(row.id for row in erased)]),
        )

    def count(self, changes: Changes) -> tuple[int, int]:
        """Return how many scores, and how many removals, :meth:`scores` and :meth:`removed` yield, with the erased."""
        scores, removed = self._scores(changes), self._removed(changes)

        def count(connection: Connection) -> tuple[int, int]:
            numbers = [
                sum(int(connection.scalar(select(func.count()).select_from(each.subquery())) or 0) for each in part)
                for part in (scores, removed)
            ]
            return numbers[0], numbers[1] + len(changes.hashes)

        return self._read("counting what to publish", count)

    def removed(self, changes: Changes) -> Iterator[Sequence[str]]:
        """Yield, page by page, the ids of reviews that have no score any more because they were rejected."""
        for statement in self._removed(changes):
            for page in self._pages(statement):
                yield [row.review_id for row in page]

    def scores(self, changes: Changes) -> Iterator[Sequence[Row[Any]]]:
        """Yield, page by page, rows of `review_id`, `label`, `score`, `model`, `revision` and `scored_at`."""
        for statement in self._scores(changes):
            yield from self._pages(statement)

    def _removed(self, changes: Changes) -> list[Select[Any]]:
        rejects = self.job.tables.rejects
        mine = select(rejects.c.review_id).where(rejects.c.job_id == self.job.id)
        return [] if changes.shards is None else self._of_shards(mine, rejects.c.shard_id, changes.shards)

    def _scores(self, changes: Changes) -> list[Select[Any]]:
        scores, models = self.job.tables.scores, self.job.tables.models
        columns = (scores.c.review_id, scores.c.label, scores.c.score, models.c.name.label("model"), models.c.revision)
        mine = (
            select(*columns, scores.c.scored_at)
            .join(models, models.c.id == scores.c.model_id)
            .where(scores.c.job_id == self.job.id)
        )
        if changes.shards is None:
            return [mine.where(scores.c.shard_id.not_in(changes.excluded)) if changes.excluded else mine]
        return self._of_shards(mine, scores.c.shard_id, changes.shards)

    def _of_shards(self, rows: Select[Any], shard_id: ColumnElement[int], shards: Sequence[int]) -> list[Select[Any]]:
        parts = (shards[start : start + SHARDS] for start in range(0, len(shards), SHARDS))
        return [rows.where(dialect_of(self.engine).in_values(shard_id, part)) for part in parts]

    def _pages(self, statement: Select[Any]) -> Iterator[Sequence[Row[Any]]]:
        """Read the rows of one statement as they come, so that memory stays bounded."""
        try:
            with self.engine.connect() as connection:
                found = connection.execution_options(yield_per=PAGE_ROWS).execute(statement)
                for page in found.partitions():
                    self.stop.check()
                    yield page
        except SQLAlchemyError as error:
            if not is_passing(error):
                raise
            raise WarehouseUnavailableError(
                f"reading the scores of job {self.job.name!r} failed: {describe(error)}. Nothing was published; run "
                "again when the database answers"
            ) from None

    def _shards(self, connection: Connection, published: Published | None, own: RunKey | None) -> Sequence[Any]:
        runs, shards = self.job.tables.runs, self.job.tables.shards
        has_failed = ~no_check_failed(runs.c.checks)
        if own is not None:
            has_failed = and_(has_failed, ~of_task(self.job, own))
        columns = (shards.c.id, shards.c.fencing_token, (shards.c.state == RUNNING).label("is_running"))
        rows = select(*columns, has_failed.label("has_failed")).join(runs, runs.c.id == shards.c.run_id)
        rows = rows.where(runs.c.job_id == self.job.id)
        if published is not None:
            was_left = dialect_of(connection).in_values(shards.c.id, published.left)
            rows = rows.where(or_(shards.c.fencing_token > published.token, was_left))
        return connection.execute(rows.order_by(shards.c.id)).all()

    def _erased(self, connection: Connection, published: Published | None) -> Sequence[Any]:
        erasures = self.job.tables.erasures
        rows = select(erasures.c.id, erasures.c.review_hash, erasures.c.erased_from)
        rows = rows.where(erasures.c.job_id == self.job.id)
        if published is None:
            return connection.execute(rows.order_by(erasures.c.id.desc()).limit(1)).all()
        return connection.execute(rows.where(erasures.c.id > published.erasure)).all()


def _was_published(shard: Any, last: Published | None) -> bool:
    """Return whether the last publication has written the rows of a shard, or one before it."""
    return last is not None and shard.fencing_token <= last.token and shard.id not in last.left
