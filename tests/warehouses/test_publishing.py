"""Scores are published to emulated warehouses: what has changed, also after a kill at any statement, and the DDL."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from review_scoring.errors import ConfigurationError
from review_scoring.job import Publication, Rescore
from review_scoring.warehouse.publishing import changes
from review_scoring.warehouse.publishing.destinations import publication_ddl
from tests.conftest import PROVE
from tests.run.publications import Mart, change, killed_at
from tests.run.reconciliations import forgotten
from tests.stubs import Warehouse
from tests.warehouses.conftest import CONN_ID, Emulated
from tests.warehouses.processes import reopened, roll_back

MOMENTS = range(0, 150, 1 if PROVE else 24)
"""Moments of a publication, up to more than it has."""


@pytest.fixture
def mart(warehouse: Emulated, sqlite_engine: Engine) -> Mart:
    """A thousand scored reviews in SQLite, and an emulated warehouse without a table for them."""
    ledger = Warehouse(sqlite_engine)
    ledger.create()
    ledger.fill(1000)
    ledger.score("1")
    to = Publication(conn_id=CONN_ID, table="film_labels", table_schema=warehouse.schema)
    return Mart(ledger, warehouse.engine, to)


def test_what_changed_is_published(mart: Mart) -> None:
    assert mart.publish("1").rows == 1000
    assert mart.is_equal()
    mart.warehouse.fill(20, first=1001)
    mart.warehouse.run("UPDATE reviews SET body = 'tout autre chose !' WHERE id <= 5")
    mart.warehouse.run("UPDATE reviews SET body = ' ' WHERE id = 6")
    mart.warehouse.run("DELETE FROM reviews WHERE id IN (7, 8)")
    mart.warehouse.score("2", Rescore.CHANGED)
    mart.warehouse.score("3")
    forgotten(mart.warehouse, "7", "8")
    report = mart.publish("3")
    assert (report.written, report.removed, report.rows, report.why_full) == (25, 3, 1017, None)
    assert mart.is_equal()


def test_everything_is_published_again_if_the_table_lost_rows_or_was_dropped(mart: Mart) -> None:
    mart.publish("1")
    mart.run(f"DELETE FROM {mart.destination.name} WHERE review_id = '3'")
    mart.run(f"UPDATE {mart.destination.name} SET review_id = 'x' WHERE review_id = '4'")
    assert mart.publish("2").why_full == "the table had 999 rows of the job, and 1,000 after the last publication"
    assert mart.is_equal()
    drop(mart)
    assert mart.publish("2").why_full == "the table is missing"
    assert mart.is_equal()


def drop(mart: Mart) -> None:
    """Drop the table; from BigQuery by its API, since the emulator lists tables that a statement has dropped."""
    if mart.engine.dialect.name == "bigquery":
        bigquery_client(mart).delete_table(f"tests.{mart.destination.name}")
    else:
        mart.run(f"DROP TABLE {mart.destination.name}")


def forget_dropped(mart: Mart) -> None:
    """Have the emulator of BigQuery list no staging table that was dropped; each publication would drop it again."""
    client = bigquery_client(mart)
    for each in client.list_tables(f"tests.{mart.to.table_schema}"):
        if "staging" in each.table_id:
            client.delete_table(each, not_found_ok=True)


def bigquery_client(mart: Mart) -> Any:
    with mart.engine.connect() as connection:
        opened: Any = connection.connection.dbapi_connection
    return opened._client


@pytest.mark.prove
def test_a_publication_that_was_killed_is_completed_by_the_next_one(
    mart: Mart, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    mart.publish("1")
    monkeypatch.setattr(changes, "PAGE_ROWS", 10)
    sessions = tmp_path / "sessions"
    sessions.touch()
    reopen = partial(reopened, mart.engine.dialect.name, dict(os.environ), sessions)
    kills = 0
    for moment in MOMENTS:
        change(mart, 20 + moment)
        was_killed = killed_at(mart, moment, reopen)
        if mart.engine.dialect.name == "snowflake":
            roll_back(request.getfixturevalue("snowflake_address"), sessions)
        mart.publish("2")
        assert mart.is_equal()
        if mart.engine.dialect.name == "bigquery":
            forget_dropped(mart)
        if not was_killed:
            break
        kills += 1
    print(f"killed at {kills} moments")
    assert 60 // MOMENTS.step < kills < len(MOMENTS)


def test_a_table_that_lacks_a_column_is_refused(mart: Mart, warehouse: Emulated) -> None:
    mart.run(f"CREATE TABLE {mart.destination.name} (job {warehouse.types['text']})")
    with pytest.raises(ConfigurationError, match="has no column 'review_id'"):
        mart.publish("1")


def test_a_dba_can_create_the_table(mart: Mart) -> None:
    for statement in publication_ddl(mart.engine.dialect.name, "film_labels", mart.to.table_schema).split(";\n"):
        if statement.strip():
            mart.run(statement)
    assert mart.publisher("1", creates_table=False).publish().rows == 1000
    assert mart.is_equal()
