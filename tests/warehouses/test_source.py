"""Reviews in an emulated warehouse, scores in SQLite: loads, changes, late rows, types of ids, wrong settings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from sqlalchemy import Engine, event, inspect

from review_scoring.errors import PreflightError
from review_scoring.job import OnChange, Order, ScoringJob
from review_scoring.request import RunKey
from review_scoring.run.estimate import estimate
from review_scoring.warehouse.selection.candidates import Candidates
from review_scoring.warehouse.source.columns import leading_keys
from review_scoring.warehouse.source.cost import Statement, statements_of
from review_scoring.warehouse.source.opening import open_source
from tests.stubs import Warehouse, asked, predicted
from tests.warehouses.conftest import CONN_ID, Emulated

REVIEWS = 5000


def create(warehouse: Emulated, id_type: str = "{integer}") -> None:
    warehouse.run(f"CREATE TABLE {{table}} (id {id_type}, body {{text}}, updated_at {{time}})")


def fill(warehouse: Emulated, first: int, last: int, *, at: str = "2026-05-01 00:00:00", id_: str = "{n}") -> None:
    """Insert reviews with the numbers from first to last."""
    rows = ", ".join(f"({id_.format(n=n)}, '{body(n)}', '{at}')" for n in range(first, last + 1))
    warehouse.run(f"INSERT INTO {{table}} (id, body, updated_at) VALUES {rows}")


def body(number: int) -> str:
    return f"critique numéro {number}"


def with_updates(scored: Warehouse, **settings: object) -> None:
    """Have the job compare `updated_at`."""
    values = scored.job.model_dump() | {"updated_at_column": "updated_at", "on_change": OnChange.RESCORE} | settings
    scored.job = ScoringJob.model_validate(values)


@contextmanager
def statements(engine: Engine) -> Iterator[list[str]]:
    """Collect the statements that an engine runs in the block."""
    found: list[str] = []

    def collect(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        found.append(statement)

    event.listen(engine, "before_cursor_execute", collect)
    yield found
    event.remove(engine, "before_cursor_execute", collect)


def test_each_review_is_scored_once_with_few_statements(warehouse: Emulated, scored: Warehouse) -> None:
    create(warehouse)
    fill(warehouse, 1, REVIEWS)
    with statements(warehouse.engine) as first:
        assert scored.score("night 1").counts.scored == REVIEWS
    with statements(warehouse.engine) as second:
        assert scored.score("night 2").counts.read == 0
    found = scored.scores()
    assert found.keys() == {str(n) for n in range(1, REVIEWS + 1)}
    assert all(row.label == predicted(body(int(review_id))).label for review_id, row in found.items())
    assert len(first) <= 8
    assert len(second) <= 6


def test_a_table_is_checked_without_its_texts_where_a_limit_saves_nothing(bigquery: Emulated) -> None:
    create(bigquery)
    fill(bigquery, 1, 3)
    job = ScoringJob(
        name="films", source_conn_id=CONN_ID, source_schema=bigquery.schema, source_table="reviews", text_column="body"
    )
    with statements_of(bigquery.engine) as ran:
        open_source(bigquery.engine, job)
    (check,) = [each for each in ran if "text" in each.columns]
    assert "LIMIT" in check.sql
    assert list(check.parameters.values()) == [0]


def test_a_changed_review_is_scored_again(warehouse: Emulated, scored: Warehouse) -> None:
    with_updates(scored)
    create(warehouse)
    fill(warehouse, 1, 20)
    scored.score("night 1")
    warehouse.run("UPDATE {table} SET body = 'autre', updated_at = '2026-05-02 00:00:00' WHERE id = 7")
    report = scored.score("night 2")
    assert (report.counts.read, report.counts.scored) == (1, 1)
    assert scored.scores()["7"].label == predicted("autre").label
    assert scored.score("night 3").counts.read == 0


@pytest.mark.parametrize("cursor", ["id", "updated_at"])
def test_a_row_that_is_late_within_the_lookback_is_scored(warehouse: Emulated, scored: Warehouse, cursor: str) -> None:
    scored.job = scored.job.model_copy(update={"cursor_column": cursor, "cursor_lookback": 3600})
    create(warehouse)
    fill(warehouse, 10_001, 10_020, at="2026-05-01 12:00:00")
    scored.score("night 1")
    fill(warehouse, 9_000, 9_000, at="2026-05-01 11:30:00")
    fill(warehouse, 10_021, 10_021, at="2026-05-01 12:10:00")
    with statements(warehouse.engine) as ran:
        assert scored.score("night 2").counts.scored == 2
    assert any(f"{cursor} >=" in each.replace("`", "").replace("reviews.", "") for each in ran)


@pytest.mark.parametrize("warehouse", ["bigquery"], indirect=True)
@pytest.mark.parametrize("type_", ["DATETIME", "TIMESTAMP"])
def test_a_time_of_each_type_is_a_cursor(warehouse: Emulated, scored: Warehouse, type_: str) -> None:
    scored.job = scored.job.replace(cursor_column="made", updated_at_column="made", cursor_lookback=0)
    warehouse.run(f"CREATE TABLE {{table}} (id INT64, body STRING, made {type_})")
    for n in range(1, 4):
        warehouse.run(f"INSERT INTO {{table}} (id, body, made) VALUES ({n}, 'avis', CAST('2026-05-0{n}' AS {type_}))")
        assert scored.score(f"night {n}").counts.read == 1


def test_texts_are_fetched_from_the_range_of_the_cursor_that_they_are_in(
    warehouse: Emulated, scored: Warehouse
) -> None:
    scored.job = scored.job.replace(cursor_column="updated_at", cursor_lookback=3600)
    create(warehouse)
    fill(warehouse, 1, 20, at="2026-05-01 12:00:00")
    scored.score("night 1")
    fill(warehouse, 21, 30, at="2026-05-02 12:00:00")
    fill(warehouse, 31, 40, at="2026-05-03 12:00:00")
    with statements_of(warehouse.engine) as ran:
        assert scored.score("night 2", order=Order.NEWEST).counts.scored == 20
    (texts,) = [each.kind.replace("`", "").replace("reviews.", "") for each in ran if is_of_texts(each)]
    assert "updated_at >=" in texts
    assert scored.scores().keys() == {str(n) for n in range(1, 41)}


def is_of_texts(statement: Statement) -> bool:
    """Return whether a statement fetches texts, and does not only check whether they can be read."""
    return "text" in statement.columns and "LIMIT" not in statement.kind


@pytest.mark.parametrize(("id_type", "id_"), [("{text}", "'é{n}'"), ("NUMERIC(20, 0)", "90000000000000{n:06}")])
def test_ids_of_other_types(warehouse: Emulated, scored: Warehouse, id_type: str, id_: str) -> None:
    create(warehouse, id_type)
    fill(warehouse, 1, 30, id_=id_)
    assert scored.score("night 1").counts.scored == 30
    assert scored.score("night 2").counts.read == 0
    assert scored.scores().keys() == {id_.strip("'").format(n=n) for n in range(1, 31)}


def test_columns_that_were_created_in_lower_case_with_quotes_are_read_with_them(snowflake: Emulated) -> None:
    snowflake.run('CREATE TABLE {table} ("id" NUMBER(38, 0), "body" VARCHAR)')
    job = ScoringJob(
        name="films", source_conn_id=CONN_ID, source_schema=snowflake.schema, source_table="reviews", text_column="body"
    )
    with statements(snowflake.engine) as ran:
        open_source(snowflake.engine, job)
    (check,) = [each for each in ran if "body" in each]
    assert '"id"' in check
    assert '"body"' in check


def test_a_declared_key_is_not_trusted(snowflake: Emulated) -> None:
    create(snowflake, "{integer} PRIMARY KEY")
    columns = inspect(snowflake.engine).get_pk_constraint("reviews", snowflake.schema)["constrained_columns"]
    assert columns == ["id"]
    assert leading_keys(snowflake.engine, "reviews", snowflake.schema) == []


def test_rows_with_the_same_id_are_one_review(warehouse: Emulated, scored: Warehouse) -> None:
    create(warehouse)
    fill(warehouse, 1, 30)
    fill(warehouse, 30, 31)
    counts = scored.score("night 1").counts
    assert (counts.scored, counts.read) == (31, 32)


def test_texts_are_fetched_for_several_chunks_at_once(warehouse: Emulated, scored: Warehouse) -> None:
    create(warehouse)
    fill(warehouse, 1, 100)
    with statements(warehouse.engine) as ran:
        scored.score("night 1", chunk_rows=10)
    assert scored.shards()[0].chunks == 10
    assert sum("body" in each and "LIMIT" not in each for each in ran) == 1


def test_a_dry_run_of_a_new_job_reads_as_few_statements_as_a_run(warehouse: Emulated, scored: Warehouse) -> None:
    create(warehouse)
    fill(warehouse, 1, 100)
    ready = scored.prepare(dry_run=True)
    assert ready.ledger is None
    candidates = Candidates(ready.source, ready.ledger, asked(RunKey("dag", "score", "dry"), chunk_rows=10))
    with statements(warehouse.engine) as ran:
        assert estimate(candidates, scored.classifier, scored.stop).waiting == 100
    assert len(ran) <= 3


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("text_column", "words", r"has no column 'words' \(text_column\); it has id, body, updated_at"),
        ("source_table", "critics", r"has no table '.*critics'; there is reviews"),
        ("source_schema", "elsewhere", r"has no schema 'elsewhere'; there is "),
    ],
)
def test_a_wrong_set_up_is_reported(
    warehouse: Emulated, scored: Warehouse, setting: str, value: str, message: str
) -> None:
    create(warehouse)
    scored.job = scored.job.model_copy(update={setting: value})
    with pytest.raises(PreflightError, match=message):
        scored.prepare()


def test_the_warehouse_is_refused_as_the_ledger_before_anything_is_created(
    warehouse: Emulated, scored: Warehouse
) -> None:
    create(warehouse)
    alone = replace(scored, target=None)
    with pytest.raises(PreflightError, match="cannot hold the scores; set target_conn_id to a PostgreSQL") as error:
        alone.prepare()
    assert len(error.value.problems) == 1
    assert inspect(warehouse.engine).get_table_names(warehouse.schema) == ["reviews"]
