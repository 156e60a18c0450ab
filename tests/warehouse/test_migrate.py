"""The project's tables: created once, by one process, and equal to what the code believes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, Engine, select, text

from review_scoring.errors import ConfigurationError, PreflightError
from review_scoring.request import RunKey
from review_scoring.run.planning import plan_one_shard
from review_scoring.warehouse import migrate
from review_scoring.warehouse.dialects import dialect_name
from review_scoring.warehouse.engine import writing
from review_scoring.warehouse.schema import EXCEPT, ONLY, VERSION_TABLE, tables
from tests.stubs import Warehouse, asked

AT = datetime(2026, 1, 1, tzinfo=UTC)


def test_the_migrations_make_the_tables_that_the_code_uses(engine: Engine) -> None:
    if engine.dialect.name == "duckdb":
        pytest.skip("DuckDB has one type for all texts, so reading its tables back proves nothing")
    migrate.upgrade(engine, None)

    def is_of_this_database(item: Any, *_: object) -> bool:
        name = engine.dialect.name
        return name in item.info.get(ONLY, {name}) and name not in item.info.get(EXCEPT, ())

    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "version_table": VERSION_TABLE,
                "compare_type": True,
                "compare_server_default": True,
                "include_object": is_of_this_database,
            },
        )
        assert compare_metadata(context, tables().metadata) == []


def test_the_printed_ddl_brings_older_tables_to_this_version(engine: Engine) -> None:
    since: str | None = None
    with writing(engine).begin() as connection:
        for until in ("0001", migrate.head()):
            _execute(connection, migrate.ddl(dialect_name(engine), None, since=since, until=until))
            since = until
    assert migrate.current(engine, None) == migrate.head()
    warehouse = Warehouse(engine)
    warehouse.create()
    warehouse.fill(5)
    warehouse.prepare(migrate_tables=False)
    assert warehouse.score().counts.scored == 5


def test_rescores_of_before_are_known_by_their_dag_or_by_the_labels_they_changed(engine: Engine) -> None:
    run = {
        "state": "success",
        "lease_until": AT,
        "fencing_token": 1,
        "chunks": 1,
        **dict.fromkeys(("read", "scored", "unchanged", "rejected", "tokens", "device_seconds"), 0),
        "unkeyed_rejects": "{}",
        "model": "stub",
        "revision": "0",
        "started_at": AT,
        "job_id": 1,
        "task_id": "score",
        "run_id": "1",
        "map_index": -1,
    }
    tables_ = tables()
    with writing(engine).begin() as connection:
        _execute(connection, migrate.ddl(dialect_name(engine), None, until="0004"))
        job = {"id": 1, "name": "films", "source": "", "id_type": "", "last_fencing_token": 0, "created_at": AT}
        connection.execute(tables_.jobs.insert().values(job))
        for dag_id, relabelled in (("score_reviews", 0), ("rescore_reviews", 0), ("our_own", 3), ("another", None)):
            connection.execute(tables_.runs.insert().values({**run, "dag_id": dag_id, "relabelled": relabelled}))
        _execute(connection, migrate.ddl(dialect_name(engine), None, since="0004"))
        found = connection.execute(select(tables_.runs.c.dag_id).where(tables_.runs.c.is_rescore.is_(True))).scalars()
        assert set(found) == {"rescore_reviews", "our_own"}


def _execute(connection: Connection, printed: str) -> None:
    for statement in printed.split(";"):
        if (stripped := statement.strip()) and stripped not in {"BEGIN", "COMMIT"}:
            connection.execute(text(stripped))


def test_the_printed_ddl_makes_tables_that_are_taken_for_current(engine: Engine) -> None:
    with writing(engine).begin() as connection:
        _execute(connection, migrate.ddl(dialect_name(engine), None))
    assert migrate.current(engine, None) == migrate.head()
    warehouse = Warehouse(engine)
    warehouse.create()
    warehouse.fill(5)
    warehouse.prepare(migrate_tables=False)
    assert warehouse.score().counts.scored == 5


def test_many_processes_that_migrate_at_once_do_not_disturb_each_other(engine: Engine) -> None:
    if engine.dialect.name == "duckdb":
        pytest.skip("one process at a time opens a DuckDB file")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: migrate.upgrade(engine, None), range(8)))
    assert migrate.current(engine, None) == migrate.head()


def test_a_target_schema_of_ones_own_is_made_and_used(postgres_engine: Engine) -> None:
    warehouse = Warehouse(postgres_engine)
    warehouse.job = warehouse.job.replace(target_schema="Scoring")
    warehouse.create()
    warehouse.fill(5)
    warehouse.score()
    assert len(warehouse.scores()) == 5
    assert warehouse.run('SELECT count(*) FROM "Scoring".review_scores')[0][0] == 5


def test_missing_tables_are_told_where_they_may_not_be_made(warehouse: Warehouse) -> None:
    warehouse.create()
    with pytest.raises(PreflightError, match=rf"missing, this version needs {migrate.head()}.*review-scoring ddl"):
        warehouse.prepare(migrate_tables=False)


def test_tables_of_a_newer_version_are_refused_and_left_alone(warehouse: Warehouse) -> None:
    warehouse.create()
    warehouse.prepare()
    warehouse.run(f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    with pytest.raises(PreflightError, match="at revision 9999, which a newer version of review-scoring made"):
        warehouse.prepare()


def test_a_job_name_belongs_to_one_source(warehouse: Warehouse) -> None:
    warehouse.create()
    warehouse.prepare()
    warehouse.run("CREATE TABLE books (id INTEGER PRIMARY KEY, body TEXT)")
    warehouse.job = warehouse.job.replace(source_table="books")
    with pytest.raises(ConfigurationError, match=r"job 'films' was made for reviews\.id .* books\.id"):
        warehouse.prepare()


@pytest.mark.parametrize("revision", ["0001", "0004", "0006"])
def test_a_dry_run_counts_with_tables_of_an_earlier_version(warehouse: Warehouse, revision: str) -> None:
    warehouse.create()
    warehouse.fill(12)
    with writing(warehouse.engine).begin() as connection:
        _execute(connection, migrate.ddl(dialect_name(warehouse.engine), None, until=revision))
        job = {"name": "films", "source": "reviews.id", "id_type": "integer", "last_fencing_token": 0}
        names = ", ".join([*job, "created_at"])
        values = ", ".join(f":{name}" for name in [*job, "created_at"])
        statement = text(f"INSERT INTO scoring_jobs ({names}) VALUES ({values})")
        connection.execute(statement, {**job, "created_at": "2026-01-01 00:00:00"})
    prepared = warehouse.prepare(dry_run=True)
    request = asked(RunKey("dag", "score", "dry"))
    shard = plan_one_shard(prepared, request)
    assert shard.candidates(prepared.source, prepared.ledger, request).count() == 12


def test_a_dry_preflight_writes_nothing(warehouse: Warehouse) -> None:
    warehouse.create()
    assert warehouse.prepare(dry_run=True).ledger is None
    assert migrate.current(warehouse.engine, None) is None
