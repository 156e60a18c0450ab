"""Migrations: creates, upgrades or downgrades the project's tables, or prints the DDL for a DBA to run.

Alembic is imported when it is used: a DAG file is parsed all day long, and its import takes as long as all of ours.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from sqlalchemy import Connection, Engine, column, delete, insert, inspect, select, table, update
from sqlalchemy.schema import CreateSchema

from review_scoring.errors import ConfigurationError, WarehouseUnavailableError
from review_scoring.warehouse.dialects import dialect_of
from review_scoring.warehouse.engine import writing
from review_scoring.warehouse.ledger.held_lease import in_progress
from review_scoring.warehouse.schema import VERSION_TABLE, tables

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

SCRIPTS = [Path(__file__).parent / "migrations" / "versions"]
"""Folders with migration scripts."""


def head() -> str:
    """Return the schema revision that this version of the package works with."""
    revision = _scripts().get_current_head()
    assert revision is not None
    return revision


def current(engine: Engine, schema: str | None) -> str | None:
    """Return the schema revision of the tables in a database, or None where there are none."""
    with engine.connect() as connection:
        return _current(connection, schema)


def upgrade(engine: Engine, schema: str | None) -> None:
    """Create or upgrade the tables, as the only process that migrates them. Runs in progress go on committing.

    On MySQL, which commits after every DDL statement, a statement that an earlier, killed attempt has done is skipped.

    :raises WarehouseUnavailableError: if the tables were made by a newer version of the package
    """
    if current(engine, schema) != head():
        _migrate(engine, schema, None)


def downgrade(engine: Engine, schema: str | None, to: str) -> None:
    """Bring the tables back to the revision of an earlier version of the package. What was added since is dropped.

    :raises ConfigurationError: if that is not an earlier revision, or a run is in progress
    """
    _migrate(engine, schema, to)


def refuse_newer(revision: str | None) -> None:
    """Raise unless this version of the package knows a revision.

    :raises WarehouseUnavailableError: which is retried: another worker may have the newer version
    """
    if revision is not None and revision not in _revisions():
        raise WarehouseUnavailableError(
            f"the scoring tables are at revision {revision}, which this version of review-scoring does not know; it "
            f"knows revisions up to {head()}: upgrade the package on this worker"
        )


def probe_rights(engine: Engine, schema: str | None) -> None:
    """Do what a run does and roll it back; the database's error names the missing privilege."""
    tables_ = tables(schema)
    with writing(engine).connect() as connection:
        now = dialect_of(connection).now(connection)
        job = {"name": f"rights {uuid4()}", "source": "", "id_type": "", "last_fencing_token": 0, "created_at": now}
        connection.execute(insert(tables_.jobs).values(job))
        of_runs = (tables_.jobs, tables_.models, tables_.runs, tables_.shards)
        for each in (*of_runs, tables_.scores, tables_.rejects, tables_.erasures, tables_.publications):
            key = next(iter(each.primary_key))
            nothing = key == -1
            connection.execute(insert(each).from_select(list(each.c.keys()), select(each).where(nothing)))
            connection.execute(update(each).where(nothing).values({key: key}))
        for each in (tables_.scores, tables_.rejects):
            connection.execute(delete(each).where(each.c.job_id == -1))
        connection.rollback()


def ddl(dialect: str, schema: str | None, *, since: str | None = None, until: str = "head") -> str:
    """Return the SQL that creates the tables, for a dialect's name such as `postgresql`.

    :param since: the revision that the tables are at, for the SQL that brings them on from there
    :param until: the revision to bring them to
    :raises ConfigurationError: for a revision that this version does not know
    """
    if since is not None and since not in _revisions():
        raise ConfigurationError(f"there is no revision {since!r}; the revisions are {', '.join(_revisions())}")
    out = io.StringIO()
    config = _config(out)
    config.attributes.update(schema=schema, dialect=dialect)
    from alembic import command

    command.upgrade(config, f"{since}:{until}" if since else until, sql=True)
    return out.getvalue()


def _migrate(engine: Engine, schema: str | None, downgrade_to: str | None) -> None:
    """Upgrade the tables, or downgrade them to a revision, while holding a lock: one process migrates at a time.

    One connection holds the lock until the end, and another one migrates, because a migration commits in between. On
    SQLite and DuckDB, which have one writer, the connection with the lock migrates.
    """
    from alembic import command

    with writing(engine).begin() as lock, dialect_of(lock).exclusive(lock, schema), _beside(engine, lock) as connection:
        revision = _current(connection, schema)
        refuse_newer(revision)
        if downgrade_to is not None:
            _check_downgrade(connection, schema, revision, downgrade_to)
        if schema is not None and not inspect(connection).has_schema(schema):
            connection.execute(CreateSchema(schema))
        if connection is not lock:
            connection.commit()
        if revision == (downgrade_to or head()):
            return
        config = _config()
        config.attributes.update(connection=connection, schema=schema, dialect=engine.dialect.name)
        if downgrade_to is None:
            command.upgrade(config, "head")
        else:
            command.downgrade(config, downgrade_to)


@contextmanager
def _beside(engine: Engine, lock: Connection) -> Iterator[Connection]:
    """Yield the connection that migrates while `lock` holds the lock; the same one where only one can write."""
    if dialect_of(lock).single_writer:
        yield lock
        return
    with writing(engine).connect() as connection, dialect_of(connection).brief_waits(connection):
        yield connection
        connection.commit()


def _check_downgrade(connection: Connection, schema: str | None, revision: str | None, to: str) -> None:
    revisions = _revisions()
    if to not in revisions or revision is None or revisions.index(to) > revisions.index(revision):
        raise ConfigurationError(
            f"the tables are {f'at revision {revision}' if revision else 'missing'}, and cannot be downgraded to {to}; "
            f"the revisions are {', '.join(revisions)}"
        )
    tables_ = tables(schema)
    running = select(tables_.runs.c.id).where(in_progress(tables_, dialect_of(connection).now(connection)))
    if connection.execute(running.limit(1)).one_or_none() is not None:
        raise ConfigurationError("a run is in progress; wait until it has ended, and pause its DAG")


def _revisions() -> list[str]:
    """Return the revisions that this version knows, the oldest first."""
    return [script.revision for script in _scripts().walk_revisions()][::-1]


def _current(connection: Connection, schema: str | None) -> str | None:
    if not inspect(connection).has_table(VERSION_TABLE, schema=schema):
        return None
    versions = table(VERSION_TABLE, column("version_num"), schema=schema)
    return connection.scalar(select(versions.c.version_num))


def _scripts() -> ScriptDirectory:
    from alembic.script import ScriptDirectory

    return ScriptDirectory.from_config(_config())


def _config(out: io.StringIO | None = None) -> Config:
    from alembic.config import Config

    config = Config(output_buffer=out)
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("version_locations", os.pathsep.join(map(str, SCRIPTS)))
    config.set_main_option("path_separator", "os")
    return config
