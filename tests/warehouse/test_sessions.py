"""What a server, a database or a role has set for its sessions changes nothing for a run."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, text

from review_scoring.errors import PreflightError
from review_scoring.job import Rescore
from review_scoring.warehouse.dialects import dialect_of
from review_scoring.warehouse.engine import Address, make_engine, writing
from tests.stubs import Warehouse

POSTGRES_SETTINGS = (
    "datestyle TO 'SQL, DMY'",
    "default_transaction_isolation TO 'serializable'",
    "bytea_output TO 'escape'",
    "standard_conforming_strings TO off",
    "extra_float_digits TO 0",
)
MYSQL_SETTINGS = (
    "sql_select_limit = 2",
    "sql_auto_is_null = 1",
    "sql_safe_updates = 1",
    "sql_big_selects = 0",
    "max_join_size = 1",
    "autocommit = 1",
    "sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES,PAD_CHAR_TO_FULL_LENGTH'",
    "time_zone = '+09:00'",
    "optimizer_switch = 'exists_to_in=off'",
)


def unusual(engine: Engine) -> Engine:
    """Return an engine of the same database, whose sessions begin with unusual settings."""
    if engine.dialect.name == "mysql":
        return make_engine(Address(engine.url, {"init_command": f"SET SESSION {', '.join(MYSQL_SETTINGS)}"}))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for setting in POSTGRES_SETTINGS:
            connection.execute(text(f"ALTER DATABASE {engine.url.database} SET {setting}"))
    engine.dispose()
    return make_engine(engine.url)


@pytest.fixture(params=["postgresql", "mariadb"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """A server's database whose sessions begin with unusual settings."""
    name = {"postgresql": "postgres_engine", "mariadb": "mariadb_engine"}[request.param]
    made = unusual(request.getfixturevalue(name))
    yield made
    made.dispose()


def test_a_run_does_what_it_does_elsewhere(engine: Engine) -> None:
    warehouse = Warehouse(engine)
    warehouse.job = warehouse.job.replace(updated_at_column="changed", cursor_column="made", cursor_lookback=60)
    warehouse.create("INTEGER", extra=", changed TIMESTAMP NULL, made TIMESTAMP NULL")
    warehouse.fill(20)
    warehouse.insert((None, "sans numéro"), (5, "une autre"))
    now = datetime.now(UTC).replace(tzinfo=None)
    warehouse.run("UPDATE reviews SET changed = :now, made = :now", now=now)
    first = warehouse.score("first", chunk_rows=3).counts
    assert (first.read, first.scored, first.rejected) == (22, 20, 2)
    warehouse.insert((30, "une nouvelle"))
    warehouse.run("UPDATE reviews SET made = :now WHERE id = 30", now=now)
    assert warehouse.score("second").counts.scored == 1
    warehouse.run("UPDATE reviews SET body = 'changée', changed = :later WHERE id = 7", later=now + timedelta(hours=1))
    assert warehouse.score("third", Rescore.CHANGED).counts.scored == 1


def test_a_transaction_that_is_rolled_back_leaves_nothing(engine: Engine) -> None:
    warehouse = Warehouse(engine)
    warehouse.create()
    with writing(engine).connect() as connection:
        connection.execute(text("INSERT INTO reviews VALUES (1, 'un')"))
        connection.rollback()
    assert warehouse.run("SELECT * FROM reviews") == []


def test_each_statement_sees_what_others_have_committed(engine: Engine) -> None:
    warehouse = Warehouse(engine)
    warehouse.create()
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM reviews")) == 0
        warehouse.fill(1)
        assert connection.scalar(text("SELECT count(*) FROM reviews")) == 1


def test_what_the_user_says_of_a_session_stays(postgres_engine: Engine, mariadb_engine: Engine) -> None:
    named = make_engine(Address(postgres_engine.url, {"application_name": "ours"}))
    with named.connect() as connection:
        assert connection.scalar(text("SHOW application_name")) == "ours"
    commanded = make_engine(Address(mariadb_engine.url, {"init_command": "SET @ours = 1"}))
    with commanded.connect() as connection:
        assert connection.scalar(text("SELECT @ours")) == 1


