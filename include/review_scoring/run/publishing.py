"""Publishes the scores of a job to a table of another database: what has changed since the last time, or everything.

A publication loads a staging table, and one atomic statement brings the table to what was staged. It may be killed
anywhere and run again: it is recorded as published at the end, and until then the next one starts from the same place.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from review_scoring.concurrency.background_thread import BackgroundThread
from review_scoring.concurrency.cancellation import StopFlag
from review_scoring.errors import ConfigurationError, PreflightError, ReviewScoringError, WarehouseUnavailableError
from review_scoring.job import Publication, ScoringJob
from review_scoring.request import RunKey
from review_scoring.run.heartbeat import Heartbeat
from review_scoring.run.report import counted
from review_scoring.settings import FEWEST_RUN_DAYS
from review_scoring.warehouse.ledger.ledger import Ledger
from review_scoring.warehouse.preflight_errors import with_explained_errors
from review_scoring.warehouse.publishing.changes import Changes, LedgerChanges
from review_scoring.warehouse.publishing.destinations import Destination, destination_of
from review_scoring.warehouse.publishing.publications import Attempt, Publications, Published

if TYPE_CHECKING:
    from sqlalchemy import Engine

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class PublicationReport:
    """What a publication did, or would do.

    :param destination: Connection and table
    :param written: scores that were loaded
    :param removed: reviews that were erased or rejected since the last publication
    :param rows: rows of the job in the table afterwards; None for a dry run
    :param why_full: why everything was published; None if only changes were
    :param left: shards that are left to a later publication: they are running, or a check of their run failed
    """

    job: str
    destination: str
    written: int
    removed: int
    rows: int | None
    why_full: str | None
    left: int

    def as_xcom(self) -> dict[str, Any]:
        """Return plain values for XCom, with the paragraph."""
        return {**vars(self), "paragraph": self.paragraph}

    @property
    def line(self) -> str:
        """The counts in one line, such as `published=416 removed=0 rows=416`."""
        counts = f"published={self.written} removed={self.removed}"
        return f"dry run: {counts}" if self.rows is None else f"{counts} rows={self.rows}"

    @property
    def paragraph(self) -> str:
        """The report for Slack, mail and the like."""
        why = f" Everything was published: {self.why_full}." if self.why_full else ""
        left = f" {counted(self.left, 'shard')} left to a later publication." if self.left else ""
        if self.rows is None:
            would = f"{counted(self.written, 'score')} would be published to {self.destination}"
            return f"{self.job}: {would}.{why}{left} This was a dry run; nothing was written."
        removed = f", {counted(self.removed, 'review')} removed" if self.removed else ""
        now = f"the table has {counted(self.rows, 'row')} of the job"
        return (
            f"{self.job}: {counted(self.written, 'score')} published to {self.destination}{removed}; {now}.{why}{left}"
        )


@dataclass(frozen=True, kw_only=True)
class Publisher:
    """Publishes the scores of a job to one destination.

    :param to: the Connection and the table, as the job names them
    :param destination: that table
    :param holder: the task that publishes; another try of it takes over from the one before
    :param own: the task that scored the run that publishes; None for a publication that belongs to no run
    :param creates_table: whether a table that does not exist is created; otherwise a DBA does
    """

    ledger: Ledger
    to: Publication
    destination: Destination
    holder: RunKey
    own: RunKey | None
    stop: StopFlag
    creates_table: bool = True

    def publish(self, *, resync: bool = False) -> PublicationReport:
        """Publish what has changed since the last publication.

        Everything is published the first time, if the table is missing or does not have the rows of the last
        publication, and if that is so long ago that records of runs since then may have been removed.

        :param resync: publish everything that the ledger has, also of runs whose checks failed
        :raises ConfigurationError: if scores cannot be published there
        :raises WarehouseUnavailableError: if a database does not answer
        :raises JobBusyError: if another task publishes to the same table
        :raises LeaseLostError: if another task has begun to meanwhile
        """
        attempt = self._publications.begin(self.to.name, str(self.holder))
        try:
            with _heartbeat(self._publications, attempt) as heartbeat:
                why_full = self._prepare(attempt, resync=resync)
                changes = self._changes(attempt.published, is_full=why_full is not None, resync=resync)
                loader = _Loader(self.destination, heartbeat)
                if changes:
                    self._explained(lambda: loader.load(attempt.number, self._source, changes))
                rows = self._explained(self.destination.count)
            published = Published(changes.token, changes.erasure, changes.left, rows, attempt.began)
            self._publications.end(attempt, published, self.holder.dag_run)
        except ConfigurationError:
            # Lost, if another attempt has begun: it has dropped the staging table of this one.
            self._publications.end(attempt, None, self.holder.dag_run)
            raise
        except ReviewScoringError:
            with suppress(ReviewScoringError):  # otherwise the lease expires
                self._publications.end(attempt, None, self.holder.dag_run)
            raise
        return self._report(changes, loader.written, loader.removed, rows=rows, why_full=why_full)

    def estimate(self, *, resync: bool = False) -> PublicationReport:
        """Return what :meth:`publish` would do, and write nothing."""
        published = self._publications.published(self.to.name)
        why_full = self._why_full(published, exists=self._explained(self.destination.exists), resync=resync)
        changes = self._changes(published, is_full=why_full is not None, resync=resync)
        numbers = self._source.count(changes)
        return self._report(changes, *numbers, rows=None, why_full=why_full)

    @cached_property
    def _publications(self) -> Publications:
        return Publications(self.ledger.engine, self.ledger.job, self.stop)

    @cached_property
    def _source(self) -> LedgerChanges:
        return LedgerChanges(self.ledger.engine, self.ledger.job, self.stop)

    def _changes(self, published: Published | None, *, is_full: bool, resync: bool) -> Changes:
        return self._source.since(published, self.own, excludes_failed=not resync, is_full=is_full)

    def _prepare(self, attempt: Attempt, *, resync: bool) -> str | None:
        """Create the table if it is missing, and return why everything has to be published; None for changes alone."""
        exists = self._explained(self.destination.exists)
        if not exists and not self.creates_table:
            raise ConfigurationError(
                f"connection {self.to.conn_id!r} has no table {self.destination.name!r}: create it with the SQL that "
                "`review-scoring ddl --publish` prints, or let the publication create it (migrate=True)"
            )
        why_full = self._why_full(attempt.published, exists=exists, resync=resync)
        if not exists:
            self._explained(self.destination.create)
        return why_full

    def _why_full(self, published: Published | None, *, exists: bool, resync: bool) -> str | None:
        if resync:
            return "that was requested"
        if published is None:
            return "it is the first publication"
        if not exists:
            return "the table is missing"
        if published.age >= timedelta(days=FEWEST_RUN_DAYS):
            return f"the last publication is older than {FEWEST_RUN_DAYS} days"
        found = self._explained(self.destination.count)
        if published.rows is not None and found != published.rows:
            return f"the table had {found:,} rows of the job, and {published.rows:,} after the last publication"
        return None

    def _explained(self, call: Callable[[], T]) -> T:
        return _explained(call, self.to, self.stop)

    def _report(
        self, changes: Changes, written: int, removed: int, *, rows: int | None, why_full: str | None
    ) -> PublicationReport:
        return PublicationReport(
            job=self.ledger.job.name,
            destination=self.to.name,
            written=written,
            removed=removed,
            rows=rows,
            why_full=why_full,
            left=len(changes.left),
        )


def check_publications(job: ScoringJob, engine_of: Callable[[str], Engine], stop: StopFlag) -> None:
    """Check the Connections and tables that scores of a job are published to; they may not exist yet.

    :param engine_of: returns the engine of a Connection
    :raises PreflightError: with all problems, but for databases that do not answer
    """
    problems: list[str] = []
    for to in job.publish:
        try:
            destination = destination_of(engine_of(to.conn_id), job.name, to.table, to.table_schema)
            _explained(destination.exists, to, stop)
        except WarehouseUnavailableError as error:
            log.warning("%s", error)
        except ConfigurationError as error:
            problems.append(str(error))
    if problems:
        raise PreflightError(problems)


def _explained(call: Callable[[], T], to: Publication, stop: StopFlag) -> T:
    """Use the database of a publication: retry transient errors, and explain others."""
    place = f"{to.table_schema}.{to.table}" if to.table_schema else to.table
    try:
        return with_explained_errors(
            call,
            where=f"connection {to.conn_id!r}",
            cannot=f"cannot publish to {place!r}",
            otherwise="its user needs privileges to create tables in that schema, and to read and write this one",
            stop=stop,
            endless=True,
        )
    except PreflightError as error:
        raise ConfigurationError("; ".join(error.problems)) from None


class _Loader:
    """Stages changes and applies them.

    :param heartbeat: of the attempt's lease
    """

    def __init__(self, destination: Destination, heartbeat: Heartbeat) -> None:
        self._destination = destination
        self._heartbeat = heartbeat
        self.written = self.removed = 0

    def load(self, attempt: int, source: LedgerChanges, changes: Changes) -> None:
        """Load the staging table of an attempt, and bring the table to it. It may be called again."""
        self.written, self.removed = 0, len(changes.hashes)
        staging = self._destination.begin_staging(attempt)
        self._destination.remove_hashed(staging, changes.hashes)
        loaded = 0
        for ids in source.removed(changes):
            self._heartbeat.check()
            self._destination.load_removed(staging, ids, after=loaded)
            loaded += len(ids)
        self.removed += loaded
        for rows in source.scores(changes):
            self._heartbeat.check()
            self._destination.load(staging, rows, after=loaded)
            loaded += len(rows)
            self.written += len(rows)
        if changes.is_full:
            self._destination.remove_others(staging)
        self._heartbeat.check()
        self._destination.apply(staging, loaded)
        self._destination.drop_staging(staging)


@contextmanager
def _heartbeat(publications: Publications, attempt: Attempt) -> Iterator[Heartbeat]:
    """Renew the lease of an attempt in the block."""
    thread = BackgroundThread("lease of a publication")
    heartbeat = Heartbeat(lambda: thread.submit(lambda: publications.renew(attempt)))
    try:
        yield heartbeat
    finally:
        heartbeat.close()
        thread.close()
