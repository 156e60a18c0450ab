"""The tables in a job's target database: created or migrated before a task writes, or checked if a DBA creates them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Engine

from review_scoring.concurrency.cancellation import StopFlag
from review_scoring.errors import PreflightError
from review_scoring.job import ScoringJob, target_conn_id
from review_scoring.warehouse import migrate
from review_scoring.warehouse.dialects import dialect_name, dialect_named
from review_scoring.warehouse.preflight_errors import with_explained_errors

T = TypeVar("T")


def prepare_tables(
    target: Engine, job: ScoringJob, stop: StopFlag, *, migrate_tables: bool, dry_run: bool = False
) -> None:
    """Create or migrate the tables, and check that they are of this version and may be written.

    There is no timeout: a migration may build an index over all scores.

    :param target: an engine of the database for the job's scores
    :param migrate_tables: False if a DBA creates the tables: they are only checked
    :param dry_run: write nothing; refuse only tables of a newer version
    :raises PreflightError: for a warehouse, for tables that are missing or of an earlier version, and for a missing
        privilege
    :raises WarehouseUnavailableError: for a transient error, and for tables of a newer version
    """
    refuse_warehouse(target_conn_id(job), dialect_name(target))

    def prepare() -> None:
        revision = migrate.current(target, job.target_schema)
        migrate.refuse_newer(revision)
        if dry_run:
            return
        if migrate_tables:
            migrate.upgrade(target, job.target_schema)
        elif revision != migrate.head():
            raise PreflightError([_outdated(target, job, revision)])
        migrate.probe_rights(target, job.target_schema)

    check_target(prepare, job, stop, endless=True)


def refuse_warehouse(conn_id: str, dialect: str) -> None:
    """Refuse a database that cannot hold scores, before anything is created there.

    :param dialect: its name, as :func:`~review_scoring.warehouse.dialects.dialect_name` returns it
    :raises PreflightError: for an analytical warehouse
    """
    unfit = dialect_named(dialect).unfit_as_ledger
    if unfit is not None:
        raise PreflightError(
            [
                f"connection {conn_id!r} is {unfit}, so it cannot hold the scores; set target_conn_id to a PostgreSQL, "
                "MySQL, SQLite or DuckDB database. The key `publish` of the job copies the scores into the warehouse"
            ]
        )


def check_target(look: Callable[[], T], job: ScoringJob, stop: StopFlag, *, endless: bool = False) -> T:
    """Check something in a job's target database: retry transient errors, and explain others."""
    schema = f"schema {job.target_schema!r} of " if job.target_schema else ""
    return with_explained_errors(
        look,
        where=f"{schema}connection {target_conn_id(job)!r}",
        cannot="cannot store scores",
        otherwise=(
            "its user needs privileges to read and write the scoring tables and their sequences, and to create them if "
            "migrate=True"
        ),
        stop=stop,
        endless=endless,
    )


def _outdated(target: Engine, job: ScoringJob, revision: str | None) -> str:
    found = f"at revision {revision}" if revision else "missing"
    return (
        f"the scoring tables in connection {target_conn_id(job)!r} are {found}, this version needs {migrate.head()}: "
        "let the run create them (migrate=True), or run the SQL that "
        f"`review-scoring ddl {dialect_name(target)}{f' --from {revision}' if revision else ''}` prints"
    )
