"""A job's row in `scoring_jobs`: found by its name, or registered with the source that it scores."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, Engine, insert, select, update
from sqlalchemy.exc import IntegrityError

from review_scoring.errors import ConfigurationError
from review_scoring.job import ScoringJob
from review_scoring.warehouse.dialects import dialect_of
from review_scoring.warehouse.engine import writing
from review_scoring.warehouse.schema import Tables, tables
from review_scoring.warehouse.source.review_source import ReviewSource


@dataclass(frozen=True)
class JobRecord:
    """A job as the warehouse knows it, with the tables that hold its scores.

    :param source: `table.id_column` or `schema.table.id_column`
    :param id_type: `integer`, `string` or `uuid`
    """

    id: int
    name: str
    source: str
    id_type: str
    tables: Tables


def find_job(connection: Connection, tables_: Tables, name: str) -> JobRecord | None:
    """Return a job's record, or None for a job that has never run."""
    return next(iter(find_jobs(connection, tables_, [name])), None)


def find_jobs(connection: Connection, tables_: Tables, names: Collection[str]) -> list[JobRecord]:
    """Return the records of those jobs that have run."""
    jobs = tables_.jobs
    # Columns by name: a dry run may meet tables of an earlier version, which lack the later columns.
    rows = connection.execute(
        select(jobs.c.id, jobs.c.name, jobs.c.source, jobs.c.id_type).where(jobs.c.name.in_(names))
    )
    return [JobRecord(*row, tables=tables_) for row in rows]


def register_job(engine: Engine, job: ScoringJob, source: ReviewSource, *, create: bool = True) -> JobRecord | None:
    """Return a job's record, registered under its name with its source; None if it is new and not to be created.

    :raises ConfigurationError: if the name is registered for another source
    """
    tables_ = tables(job.target_schema)
    known = _known(engine, tables_, job.name)
    if known is None and create:
        _insert(engine, tables_, job.name, source)
        known = _known(engine, tables_, job.name)
    if known is None:
        return None
    if known.source in {f"{name}.{source.id.name}" for name in (source.name, *source.other_names)}:
        _refuse_other_source(known, source, moved_from=known.source)
        return known
    _refuse_other_source(known, source, moved_from=job.moved_from)
    moved = replace(known, source=_source_name(source))
    if create:
        with writing(engine).begin() as connection:
            connection.execute(update(tables_.jobs).where(tables_.jobs.c.id == known.id).values(source=moved.source))
    return moved


def _known(engine: Engine, tables_: Tables, name: str) -> JobRecord | None:
    with engine.connect() as connection:
        return find_job(connection, tables_, name)


def _insert(engine: Engine, tables_: Tables, name: str, source: ReviewSource) -> None:
    new: dict[str, Any] = {"name": name, "source": _source_name(source), "id_type": source.id_type}
    try:
        with writing(engine).begin() as connection:
            now = dialect_of(connection).now(connection)
            connection.execute(insert(tables_.jobs).values(created_at=now, last_fencing_token=0, **new))
    except IntegrityError:
        pass  # another run registered it at the same moment


def _refuse_other_source(known: JobRecord, source: ReviewSource, *, moved_from: str | None) -> None:
    """Refuse to score a source under the name of a job that was registered for another one.

    :param moved_from: the registered source, if it is the same one as before
    """
    same_type = known.id_type == source.id_type
    if same_type and known.source == moved_from:
        return
    move = f", or, if it holds the same reviews under the same ids, set moved_from={known.source!r} in the job"
    raise ConfigurationError(
        f"job {known.name!r} was made for {known.source} ({known.id_type} ids), and is now asked to score "
        f"{_source_name(source)} ({source.id_type} ids); give the new source a job name of its own"
        f"{move if same_type else ''}"
    )


def _source_name(source: ReviewSource) -> str:
    return f"{source.name}.{source.id.name}"
