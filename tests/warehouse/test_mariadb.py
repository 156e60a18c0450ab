"""What is MySQL's own: DDL that cannot be taken back, caseless collations, and errors of other numbers."""

from __future__ import annotations

import threading
import uuid
from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import Engine, event, text
from sqlalchemy.exc import DBAPIError

from review_scoring.errors import PreflightError
from review_scoring.request import KeyRange
from review_scoring.warehouse import migrate
from review_scoring.warehouse.engine import writing
from review_scoring.warehouse.errors import describe, is_passing
from review_scoring.warehouse.source.opening import open_source
from review_scoring.warehouse.source.ranges import overlap
from tests.stubs import Warehouse


@pytest.fixture
def warehouse(mariadb_engine: Engine) -> Warehouse:
    return Warehouse(mariadb_engine)


def test_a_migration_that_dies_after_any_statement_is_finished_by_the_next(mariadb_engine: Engine) -> None:
    def die(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.lstrip().startswith(
            ("CREATE", "ALTER")
        ):  # one that was done before is an error, and comes not here
            raise KeyboardInterrupt

    event.listen(mariadb_engine, "after_cursor_execute", die)
    died = 0
    while migrate.current(mariadb_engine, None) != migrate.head():
        with suppress(KeyboardInterrupt):
            migrate.upgrade(mariadb_engine, None)
        died += 1
        mariadb_engine.dispose()
        assert died < 50
    event.remove(mariadb_engine, "after_cursor_execute", die)
    assert died > 8
    assert migrate.current(mariadb_engine, None) == migrate.head()
    warehouse = Warehouse(mariadb_engine)
    warehouse.create()
    warehouse.fill(5)
    assert warehouse.score().counts.scored == 5


def test_a_column_that_another_program_needs_is_still_told_as_an_error(mariadb_engine: Engine) -> None:
    with pytest.raises(PreflightError, match="cannot store scores"):
        warehouse = Warehouse(mariadb_engine)
        warehouse.create()
        warehouse.run("CREATE TABLE scoring_jobs (something INTEGER)")
        warehouse.prepare()


def test_uuid_ids_come_in_the_databases_own_order_and_are_scored_once(warehouse: Warehouse) -> None:
    warehouse.create("UUID PRIMARY KEY")
    wanted = [uuid.UUID(int=n * 0x1234567890ABCDEF1234567890AB, version=4) for n in range(1, 40)]
    warehouse.insert(*((n, "texte") for n in wanted))
    source = open_source(warehouse.engine, warehouse.job)
    assert source.id_type == "uuid"
    found = [row.id for page in source.pages(7, texts=False) for row in page.rows]
    assert sorted(found) == sorted(wanted)
    first, middle, last = found[0], found[20], found[-1]
    assert overlap(source, KeyRange(upto=middle), KeyRange(after=first, upto=last))
    assert not overlap(source, KeyRange(upto=middle), KeyRange(after=middle))
    assert warehouse.score(chunk_rows=5).counts.scored == 39
    assert warehouse.scores().keys() == {str(n) for n in wanted}
    assert warehouse.score("2").counts.read == 0


@pytest.mark.parametrize(
    ("charset", "rules"), [("utf8mb4", "general_ci"), ("utf8mb4", "unicode_520_ci"), ("latin1", "swedish_ci")]
)
def test_ids_that_a_collation_takes_for_equal_are_different_reviews(
    warehouse: Warehouse, charset: str, rules: str
) -> None:
    warehouse.create(f"VARCHAR(20) CHARACTER SET {charset} COLLATE {charset}_{rules}")
    ids = ["a1", "A1", "a1 ", "á1", "b", "B", "b  ", "c", "é", "E"]
    warehouse.insert(*((id_, f"texte {n}") for n, id_ in enumerate(ids)))
    for size in (1, 2, 3, 4):
        source = open_source(warehouse.engine, warehouse.job)
        assert sorted(row.id for page in source.pages(size, texts=False) for row in page.rows) == sorted(ids)
    warehouse.score(chunk_rows=3)
    assert warehouse.scores().keys() == set(ids)
    assert warehouse.score("2").counts.read == 0


def test_zero_filled_numbers_and_numbers_of_many_digits_are_scored_once(warehouse: Warehouse) -> None:
    warehouse.create("INTEGER(8) ZEROFILL PRIMARY KEY")
    warehouse.insert(*((n, "texte") for n in (1, 20, 300)))
    assert warehouse.score("1", chunk_rows=2).counts.scored == 3
    assert warehouse.scores().keys() == {"1", "20", "300"}
    assert warehouse.score("2").counts.read == 0


def test_a_column_of_choices_cannot_serve_as_an_id(warehouse: Warehouse) -> None:
    warehouse.create("ENUM('b', 'a') PRIMARY KEY")
    with pytest.raises(PreflightError, match="cannot serve as an id"):
        warehouse.prepare()


def test_names_of_runs_are_compared_byte_by_byte(warehouse: Warehouse) -> None:
    warehouse.create()
    warehouse.fill(4)
    warehouse.score("night", limit=2)
    assert warehouse.score("Night").counts.scored == 2


def test_a_value_that_does_not_fit_is_an_error_whatever_the_server_is_set_to(warehouse: Warehouse) -> None:
    warehouse.run("CREATE TABLE short (name VARCHAR(3))")
    with pytest.raises(DBAPIError, match="1406"):
        warehouse.run("INSERT INTO short VALUES ('longer')")
    assert "STRICT_ALL_TABLES" in warehouse.run("SELECT @@sql_mode")[0][0]
    assert warehouse.run("SELECT @@time_zone, @@tx_isolation")[0] == ("+00:00", "READ-COMMITTED")


def test_a_deadlock_is_a_passing_error(warehouse: Warehouse) -> None:
    warehouse.run("CREATE TABLE two (id INTEGER PRIMARY KEY, n INTEGER)")
    warehouse.run("INSERT INTO two VALUES (1, 0), (2, 0)")
    both = threading.Barrier(2)
    errors: list[DBAPIError] = []

    def crosswise(first: int, second: int) -> None:
        with suppress(threading.BrokenBarrierError), writing(warehouse.engine).connect() as connection:
            try:
                connection.execute(text("UPDATE two SET n = n + 1 WHERE id = :id"), {"id": first})
                both.wait(10)
                connection.execute(text("UPDATE two SET n = n + 1 WHERE id = :id"), {"id": second})
            except DBAPIError as error:
                errors.append(error)

    threads = [threading.Thread(target=crosswise, args=ids) for ids in ((1, 2), (2, 1))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (error,) = errors
    assert is_passing(error)
    assert describe(error) == "OperationalError 1213"


def test_a_lock_that_another_holds_too_long_is_a_passing_error(warehouse: Warehouse) -> None:
    warehouse.run("CREATE TABLE one (id INTEGER PRIMARY KEY)")
    warehouse.run("INSERT INTO one VALUES (1)")
    lock = text("SELECT id FROM one FOR UPDATE")
    with warehouse.engine.connect() as holder, warehouse.engine.connect() as waiter:
        holder.execute(lock)
        waiter.exec_driver_sql("SET SESSION innodb_lock_wait_timeout = 1")
        with pytest.raises(DBAPIError) as error:
            waiter.execute(lock)
    assert describe(error.value) == "OperationalError 1205"
    assert is_passing(error.value)


def test_a_connection_that_was_killed_is_a_passing_error(warehouse: Warehouse) -> None:
    with pytest.raises(DBAPIError) as error, warehouse.engine.connect() as connection:
        number = connection.scalar(text("SELECT connection_id()"))
        warehouse.run(f"KILL {number}")
        connection.execute(text("SELECT 1"))
    assert is_passing(error.value)
