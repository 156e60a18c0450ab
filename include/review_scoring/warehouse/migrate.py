"""Migrations: creates or upgrades the project's tables, or prints the DDL for a DBA to run.

Alembic is imported when it is used: a DAG file is parsed all day long, and its import takes as long as all of ours.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from sqlalchemy import Connection, Engine, column, delete, insert, inspect, select, table, update
from sqlalchemy.schema import CreateSchema

from review_scoring.errors import PreflightError
from review_scoring.warehouse.dialects import dialect_of
from review_scoring.warehouse.engine import writing
from review_scoring.warehouse.schema import VERSION_TABLE, tables

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.script import ScriptDirectory


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
    """Create or migrate the tables in one transaction, under a lock that admits one process.

    MySQL commits after every DDL statement: a statement that an earlier, killed attempt has done is skipped.

    :raises PreflightError: if the tables were made by a newer version of the package
    """
    with writing(engine).begin() as connection, dialect_of(connection).exclusive(connection, schema):
        if schema is not None and not inspect(connection).has_schema(schema):
            connection.execute(CreateSchema(schema))
        revision = _current(connection, schema)
        if revision == head():
            return
        refuse_newer(revision)
        _run("head", connection=connection, schema=schema, dialect=engine.dialect.name)


def refuse_newer(revision: str | None) -> None:
    """Raise unless this version of the package knows a revision."""
    known = {script.revision for script in _scripts().walk_revisions()}
    if revision is not None and revision not in known:
        raise PreflightError(
            [
                f"the scoring tables are at revision {revision}, which a newer version of review-scoring made; "
                f"this one knows revisions up to {head()}: upgrade the package on this worker"
            ]
        )


def probe_rights(engine: Engine, schema: str | None) -> None:
    """Do what a run does and roll it back; the database's error names the missing privilege."""
    tables_ = tables(schema)
    with writing(engine).connect() as connection:
        now = dialect_of(connection).now(connection)
        job = {"name": f"rights {uuid4()}", "source": "", "id_type": "", "last_fencing_token": 0, "created_at": now}
        connection.execute(insert(tables_.jobs).values(job))
        for each in (tables_.jobs, tables_.runs, tables_.scores, tables_.rejects):
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
    :raises PreflightError: for a revision that this version does not know
    """
    refuse_newer(since)
    out = io.StringIO()
    _run(f"{since}:{until}" if since else until, out, schema=schema, dialect=dialect)
    return out.getvalue()


def _current(connection: Connection, schema: str | None) -> str | None:
    if not inspect(connection).has_table(VERSION_TABLE, schema=schema):
        return None
    versions = table(VERSION_TABLE, column("version_num"), schema=schema)
    return connection.scalar(select(versions.c.version_num))


def _run(revisions: str, out: io.StringIO | None = None, **handed_over: object) -> None:
    """Upgrade to a revision, or print the DDL.

    :param out: takes the DDL; None to run it
    :param handed_over: read by `migrations/env.py`
    """
    from alembic import command

    config = _config(out)
    config.attributes.update(handed_over)
    command.upgrade(config, revisions, sql=out is not None)


def _scripts() -> ScriptDirectory:
    from alembic.script import ScriptDirectory

    return ScriptDirectory.from_config(_config())


def _config(out: io.StringIO | None = None) -> Config:
    from alembic.config import Config

    config = Config(output_buffer=out)
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    return config