def test_a_database_without_an_encoding_is_read_as_unicode_and_other_bytes_cost_one_row(
    postgres_engine: Engine,
) -> None:
    name = f"{postgres_engine.url.database}_ascii"
    with postgres_engine.connect().execution_options(isolation_level="AUTOCOMMIT") as admin:
        admin.execute(text(f"CREATE DATABASE {name} ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0"))
        engine = make_engine(postgres_engine.url.set(database=name))
        try:
            warehouse = Warehouse(engine)
            warehouse.create("TEXT PRIMARY KEY")
            warehouse.insert(("é", "un très bon film"), ("b", "raté"))
            warehouse.run(r"INSERT INTO reviews VALUES ('latin', E'tr\350s bon')")
            counts = warehouse.score().counts
            assert (counts.scored, counts.rejected) == (2, 1)
            assert set(warehouse.scores()) == {"é", "b"}
            assert warehouse.rejects()["latin"].reason == "unreadable"
        finally:
            engine.dispose()
            admin.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


def test_a_user_whose_search_path_leads_nowhere_is_told_to_name_a_schema(postgres_engine: Engine) -> None:
    warehouse = Warehouse(postgres_engine)
    warehouse.create()
    warehouse.fill(2)
    warehouse.run(f"ALTER DATABASE {postgres_engine.url.database} SET search_path TO ''")
    lost = Warehouse(make_engine(postgres_engine.url), job=warehouse.job)
    with pytest.raises(PreflightError, match=r"search_path leads to no schema: name one as source_schema"):
        lost.prepare()
    lost.job = lost.job.replace(source_schema="public", target_schema="public")
    assert lost.score().counts.scored == 2


def test_what_is_set_to_plan_along_keys_ends_with_the_connections_use(engine: Engine) -> None:
    setting = "@@optimizer_switch" if engine.dialect.name == "mysql" else "current_setting('enable_seqscan')"
    with engine.connect() as connection:
        before = connection.scalar(text(f"SELECT {setting}"))
        dialect_of(connection).force_index_plans(connection)
        assert connection.scalar(text(f"SELECT {setting}")) != before
    with engine.connect() as connection:
        assert connection.scalar(text(f"SELECT {setting}")) == before


def test_ids_that_are_equal_in_the_sources_collation_are_lost_by_no_plan(mariadb_engine: Engine) -> None:
    warehouse = Warehouse(mariadb_engine)
    warehouse.run("CREATE TABLE reviews (id VARCHAR(100) COLLATE utf8mb4_general_ci NOT NULL, body LONGTEXT, KEY (id))")
    warehouse.insert(*((f"r{n}", f"critique {n}") for n in range(1, 21)))
    warehouse.score("first")
    warehouse.score("a rescore plans along keys", Rescore.CHANGED)
    # Scores of reviews that the source has no longer: enough of them, and the optimizer thinks of its cache.
    of_others = mariadb_engine.dialect.identifier_preparer.format_table(warehouse.tables.scores)
    names = [column.name for column in warehouse.tables.scores.columns]
    picked = ", ".join("CONCAT('x', seq)" if name == "review_id" else f"s.{name}" for name in names)
    warehouse.run(
        f"INSERT INTO {of_others} ({', '.join(names)}) SELECT {picked} FROM seq_1_to_50"
        f" JOIN (SELECT * FROM {of_others} LIMIT 1) s"
    )
    warehouse.run("ANALYZE TABLE review_scores, review_rejects, reviews")
    warehouse.insert(("R1", "autre"), ("r2 ", "encore"), ("R3", "fin"), ("new", "x"))
    found = [warehouse.score(f"night {n}").counts.scored for n in range(3)]
    assert found == [4, 0, 0]
