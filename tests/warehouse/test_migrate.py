"""The project's tables: created once, by one process, and equal to what the code believes."""

from __future__ import annotations

import re
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, Engine, event, inspect, text

from review_scoring.cli import main
from review_scoring.concurrency.cancellation import StopFlag
from review_scoring.errors import ConfigurationError, PreflightError, WarehouseUnavailableError
from review_scoring.request import RunKey
from review_scoring.reviews import Prediction, Review
from review_scoring.run.planning import plan_one_shard
from review_scoring.warehouse import migrate
from review_scoring.warehouse.dialects import dialect_name, dialect_of
from review_scoring.warehouse.engine import writing
from review_scoring.warehouse.ledger.chunk import ChunkResult, Outcome
from review_scoring.warehouse.retry import retried
from review_scoring.warehouse.schema import EXCEPT, ONLY, SUCCESS, VERSION_TABLE, tables
from tests.conftest import PROVE
from tests.exactly_once.worker import wait_for
from tests.stubs import Warehouse, asked

LATER = Path(__file__).parent / "later_migration"
"""Migrations of a version to come."""

ROWS = 1_000_000 if PROVE else 200_000
SHORTEST_WAIT = {"postgresql": "500ms", "mysql": "1"}
"""The limit of each database for DDL that waits for a table, behind which commits wait too."""


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


@pytest.fixture
def later_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make this version of the package one that has migrations more."""
    monkeypatch.setattr(migrate, "SCRIPTS", [*migrate.SCRIPTS, LATER])


def printed_ddl(engine: Engine, **options: str) -> str:
    """Return the DDL for an engine's database."""
    with engine.connect():  # which shows whether it is MySQL or MariaDB
        return migrate.ddl(dialect_name(engine), None, **options)


def execute(engine: Engine, printed: str) -> None:
    """Run printed DDL, as a DBA does."""
    with writing(engine).connect() as connection:
        transaction = connection.begin()
        for statement in printed.split(";"):
            if "CONCURRENTLY" in statement:
                transaction.commit()
                with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as alone:
                    alone.execute(text(statement))
                transaction = connection.begin()
            elif (stripped := statement.strip()) and stripped not in {"BEGIN", "COMMIT"}:
                connection.execute(text(stripped))
        transaction.commit()


def test_the_printed_ddl_makes_tables_that_are_taken_for_current(engine: Engine) -> None:
    execute(engine, printed_ddl(engine))
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


