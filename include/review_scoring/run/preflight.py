"""Preflight: finds everything that is wrong with a job's set-up before a model is loaded, and lists it at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Engine

from review_scoring.concurrency.cancellation import StopFlag
from review_scoring.errors import ConfigurationError, PreflightError, WarehouseUnavailableError
from review_scoring.evaluation.champion import require_benchmark
from review_scoring.job import OnChange, ScoringJob
from review_scoring.models.folder import ModelFolder
from review_scoring.warehouse import migrate
from review_scoring.warehouse.evaluations.benchmark_store import BenchmarkStore
from review_scoring.warehouse.ledger.ledger import Ledger, open_ledger
from review_scoring.warehouse.scoring_tables import check_target, prepare_tables
from review_scoring.warehouse.selection.cursor import MANY_ROWS
from review_scoring.warehouse.selection.cursor_values import start_of
from review_scoring.warehouse.source.cost import Statement, statements_of
from review_scoring.warehouse.source.opening import checked_source
from review_scoring.warehouse.source.review_source import ReviewSource


@dataclass(frozen=True, kw_only=True)
class Resources:
    """The ways to a job's databases and model. Each may raise ConfigurationError or WarehouseUnavailableError.

    :param source: returns an engine of the database with the reviews
    :param target: returns an engine of the database for the scores
    :param model: returns the model's folder
    """

    source: Callable[[], Engine]
    target: Callable[[], Engine]
    model: Callable[[], ModelFolder]


@dataclass(frozen=True)
class PreparedJob:
    """A job that is ready to be scored; `ledger` is None only for a dry run of a job that has nothing recorded.

    :param opening: the statements that opened the source
    """

    job: ScoringJob
    source: ReviewSource
    ledger: Ledger | None
    model: ModelFolder
    opening: Sequence[Statement] = ()

    @property
    def existing_ledger(self) -> Ledger:
        """The ledger of a run that writes."""
        assert self.ledger is not None, "a dry run writes nothing"
        return self.ledger


def preflight(
    job: ScoringJob,
    resources: Resources,
    stop: StopFlag,
    *,
    migrate_tables: bool = True,
    dry_run: bool = False,
    benchmark: str | None = None,
) -> PreparedJob:
    """Check connections, table, columns, model and privileges, and create or migrate the project's own tables.

    :param migrate_tables: False where a DBA creates the tables: then they are only checked
    :param dry_run: write nothing, not even the project's tables
    :param benchmark: what :func:`~review_scoring.evaluation.champion.require_benchmark` requires of the model; None for
        nothing
    :raises PreflightError: with everything that is wrong
    :raises WarehouseUnavailableError: if the only problem is a server that does not answer, which may pass
    """
    problems: list[str] = []
    away: list[str] = []
    opening: Sequence[Statement] = ()
    found_source: ReviewSource | None = None
    found_model: ModelFolder | None = None
    target: Engine | None = None
    with _collected(problems, away):
        reviews = resources.source()
        with statements_of(reviews) as opening:
            found_source = checked_source(reviews, job, stop)
        start_of(found_source, job.start_after)
    with _collected(problems, away):
        target = resources.target()
        prepare_tables(target, job, stop, migrate_tables=migrate_tables, dry_run=dry_run)
    of_model: list[str] = []
    with _collected(of_model, away):  # after the tables, which may have to name the champion
        found_model = of_job = check_target(resources.model, job, stop)
        if benchmark is not None and target is not None:
            store, required = BenchmarkStore(target, job.target_schema), benchmark
            check_target(lambda: require_benchmark(store, of_job, required), job, stop)
    problems += [each for each in of_model if each not in problems]
    if problems:
        raise PreflightError([*problems, *away])
    if away or found_source is None or found_model is None or target is None:
        raise WarehouseUnavailableError("; ".join(dict.fromkeys(away)))
    ledger = None
    with _collected(problems, away):
        if not dry_run or migrate.current(target, job.target_schema) is not None:
            engine, source = target, found_source
            ledger = check_target(lambda: open_ledger(engine, job, source, stop, create=not dry_run), job, stop)
    if problems:
        raise PreflightError(problems)
    if away:
        raise WarehouseUnavailableError(away[0])
    return PreparedJob(job, found_source, ledger, found_model, opening)


def advice(prepared: PreparedJob) -> list[str]:
    """Return what would make the runs of a job faster, in sentences."""
    source, job = prepared.source, prepared.job
    rows = source.estimated_rows() or 0
    found = []
    if source.cursor is None and rows >= MANY_ROWS:
        found.append(
            f"{source.name} has about {rows:,} rows, and every run compares all their ids with the scores; set "
            "cursor_column to an indexed time of insertion or increasing number, and most runs read the new rows only"
        )
    compares = job.on_change is OnChange.RESCORE and source.changed_by is not None
    for key, column, is_used, is_indexed in (
        ("cursor_column", job.cursor_column, source.cursor is not None, source.cursor_is_indexed),
        ("updated_at_column", job.updated_at_column, compares and rows >= MANY_ROWS, source.updated_at_is_indexed),
    ):
        if is_used and not is_indexed and source.id_is_indexed:  # of a view, no index is known
            found.append(
                f"{key} {column!r} has no index, so every run scans the table; create one: "
                f"CREATE INDEX {job.source_table}_{column} ON {source.name} ({column})"
            )
    return found


@contextmanager
def _collected(problems: list[str], away: list[str]) -> Iterator[None]:
    """Collect problems and unreachable servers, so that the other checks still run."""
    try:
        yield
    except PreflightError as error:
        problems.extend(error.problems)
    except ConfigurationError as error:
        problems.append(str(error))
    except WarehouseUnavailableError as error:
        away.append(str(error))
