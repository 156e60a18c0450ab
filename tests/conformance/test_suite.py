"""The promises hold on every database that the tests have, and those that a database breaks are found."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Engine, Table, inspect, text

from review_scoring.conformance import ledger, publication, source
from review_scoring.conformance.role import Role
from review_scoring.conformance.suite import PROMISES, Promise, check, in_words
from review_scoring.errors import ConfigurationError
from review_scoring.warehouse import migrate
from review_scoring.warehouse.dialects.base import Dialect
from review_scoring.warehouse.engine import make_engine
from review_scoring.warehouse.ledger import held_lease
from review_scoring.warehouse.publishing.destinations import Destination
from review_scoring.warehouse.scratch import PREFIX
from review_scoring.warehouse.scratch.ledger import ScratchLedger
from tests.conftest import ENGINES

ROLES = [(kind, role) for kind in ENGINES for role in Role if (kind, role) != ("sqlite", Role.PUBLISH)]


@pytest.mark.parametrize(("engine", "role"), ROLES, indirect=["engine"])
def test_the_promises_hold_and_nothing_is_left(engine: Engine, role: Role) -> None:
    outcomes = list(check(engine, "dwh", role))
    assert [each.promise for each in outcomes] == [in_words(each) for each in PROMISES[role]]
    assert [str(each) for each in outcomes if each.problem] == []
    assert all(each.statements for each in outcomes)
    assert left_in(engine) == []


def left_in(engine: Engine) -> list[str]:
    """Return the names of what is in a database."""
    found = inspect(engine)
    schemas = [name for name in found.get_schema_names() if PREFIX in name]
    files = Path(str(engine.url.database)).parent.glob(f"*{PREFIX}*") if engine.dialect.name == "sqlite" else ()
    return [*schemas, *found.get_table_names(), *found.get_view_names(), *map(str, files)]


def test_nothing_is_left_of_a_check_that_is_stopped(engine: Engine) -> None:
    for role in (Role.SOURCE, Role.LEDGER):
        with closing(check(engine, "dwh", role)) as outcomes:
            next(outcomes)
        assert left_in(engine) == []


@pytest.mark.parametrize("kind", ["postgresql", "mariadb", "duckdb"])
def test_a_ledger_is_tried_in_a_schema_that_exists(kind: str, request: pytest.FixtureRequest) -> None:
    engine = request.getfixturevalue(ENGINES[kind])
    schema = f"given_{os.getpid()}"
    with engine.begin() as connection:
        connection.execute(text(f"CREATE SCHEMA {schema}"))
    try:
        with closing(check(engine, "dwh", Role.LEDGER, schema)) as outcomes:
            assert next(outcomes).problem is None
        assert inspect(engine).has_schema(schema)
        assert inspect(engine).get_table_names(schema) + inspect(engine).get_view_names(schema) == []
        migrate.upgrade(engine, schema)
        tables = inspect(engine).get_table_names(schema)
        with pytest.raises(ConfigurationError, match=f"'{schema}' has .*review_scores, .*, which the check would"):
            next(check(engine, "dwh", Role.LEDGER, schema))
        assert inspect(engine).get_table_names(schema) == tables
    finally:
        with engine.begin() as connection:
            connection.execute(text(f"DROP SCHEMA {schema}{'' if kind == 'mariadb' else ' CASCADE'}"))


@pytest.mark.parametrize("kind", ["postgresql", "mariadb", "duckdb"])
def test_a_view_of_the_users_is_not_dropped(kind: str, request: pytest.FixtureRequest) -> None:
    engine = request.getfixturevalue(ENGINES[kind])
    with engine.begin() as connection:
        connection.execute(text("CREATE VIEW review_labels AS SELECT 1 AS review_id"))
    schema = inspect(engine).default_schema_name
    with pytest.raises(ConfigurationError, match="has review_labels, which the check would drop"):
        next(check(engine, "dwh", Role.LEDGER, schema))
    assert inspect(engine).get_view_names() == ["review_labels"]


def test_a_schema_that_does_not_exist_is_not_created(postgres_engine: Engine) -> None:
    with pytest.raises(ConfigurationError, match="there is no schema 'nowhere'; create it, or leave it out"):
        next(check(postgres_engine, "dwh", Role.LEDGER, "nowhere"))
    assert not inspect(postgres_engine).has_schema("nowhere")


def test_no_file_of_the_users_is_touched(sqlite_engine: Engine) -> None:
    copy = Path(f"{sqlite_engine.url.database}.bak")
    copy.write_text("a copy")
    with closing(check(sqlite_engine, "dwh", Role.LEDGER, "bak")) as outcomes:
        assert next(outcomes).problem is None
    assert copy.read_text() == "a copy"
    assert left_in(sqlite_engine) == []


def test_nothing_is_left_if_the_tables_cannot_be_created(
    postgres_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(migrate, "probe_rights", stop)
    with pytest.raises(KeyboardInterrupt):
        next(check(postgres_engine, "dwh", Role.LEDGER))
    assert left_in(postgres_engine) == []


def test_a_promise_that_is_not_about_a_database_is_told_apart(sqlite_engine: Engine) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PROMISES, Role.LEDGER, [ledger.a_locked_row_keeps_other_transactions_waiting])
        (outcome,) = check(sqlite_engine, "dwh", Role.LEDGER)
    assert str(outcome).startswith("n/a    a locked row keeps other transactions waiting (")
    assert outcome.reason == "only one process can write"


def problem(engine: Engine, role: Role, promise: Promise) -> str:
    """Try one promise, and return what does not hold."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PROMISES, role, [promise])
        (outcome,) = check(engine, "dwh", role)
    assert outcome.problem is not None
    return outcome.problem