def test_the_tables_are_made_with_sqlalchemy_2_0(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow allows it, and its constraints may pin it; views are DDL elements of 2.1."""
    for name in ("CreateView", "DropView"):
        monkeypatch.delattr(f"sqlalchemy.schema.{name}", raising=False)
    migrate.upgrade(engine, None)
    assert inspect(engine).get_view_names() == ["review_labels"]


def test_missing_tables_are_told_where_they_may_not_be_made(warehouse: Warehouse) -> None:
    warehouse.create()
    with pytest.raises(PreflightError, match=rf"missing, this version needs {migrate.head()}.*review-scoring ddl"):
        warehouse.prepare(migrate_tables=False)


def test_tables_of_a_newer_version_are_refused_in_one_line_and_left_alone(warehouse: Warehouse) -> None:
    warehouse.create()
    warehouse.prepare()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(migrate, "SCRIPTS", [*migrate.SCRIPTS, LATER])
        migrate.upgrade(warehouse.engine, None)
    with pytest.raises(WarehouseUnavailableError) as raised:  # which Airflow retries, maybe on another worker
        warehouse.prepare()
    assert str(raised.value) == (
        "the scoring tables are at revision 0003_example, which this version of review-scoring does not know; it knows "
        "revisions up to 0001_tables: upgrade the package on this worker"
    )
    assert migrate.current(warehouse.engine, None) == "0003_example"


def test_a_job_name_belongs_to_one_source(warehouse: Warehouse) -> None:
    warehouse.create()
    warehouse.prepare()
    warehouse.run("CREATE TABLE books (id INTEGER PRIMARY KEY, body TEXT)")
    warehouse.job = warehouse.job.replace(source_table="books")
    with pytest.raises(ConfigurationError, match=r"job 'films' was made for reviews\.id .* books\.id"):
        warehouse.prepare()


@pytest.mark.usefixtures("later_version")
def test_a_dry_run_counts_with_tables_of_an_earlier_version(warehouse: Warehouse) -> None:
    warehouse.create()
    warehouse.fill(12)
    execute(warehouse.engine, printed_ddl(warehouse.engine, until="0001_tables"))
    job = "INSERT INTO scoring_jobs (name, source, id_type, last_fencing_token, uncounted_reviews, created_at)"
    warehouse.run(f"{job} VALUES ('films', 'reviews.id', 'integer', 0, 0, '2026-01-01 00:00:00')")
    prepared = warehouse.prepare(dry_run=True)
    request = asked(RunKey("dag", "score", "dry"))
    shard = plan_one_shard(prepared, request)
    assert shard.candidates(prepared.source, prepared.ledger, request).count() == 12
    assert migrate.current(warehouse.engine, None) == "0001_tables"


@pytest.mark.parametrize("printed", [False, True])
def test_scores_survive_an_upgrade_and_a_downgrade(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, *, printed: bool
) -> None:
    warehouse.create()
    warehouse.fill(5)
    warehouse.score("1")
    before = warehouse.contents()
    monkeypatch.setattr(migrate, "SCRIPTS", [*migrate.SCRIPTS, LATER])
    if printed:
        execute(warehouse.engine, printed_ddl(warehouse.engine, since="0001_tables"))
    else:
        migrate.upgrade(warehouse.engine, None)
    assert migrate.current(warehouse.engine, None) == "0003_example"
    assert "example" in columns(warehouse)
    migrate.downgrade(warehouse.engine, None, "0001_tables")
    assert migrate.current(warehouse.engine, None) == "0001_tables"
    assert warehouse.engine.dialect.name == "duckdb" or "example" not in columns(warehouse)
    assert warehouse.contents() == before
    warehouse.fill(5, first=6)
    monkeypatch.undo()
    assert warehouse.score("2").counts.scored == 5


def columns(warehouse: Warehouse) -> set[str]:
    """Return the columns of `review_scores`."""
    return {column["name"] for column in inspect(warehouse.engine).get_columns("review_scores")}


def test_an_index_that_a_killed_upgrade_left_invalid_is_built_again(
    postgres_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse = Warehouse(postgres_engine)
    warehouse.create()
    warehouse.prepare()
    warehouse.run("CREATE INDEX review_scores_example ON review_scores (token_count)")
    warehouse.run("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'review_scores_example'::regclass")
    monkeypatch.setattr(migrate, "SCRIPTS", [*migrate.SCRIPTS, LATER])
    migrate.upgrade(warehouse.engine, None)
    valid = "SELECT indisvalid, indnatts FROM pg_index WHERE indexrelid = 'review_scores_example'::regclass"
    assert [tuple(row) for row in warehouse.run(valid)] == [(True, 2)]


def test_a_migration_that_could_not_be_repeated_builds_no_index(
    postgres_engine: Engine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Building an index commits what the migration did before; if it is killed then, it begins anew."""
    index = (LATER / "0003_example.py").read_text().replace('"0002_example_column"', '"0001_tables"')
    added = "__import__('alembic.op').op.execute('ALTER TABLE review_scores ADD COLUMN example integer')"
    (tmp_path / "0003_example.py").write_text(index.replace("    create_index(", f"    {added}\n    create_index("))
    migrate.upgrade(postgres_engine, None)
    monkeypatch.setattr(migrate, "SCRIPTS", [*migrate.SCRIPTS, tmp_path])
    with pytest.raises(AssertionError, match="in a migration of its own"):
        migrate.upgrade(postgres_engine, None)
    assert "example" not in columns(Warehouse(postgres_engine))


def prepared_with(setting: str, engine: Engine) -> Warehouse:
    """Return a warehouse with tables of this version, and a setting for all later sessions on PostgreSQL."""
    warehouse = Warehouse(engine)
    warehouse.create()
    warehouse.prepare()
    warehouse.run(f"ALTER DATABASE {engine.url.database} SET {setting}")
    engine.dispose()
    return warehouse


def test_a_process_that_waits_for_its_turn_does_not_stop_an_index_from_being_built(
    postgres_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An index that is built concurrently waits for every statement that began before it."""
    prepared_with("statement_timeout = '10s'", postgres_engine)  # otherwise the test would wait for ever
    monkeypatch.setattr(migrate, "SCRIPTS", [*migrate.SCRIPTS, LATER])
    others: list[Future[None]] = []

    def start_another(_connection: Connection, _cursor: Any, statement: str, *_: object) -> None:
        if statement.startswith("CREATE INDEX CONCURRENTLY") and not others:
            others.append(pool.submit(migrate.upgrade, postgres_engine, None))
            time.sleep(0.5)  # until it waits

    event.listen(postgres_engine, "before_cursor_execute", start_another)
    with ThreadPoolExecutor(1) as pool:
        migrate.upgrade(postgres_engine, None)
        others[0].result()
    assert migrate.current(postgres_engine, None) == "0003_example"


def test_the_server_does_not_end_the_transaction_that_holds_the_lock(
    postgres_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is idle all the while that the migration runs in another one."""
    warehouse = prepared_with("idle_in_transaction_session_timeout = '1s'", postgres_engine)
    monkeypatch.setattr(migrate, "SCRIPTS", [*migrate.SCRIPTS, LATER])
    analysing = postgres_engine.execution_options(isolation_level="REPEATABLE READ")
    with ThreadPoolExecutor(1) as pool:
        with analysing.connect() as analyst:
            analyst.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
            analyst.execute(text("SELECT count(*) FROM scoring_jobs")).all()  # and does not end its transaction
            migrating = pool.submit(migrate.upgrade, postgres_engine, None)
            waits = "wait_event = 'virtualxid' AND datname = current_database()"
            wait_for(lambda: warehouse.run(f"SELECT 1 FROM pg_stat_activity WHERE {waits}"))
            time.sleep(1.5)
        migrating.result()
    assert migrate.current(postgres_engine, None) == "0003_example"


def test_mariadb_does_not_end_the_idle_connection_that_holds_the_lock(mariadb_engine: Engine) -> None:
    def impatient(connection: Any, _record: object) -> None:
        connection.query("SET SESSION wait_timeout = 1")

    event.listen(mariadb_engine, "connect", impatient)
    with mariadb_engine.connect() as connection:
        before = connection.scalar(text("SELECT @@GLOBAL.wait_timeout"))
        with dialect_of(connection).exclusive(connection, None):
            time.sleep(2.5)  # while another connection migrates
        assert connection.scalar(text("SELECT @@SESSION.wait_timeout")) == before


@pytest.mark.usefixtures("later_version")
def test_a_downgrade_needs_a_revision_that_is_known_and_no_run_in_progress(warehouse: Warehouse) -> None:
    with pytest.raises(ConfigurationError, match="the tables are missing, and cannot be downgraded"):
        migrate.downgrade(warehouse.engine, None, "0001_tables")
    warehouse.create()
    warehouse.fill(3)
    warehouse.score("1")
    known = "0001_tables, 0002_example_column, 0003_example"
    for revision in ("base", "0000", "-1"):
        with pytest.raises(ConfigurationError, match=rf"to {revision}; the revisions are {known}$"):
            migrate.downgrade(warehouse.engine, None, revision)
    ledger, key = warehouse.prepare().existing_ledger, RunKey("dag", "score", "2", 0)

    def refuses() -> None:
        with pytest.raises(ConfigurationError, match="a run is in progress"):
            migrate.downgrade(warehouse.engine, None, "0001_tables")

    ledger.shards.plan(asked(key), 2)
    refuses()
    lease = ledger.leases.take(asked(key))
    refuses()
    warehouse.run("UPDATE scoring_runs SET started_at = '2026-01-01 00:00:00.000000'")
    refuses()
    ledger.leases.end(lease, SUCCESS)
    refuses()
    warehouse.run("UPDATE scoring_shards SET ended_at = '2026-01-01 00:00:00.000000'")
    migrate.downgrade(warehouse.engine, None, "0001_tables")


def test_the_command_downgrades_the_tables_of_a_connection(
    sqlite_engine: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", f"sqlite:///{sqlite_engine.url.database}")
    monkeypatch.setattr(migrate, "SCRIPTS", [*migrate.SCRIPTS, LATER])
    migrate.upgrade(sqlite_engine, None)
    main(["downgrade", "warehouse", "--to", "0001_tables"])
    assert migrate.current(sqlite_engine, None) == "0001_tables"
    assert "are at revision 0001_tables" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="cannot be downgraded to 0003_example"):
        main(["downgrade", "warehouse", "--to", "0003_example"])


def test_a_downgrade_that_the_database_refuses_is_one_line(
    postgres_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", postgres_engine.url.render_as_string(hide_password=False))
    monkeypatch.setattr(migrate, "SCRIPTS", [*migrate.SCRIPTS, LATER])
    migrate.upgrade(postgres_engine, None)
    migrate.downgrade(postgres_engine, None, "0002_example_column")  # an index waits without a limit
    command = ["downgrade", "warehouse", "--to", "0001_tables"]
    with postgres_engine.connect() as analyst:
        analyst.execute(text("SELECT count(*) FROM review_scores")).all()  # and does not end its transaction
        with pytest.raises(SystemExit) as busy:
            main(command)
    assert re.fullmatch(r"review-scoring: connection 'warehouse' is busy \(\w+ 55P03\); .+", str(busy.value))
    monkeypatch.setattr(migrate, "downgrade", lambda *_: Warehouse(postgres_engine).run("SELECT 1 FROM nothing"))
    with pytest.raises(SystemExit) as refused:
        main(command)
    found = r"review-scoring: connection 'warehouse' cannot change the scoring tables \(\w+ 42P01\); .+"
    assert re.fullmatch(found, str(refused.value))


def test_the_command_names_the_revisions_that_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(
        SystemExit, match="review-scoring: there is no revision '0001_table'; the revisions are 0001_tables$"
    ):
        main(["ddl", "postgresql", "--from", "0001_table"])
    assert capsys.readouterr().out == ""


@pytest.fixture(params=["postgresql", "mariadb"])
def large(request: pytest.FixtureRequest) -> Warehouse:
    """A job with many scores, in a database that takes many writers."""
    fixtures = {"postgresql": "postgres_engine", "mariadb": "mariadb_engine"}
    warehouse = Warehouse(request.getfixturevalue(fixtures[request.param]))
    warehouse.create()
    warehouse.prepare()
    numbers = f"generate_series(1, {ROWS}) n" if request.param == "postgresql" else f"seq_1_to_{ROWS} n"
    number = "n" if request.param == "postgresql" else "n.seq"
    warehouse.run(
        "INSERT INTO review_scores (job_id, shard_id, scored_at, score, model_id, token_count, truncated, review_id,"
        f" label, probabilities, text_hash) SELECT 0, 0, '2026-01-01 00:00:00', 0.5, 0, {number} % 512, false,"
        f" CAST({number} AS CHAR(10)), 'pos', '[0.5, 0.5]', :digest FROM {numbers}",
        digest=b"h" * 32,
    )
    return warehouse


@pytest.mark.prove
def test_no_commit_waits_for_a_migration(
    large: Warehouse, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run of this version commits all the while that a later version migrates the tables, and someone reads them.

    What is looked at is the order, not the time: on a busy machine, a commit takes seconds without waiting for anyone.
    """
    large.fill(1)
    ledger = large.prepare().ledger
    assert ledger is not None
    lease = ledger.leases.take(asked(RunKey("dag", "score", "1")))
    waits: list[float] = []
    done = threading.Event()

    def commit() -> None:
        nonlocal lease
        number = 0
        while not done.is_set():
            number += 1
            prediction = Prediction("pos", 0.75, (0.25, 0.75), 5, truncated=False)
            rows = [Outcome(Review(f"{number} {n}", "texte"), b"h" * 32, prediction) for n in range(100)]
            began = time.monotonic()
            lease = ledger.chunks.commit(lease, ChunkResult(rows, device="stub"))
            waits.append(time.monotonic() - began)

    with ThreadPoolExecutor(2) as pool, large.engine.connect() as analyst:
        committing = pool.submit(commit)
        analyst.execute(text("SELECT count(*) FROM review_scores")).all()  # and does not end its transaction
        monkeypatch.setattr(migrate, "SCRIPTS", [*migrate.SCRIPTS, LATER])
        ddl = watched_ddl(large.engine, waits)
        migrating = pool.submit(migrated, large.engine)
        try:
            wait_for(lambda: len(ddl) > 1 and len(waits) > ddl[0].commits_before + 10)
            assert not migrating.done(), "the migration was to wait for the analyst"
            analyst.rollback()
            took = migrating.result()
        finally:
            done.set()
        committing.result()
    monkeypatch.undo()
    with capsys.disabled():
        name = large.engine.dialect.name
        print(f"\n{name}: {len(waits)} commits in {took:.1f} s of migration, the longest took {max(waits):.2f} s")
    *alters, index = ddl
    assert {(each.verb, each.lock_timeout) for each in alters} == {("ALTER", SHORTEST_WAIT[name])}
    assert index.verb == "CREATE"
    during = index.commits_after - index.commits_before
    assert during > 2, "the commits were to go on while the index is built"  # one may end before it begins, one after
    assert "example" in columns(large)


@dataclass
class Ddl:
    """A statement of a migration that changes the scores, and how many commits were done before and after it."""

    verb: str
    lock_timeout: str
    commits_before: int
    commits_after: int = 0


def watched_ddl(engine: Engine, commits: list[float]) -> list[Ddl]:
    """Return a list that will have the statements, those that are given up and done once more included."""
    found: list[Ddl] = []
    limit = "SHOW lock_timeout" if engine.dialect.name == "postgresql" else "SELECT @@lock_wait_timeout"

    @event.listens_for(engine, "before_cursor_execute")
    def before(connection: Connection, _cursor: object, statement: str, *_: object) -> None:
        if re.match(r"\s*(ALTER TABLE|CREATE INDEX) .*review_scores", statement):
            lock_timeout = str(connection.exec_driver_sql(limit).scalar())
            found.append(Ddl(statement.split(maxsplit=1)[0], lock_timeout, len(commits)))

    @event.listens_for(engine, "after_cursor_execute")
    def after(_connection: Connection, _cursor: object, statement: str, *_: object) -> None:
        if re.match(r"\s*CREATE INDEX .*review_scores", statement):
            found[-1].commits_after = len(commits)

    return found


def migrated(engine: Engine) -> float:
    """Migrate until it succeeds, as the tries of a task do, and return the seconds."""
    began = time.monotonic()
    retried(lambda: migrate.upgrade(engine, None), what="migrating", stop=StopFlag(), patience_s=60)
    return time.monotonic() - began


def test_a_dry_preflight_writes_nothing(warehouse: Warehouse) -> None:
    warehouse.create()
    assert warehouse.prepare(dry_run=True).ledger is None
    assert migrate.current(warehouse.engine, None) is None
