"""A cursor column hides rows from a nightly run, and never from a full pass."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

from review_scoring.errors import PreflightError
from review_scoring.job import Rescore
from review_scoring.request import RunKey
from review_scoring.run.planning import plan_one_shard
from review_scoring.warehouse.selection import cursor_values
from tests.stubs import Warehouse, asked


@pytest.fixture
def warehouse(warehouse: Warehouse) -> Warehouse:
    """Twenty scored reviews with an increasing `seq`, and a job that goes by it with a lookback of five."""
    warehouse.job = warehouse.job.replace(cursor_column="seq", cursor_lookback=5)
    warehouse.create(extra=", seq INTEGER")
    warehouse.fill(20)
    warehouse.run("UPDATE reviews SET seq = id")
    warehouse.score("first")
    return warehouse


def fail(texts: object) -> None:
    raise ZeroDivisionError


def cursor_seen(warehouse: Warehouse) -> str:
    return str(warehouse.run("SELECT cursor_seen FROM scoring_jobs")[0].cursor_seen)


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


def test_a_limited_run_moves_the_cursor_as_far_as_it_came(warehouse: Warehouse) -> None:
    insert(warehouse, *((n, n) for n in range(30, 60)))
    warehouse.score("limited", limit=3)
    assert cursor_seen(warehouse) == '["seq", 32]'
    assert warehouse.score("second").counts.scored == 27


def test_another_try_as_a_rescore_neither_uses_nor_moves_the_cursor(warehouse: Warehouse) -> None:
    insert(warehouse, (104, 3), *((n, n) for n in range(30, 60)))
    warehouse.classifier.before_batch = fail
    with pytest.raises(ZeroDivisionError):
        warehouse.score("second")
    warehouse.classifier.before_batch = lambda texts: None
    warehouse.score("second", Rescore.ALL)
    assert cursor_seen(warehouse) == '["seq", 20]'
    assert warehouse.score("third").counts.scored == 30


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
    warehouse.job = warehouse.job.replace(cursor_column="nr")
    assert warehouse.score("second").counts.scored == 1


def test_a_time_can_be_the_cursor(postgres_engine: Engine) -> None:
    warehouse = Warehouse(postgres_engine)
    warehouse.job = warehouse.job.replace(cursor_column="written", cursor_lookback=3600)
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


def test_one_wrong_integer_hides_no_later_row_and_is_told(
    warehouse: Warehouse, caplog: pytest.LogCaptureFixture
) -> None:
    insert(warehouse, (99, 10**9))
    with caplog.at_level(logging.WARNING):
        warehouse.score("second")
    assert "jumps from 20 to 1000000000, which 1 rows are at or above" in caplog.text
    found = []
    for night in range(21, 24):
        insert(warehouse, (night, night))
        found.append(warehouse.score(f"night {night}").counts.scored)
    assert found == [1, 1, 1]


def test_a_wrong_integer_that_was_believed_before_is_believed_no_longer(warehouse: Warehouse) -> None:
    insert(warehouse, (99, 10**9))
    warehouse.score("second")
    warehouse.run("UPDATE scoring_jobs SET cursor_seen = '[\"seq\", 1000000000]'")
    insert(warehouse, *((n, n) for n in range(21, 61)))
    assert warehouse.score("third").counts.scored == 40  # all that it has hidden, and not only the last ones


@pytest.mark.parametrize(
    ("top", "lowest", "highest"),
    [
        ([1_000_003, 1_000_002, 3, 2, 1], 1, 3),
        ([5, 4, 3, 2, 1], 1, 5),
        ([900, 3, 2, 1], 1, 900),  # no more than a small gap
        ([2_000_000, 1_999_000, 1_998_000, 1_997_000], 1_000_000, 2_000_000),
        ([10**13, 1_764_000_000_002, 1_764_000_000_001, 1_764_000_000_000], 1_700_000_000_000, 1_764_000_000_002),
        ([10**9, 2, 1], 1, None),  # too few to detect a jump
        ([2, 1], 1, None),
        ([], None, None),
    ],
)
def test_a_jump_is_a_gap_wider_than_all_that_is_below_it(
    top: list[int], lowest: int | None, highest: int | None
) -> None:
    assert cursor_values._before_a_jump("reviews", "seq", top, lowest) == highest


def test_a_jump_with_many_rows_above_it_is_followed(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cursor_values, "JUMP_ROWS", 5)
    insert(warehouse, *((100 + n, 10**9 + n) for n in range(5)))
    warehouse.score("second")
    insert(warehouse, (200, 30))
    assert warehouse.score("third").counts.read == 0


def test_rows_without_a_cursor_value_and_ties_do_not_wait_for_the_full_pass(warehouse: Warehouse) -> None:
    warehouse.job = warehouse.job.replace(cursor_lookback=0)
    warehouse.run("INSERT INTO reviews VALUES (201, 'sans', NULL), (202, 'à égalité', 20), (203, 'trop bas', 19)")
    assert warehouse.score("second").counts.scored == 2
    assert "203" not in warehouse.scores()


@pytest.mark.parametrize("zoned", [True, False])
def test_times_count_up_to_the_databases_clock(postgres_engine: Engine, zoned: bool) -> None:
    warehouse = Warehouse(postgres_engine)
    warehouse.job = warehouse.job.replace(cursor_column="written", cursor_lookback=3600)
    warehouse.create(extra=f", written {'timestamptz' if zoned else 'timestamp'}")
    warehouse.run(
        "INSERT INTO reviews SELECT n, 'critique ' || n, now() - interval '3 days' FROM generate_series(1, 5) n"
    )
    warehouse.run("INSERT INTO reviews VALUES (90, 'loin', now() + interval '30 years'), (91, 'jamais', 'infinity')")
    warehouse.run("INSERT INTO reviews VALUES (92, 'toujours', '-infinity')")
    assert warehouse.score("first").counts.scored == 8
    found = []
    for night in range(3):
        warehouse.run("INSERT INTO reviews VALUES (:id, 'nouvelle', now() - interval '2 days')", id=100 + night)
        found.append(warehouse.score(f"night {night}").counts.scored)
    assert found == [1, 1, 1]
    last_full = warehouse.run("SELECT full_pass_at FROM scoring_jobs")[0].full_pass_at
    first = warehouse.shards()[0].started_at
    assert abs((last_full.replace(tzinfo=UTC) - first).total_seconds()) < 60


def test_a_pass_over_a_part_is_not_taken_for_a_full_one(warehouse: Warehouse) -> None:
    warehouse.run("UPDATE scoring_jobs SET full_pass_at = :at", at=str(datetime.now(UTC) - timedelta(days=3))[:26])
    before = warehouse.run("SELECT full_pass_at FROM scoring_jobs")
    insert(warehouse, (30, 30))
    assert warehouse.score("second").counts.scored == 1
    assert warehouse.run("SELECT full_pass_at FROM scoring_jobs") == before


def test_a_dry_run_finds_what_the_run_then_finds(warehouse: Warehouse) -> None:
    insert(warehouse, (104, 3), (105, 30))
    prepared = warehouse.prepare(dry_run=True)
    request = asked(RunKey("dag", "score", "second"))
    shard = plan_one_shard(prepared, request)
    waiting = shard.candidates(prepared.source, prepared.ledger, request).count()
    assert waiting == warehouse.score("second").counts.read == 1


def test_a_column_that_cannot_be_a_cursor_is_told(warehouse: Warehouse) -> None:
    warehouse.job = warehouse.job.replace(cursor_column="body")
    with pytest.raises(
        PreflightError, match="'body' of 'reviews' is of type (LONGTEXT|TEXT|VARCHAR), which cannot serve as a cursor"
    ):
        warehouse.prepare()
