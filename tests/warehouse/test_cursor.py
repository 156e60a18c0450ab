"""A cursor column hides rows from a night, and never from a full pass."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest
from sqlalchemy import Engine

from review_scoring.errors import PreflightError
from tests.stubs import Warehouse


@pytest.fixture
def warehouse(warehouse: Warehouse) -> Warehouse:
    """Twenty scored reviews with an increasing `seq`, and a job that goes by it with a lookback of five."""
    warehouse.job = replace(warehouse.job, cursor_column="seq", cursor_lookback=5)
    warehouse.create(extra=", seq INTEGER")
    warehouse.fill(20)
    warehouse.run("UPDATE reviews SET seq = id")
    warehouse.score("first")
    return warehouse


def fail(texts: object) -> None:
    raise ZeroDivisionError


def insert(warehouse: Warehouse, *rows: tuple[int, int]) -> None:
    for id_, seq in rows:
        warehouse.run("INSERT INTO reviews VALUES (:id, 'encore un', :seq)", id=id_, seq=seq)


def test_a_night_finds_what_is_above_the_highest_value_seen_or_not_far_below(warehouse: Warehouse) -> None:
    insert(warehouse, (101, 21), (102, 30), (103, 16), (104, 3))
    assert warehouse.score("second").counts.scored == 3
    assert "104" not in warehouse.scores()


def test_the_next_full_pass_finds_what_the_cursor_has_hidden(warehouse: Warehouse) -> None:
    insert(warehouse, (104, 3))
    assert warehouse.score("second").counts.read == 0
    warehouse.run("UPDATE scoring_jobs SET full_pass_at = '2026-01-01 00:00:00.000000'")
    assert warehouse.score("third").counts.scored == 1


def test_a_limited_run_leaves_the_cursor_where_it_was(warehouse: Warehouse) -> None:
    insert(warehouse, *((n, n) for n in range(30, 60)))
    warehouse.score("limited", limit=3)
    assert warehouse.score("second").counts.scored == 27


def test_a_run_that_fails_leaves_the_cursor_where_it_was(warehouse: Warehouse) -> None:
    insert(warehouse, *((n, n) for n in range(30, 60)))
    warehouse.classifier.before_batch = fail
    with pytest.raises(ZeroDivisionError):
        warehouse.score("second")
    warehouse.classifier.before_batch = lambda texts: None
    assert warehouse.score("third").counts.scored == 30


def test_another_cursor_column_begins_with_a_full_pass(warehouse: Warehouse) -> None:
    warehouse.run("ALTER TABLE reviews ADD COLUMN nr INTEGER")
    warehouse.run("UPDATE reviews SET nr = -id")
    warehouse.run("INSERT INTO reviews (id, body, seq, nr) VALUES (200, 'encore', 1, -100)")
    warehouse.job = replace(warehouse.job, cursor_column="nr")
    assert warehouse.score("second").counts.scored == 1


def test_a_time_can_be_the_cursor(postgres_engine: Engine) -> None:
    warehouse = Warehouse(postgres_engine)
    warehouse.job = replace(warehouse.job, cursor_column="written", cursor_lookback=3600)
    warehouse.create(extra=", written timestamptz")
    warehouse.run("INSERT INTO reviews VALUES (1, 'un', :at)", at=datetime.fromisoformat("2026-05-01T12:00:00+02:00"))
    warehouse.score("first")
    for id_, at in (
        (2, "2026-05-01T09:30:00+00:00"),
        (3, "2026-05-01T08:00:00+00:00"),
        (4, "2026-06-01T00:00:00+00:00"),
    ):
        warehouse.run("INSERT INTO reviews VALUES (:id, 'encore', :at)", id=id_, at=datetime.fromisoformat(at))
    warehouse.score("second")
    assert warehouse.scores().keys() == {"1", "2", "4"}


def test_a_column_that_cannot_be_a_cursor_is_told(warehouse: Warehouse) -> None:
    warehouse.job = replace(warehouse.job, cursor_column="body")
    with pytest.raises(
        PreflightError, match="'body' of 'reviews' is of type (LONGTEXT|TEXT|VARCHAR), which cannot serve as a cursor"
    ):
        warehouse.prepare()