@pytest.mark.parametrize(
    ("role", "promise", "found"),
    [
        (Role.LEDGER, ledger.what_is_rolled_back_leaves_nothing, "deleted rows are there again: expected True"),
        (Role.LEDGER, ledger.a_run_may_be_interrupted_at_any_statement, "rows unaccounted for"),
        (Role.PUBLISH, publication.a_publication_may_be_interrupted_at_any_statement, "are missing"),
    ],
)
def test_a_database_without_transactions_is_found(
    postgres_engine: Engine, role: Role, promise: Promise, found: str
) -> None:
    always_commits = postgres_engine.execution_options(isolation_level="AUTOCOMMIT")
    assert found in problem(always_commits, role, promise)


def test_a_ledger_without_a_key_is_found(mariadb_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    create = ScratchLedger.create

    def without_key(tried: ScratchLedger) -> None:
        create(tried)
        with tried.engine.begin() as connection:
            connection.execute(text(f"ALTER TABLE {tried.schema}.review_scores DROP PRIMARY KEY"))

    monkeypatch.setattr(ScratchLedger, "create", without_key)
    found = problem(mariadb_engine, Role.LEDGER, ledger.a_second_score_of_a_review_is_refused)
    assert found == "a copy of a row is refused: expected True, found False"


def test_a_ledger_without_row_locks_is_found(mariadb_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Dialect, "locked", lambda dialect, statement: statement)
    found = problem(mariadb_engine, Role.LEDGER, ledger.a_locked_row_keeps_other_transactions_waiting)
    assert found == "another transaction waits for the row: expected True, found False"


def test_a_ledger_without_fencing_is_found(sqlite_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held_lease, "_holds", lambda *_: True)
    found = problem(sqlite_engine, Role.LEDGER, ledger.a_run_that_was_given_up_for_dead_writes_nothing_more)
    assert found == "it could commit after another run had taken over"


def test_a_database_that_cannot_hold_every_character_is_found(mariadb_engine: Engine) -> None:
    name = f"{mariadb_engine.url.database}_latin1"
    with mariadb_engine.begin() as connection:
        connection.execute(text(f"CREATE DATABASE {name} CHARACTER SET latin1"))
    engine = make_engine(mariadb_engine.url.set(database=name))
    try:
        assert "contains a value that cannot be read" in problem(engine, Role.SOURCE, source.texts_are_read_as_they_are)
    finally:
        engine.dispose()
        with mariadb_engine.begin() as connection:
            connection.execute(text(f"DROP DATABASE {name}"))


def test_a_publication_that_is_not_fenced_is_found(duckdb_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def begin(destination: Destination, attempt: int) -> Table:
        staging = destination._staging(attempt)
        with destination.engine.begin() as connection:
            destination._create_staging(connection, staging)
        return staging

    monkeypatch.setattr(Destination, "begin_staging", begin)
    found = publication.a_publication_that_was_overtaken_writes_nothing_more
    assert problem(duckdb_engine, Role.PUBLISH, found) == "it can still write: expected False, found True"


@pytest.mark.parametrize("role", Role)
def test_a_user_who_may_not_create_tables_is_told(postgres_engine: Engine, role: Role) -> None:
    name = f"reader_{os.getpid()}"
    with postgres_engine.begin() as connection:
        connection.execute(text(f"CREATE ROLE {name} LOGIN"))
    engine = make_engine(postgres_engine.url.set(username=name))
    told = "connection 'dwh' cannot (use|publish to) .*; .*its user needs privileges to create tables"
    try:
        if role is Role.LEDGER:
            with pytest.raises(ConfigurationError, match=told):
                next(check(engine, "dwh", role))
        else:
            with pytest.raises(AssertionError, match=told):
                raise AssertionError(next(check(engine, "dwh", role)).problem)
    finally:
        engine.dispose()
        with postgres_engine.begin() as connection:
            connection.execute(text(f"DROP ROLE {name}"))
