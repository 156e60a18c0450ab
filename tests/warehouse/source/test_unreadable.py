"""A view that cannot be computed for one row costs that row, and its text is in no log and no error."""

from __future__ import annotations

import logging
import traceback

import pytest
from sqlalchemy import Engine, ExceptionContext, event, text
from sqlalchemy.exc import DBAPIError

from review_scoring.job import Rescore
from review_scoring.warehouse.errors import Fault, fault_of
from tests.stubs import Warehouse

QUOTED = "UnTexteTresSecret"

VIEWS = {
    "postgresql": "SELECT id, (body::json ->> 't') AS body FROM stored",
    "sqlite": "SELECT id, json_extract(body, '$.t') AS body FROM stored",
    "duckdb": "SELECT id, CAST(CAST(body AS JSON) ->> 't' AS TEXT) AS body FROM stored",
    "mysql": "SELECT id, strict_text(body) AS body FROM stored",
}
STRICT_TEXT = """CREATE FUNCTION strict_text(given LONGTEXT) RETURNS LONGTEXT DETERMINISTIC
BEGIN
  IF NOT JSON_VALID(given) THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = given; END IF;
  RETURN JSON_VALUE(given, '$.t');
END"""


@pytest.fixture
def warehouse(warehouse: Warehouse) -> Warehouse:
    """A source that takes texts out of JSON, with 40 rows, of which numbers 7 and 33 hold none."""
    name = warehouse.engine.dialect.name
    warehouse.create()
    warehouse.insert(*((n, QUOTED if n in {7, 33} else f'{{"t": "critique {n}"}}') for n in range(1, 41)))
    warehouse.run("ALTER TABLE reviews RENAME TO stored")
    if name == "mysql":
        with warehouse.engine.begin() as connection:
            connection.exec_driver_sql(STRICT_TEXT)
    warehouse.run(f"CREATE VIEW reviews AS {VIEWS[name]}")
    return warehouse


def test_rows_that_cannot_be_read_are_rejected_and_the_others_scored(
    warehouse: Warehouse, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        counts = warehouse.score(chunk_rows=25).counts
    assert (counts.read, counts.scored, counts.rejected) == (40, 38, 2)
    assert {review_id: row.reason for review_id, row in warehouse.rejects().items()} == {
        "7": "unreadable",
        "33": "unreadable",
    }
    assert QUOTED not in caplog.text
    assert all(QUOTED not in row.detail for row in warehouse.rejects().values())
    assert warehouse.score("the next night").counts.read == 0


def test_a_row_that_was_corrected_is_scored_by_a_rescore_of_changed_texts(warehouse: Warehouse) -> None:
    warehouse.score()
    warehouse.run("""UPDATE stored SET body = '{"t": "corrigé"}' WHERE id = 7""")
    assert warehouse.score("rescore", Rescore.CHANGED).counts.scored == 1
    assert set(warehouse.rejects()) == {"33"}


def test_a_source_in_another_database_loses_no_more(warehouse: Warehouse, sqlite_engine: Engine) -> None:
    warehouse.target = sqlite_engine
    warehouse.job = warehouse.job.replace(target_conn_id="scores")
    if warehouse.engine is sqlite_engine:
        pytest.skip("this is the same database")
    assert warehouse.score(chunk_rows=7).counts.rejected == 2
    assert len(warehouse.scores()) == 38


def test_a_view_of_which_no_row_can_be_read_fails_the_run_and_rejects_nothing(warehouse: Warehouse) -> None:
    warehouse.run("UPDATE stored SET body = 'broken'")
    with pytest.raises(DBAPIError):
        warehouse.score()
    assert warehouse.rejects() == {}


@pytest.mark.parametrize("bad", [range(1, 16), range(26, 41), range(11, 31)])
def test_many_bad_rows_in_a_row_cost_no_good_one(warehouse: Warehouse, bad: range) -> None:
    warehouse.run(
        f'UPDATE stored SET body = \'{{"t": "bien"}}\' WHERE id NOT BETWEEN {bad[0]} AND {bad[-1]}'.replace(":", r"\:")
    )
    warehouse.run(f"UPDATE stored SET body = 'broken' WHERE id BETWEEN {bad[0]} AND {bad[-1]}")
    counts = warehouse.score(chunk_rows=10).counts
    assert (counts.scored, counts.rejected) == (40 - len(bad), len(bad))


def test_bad_rows_that_repeat_an_id_are_counted_and_hide_no_page_behind_them(warehouse: Warehouse) -> None:
    warehouse.run("DROP VIEW reviews")
    warehouse.run("DROP TABLE stored")
    name = warehouse.engine.dialect.name
    warehouse.run(f"CREATE TABLE stored (id INTEGER, body {'LONGTEXT' if name == 'mysql' else 'TEXT'})")
    rows = [(n, f'{{"t": "critique {n}"}}') for n in range(1, 41)]
    with warehouse.engine.begin() as connection:
        insert = text("INSERT INTO stored VALUES (:id, :body)")
        values = [{"id": id_, "body": body} for id_, body in [*rows, (7, QUOTED), (7, QUOTED)]]
        connection.execute(insert, values)
    warehouse.run(f"CREATE VIEW reviews AS {VIEWS[name]}")
    counts = warehouse.score(chunk_rows=10).counts
    assert (counts.read, counts.scored, counts.rejected) == (42, 39, 3)
    assert counts.unkeyed == {"duplicate_id": 2}
    assert warehouse.score("next", chunk_rows=10).counts.read == 0


def test_a_row_that_is_deleted_while_the_bad_one_is_looked_for_hides_no_page(warehouse: Warehouse) -> None:
    deleted: list[int] = []

    def delete_one(context: ExceptionContext) -> None:
        if not deleted:
            deleted.append(3)
            with warehouse.engine.connect() as connection:
                connection.exec_driver_sql("DELETE FROM stored WHERE id = 3")
                connection.commit()
        del context

    if warehouse.engine.dialect.name in {"sqlite", "duckdb"}:
        pytest.skip("these databases take one transaction that writes at a time")
    event.listen(warehouse.engine, "handle_error", delete_one)
    assert warehouse.score(chunk_rows=10).counts.scored == 37


def test_no_word_of_the_driver_about_a_row_is_in_an_error_or_its_causes(warehouse: Warehouse) -> None:
    with pytest.raises(DBAPIError) as error, warehouse.engine.connect() as connection:
        connection.exec_driver_sql("SELECT id, body FROM reviews").all()
    told = "".join(traceback.format_exception(error.value))
    assert QUOTED not in told
    assert fault_of(error.value) is Fault.DATA or warehouse.engine.dialect.name == "sqlite"
