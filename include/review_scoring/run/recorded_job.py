"""A job that has been scored before, opened without a model: its source, its ledger, and what erases its reviews."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Engine

from review_scoring.concurrency.cancellation import StopFlag
from review_scoring.job import ScoringJob
from review_scoring.warehouse import migrate
from review_scoring.warehouse.erasure import Erasure
from review_scoring.warehouse.evaluations.labelled_tables import table_source
from review_scoring.warehouse.ledger.ledger import Ledger, open_ledger
from review_scoring.warehouse.scoring_tables import check_target, prepare_tables
from review_scoring.warehouse.source.opening import checked_source
from review_scoring.warehouse.source.review_source import ReviewSource


@dataclass(frozen=True)
class RecordedJob:
    """A job that has been scored before."""

    job: ScoringJob
    source: ReviewSource
    ledger: Ledger
    erasure: Erasure
    stop: StopFlag


def open_recorded_job(
    job: ScoringJob,
    source: Callable[[], Engine],
    target: Callable[[], Engine],
    stop: StopFlag,
    *,
    migrate_tables: bool = True,
    dry_run: bool = False,
) -> RecordedJob | None:
    """Open a job; None if it has never been scored.

    :param source: returns an engine of the database with the reviews
    :param target: returns an engine of the database for the scores
    :param migrate_tables: False if a DBA creates the tables: they are only checked
    :param dry_run: write nothing, not even the project's tables
    :raises ConfigurationError: if source or target cannot be used, or the job was registered for another source
    :raises WarehouseUnavailableError: if a server does not answer
    """
    engine = target()
    if check_target(lambda: migrate.current(engine, job.target_schema), job, stop) is None:
        return None
    prepare_tables(engine, job, stop, migrate_tables=migrate_tables, dry_run=dry_run)
    found = checked_source(source(), job, stop)
    ledger = check_target(lambda: open_ledger(engine, job, found, stop, create=False), job, stop)
    if ledger is None:
        return None
    places = {found.name, *found.other_names}
    sources = frozenset(table_source(job.source_conn_id, place, job.id_column) for place in places)
    return RecordedJob(job, found, ledger, Erasure(engine, ledger.job, stop, set_sources=sources), stop)
