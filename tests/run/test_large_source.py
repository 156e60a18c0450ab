"""A large or slow source is read in windows, and what would help it is advised."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Engine, func

from review_scoring.errors import WarehouseUnavailableError
from review_scoring.request import EVERYTHING
from review_scoring.run import preflight
from review_scoring.warehouse.source import pace
from review_scoring.warehouse.source.stretches import WHOLE
from review_scoring.warehouse.source.table import SourceTable
from tests.run.nights import NEWEST, finish, night, plan
from tests.stubs import Warehouse


def test_an_empty_night_between_two_databases_reads_the_ids_once(
    sqlite_engine: Engine, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from review_scoring.warehouse.engine import make_engine

    warehouse = Warehouse(sqlite_engine, make_engine(f"sqlite:///{tmp_path / 'scores.db'}"))
    warehouse.create()
    warehouse.fill(25_000)
    night(warehouse, "1", **NEWEST)
    read = []
    real: Any = SourceTable.fetch

    def fetch(*arguments: Any, **options: Any) -> Any:
        rows = real(*arguments, **options)
        read.append(len(rows))
        return rows

    monkeypatch.setattr(SourceTable, "fetch", fetch)
    assert night(warehouse, "2", **NEWEST).counts.read == 0
    assert 25_000 <= sum(read) < 25_010


def test_no_statement_compares_more_rows_than_a_window(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "WINDOW_ROWS", 40)
    warehouse.create()
    warehouse.fill(500)
    assert night(warehouse, "1", limit=105, **NEWEST).waiting.reviews == 395
    assert night(warehouse, "2", most=4, **NEWEST).counts.scored == 395
    warehouse.run("DELETE FROM review_scores WHERE review_id IN ('3', '250', '499')")
    (shard,) = plan(warehouse, "3", **NEWEST)
    prepared = warehouse.prepare()
    windows = list(prepared.source.windows(shard.stretches[0]))
    assert len(windows) == 13
    assert sum(prepared.source.count(prepared.source.id > 0, stretch=window) for window in windows) == 500
    warehouse.score("3", shard=shard, map_index=0, chunk_rows=1)
    assert finish(warehouse, [shard], "3").counts.scored == 3


def test_an_index_or_a_cursor_that_is_missing_is_advised(
    postgres_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "MANY_ROWS", 500)
    warehouse = Warehouse(postgres_engine)
    warehouse.create(extra=", seq INTEGER, changed timestamptz")
    warehouse.fill(1000)
    warehouse.run("ANALYZE reviews")
    (without,) = preflight.advice(warehouse.prepare())
    assert without.startswith("reviews has about 1,000 rows, and every run compares all their ids")
    warehouse.job = warehouse.job.replace(cursor_column="seq", updated_at_column="changed")
    cursor, changed = preflight.advice(warehouse.prepare())
    assert cursor.endswith("create one: CREATE INDEX reviews_seq ON reviews (seq)")
    assert changed.endswith("create one: CREATE INDEX reviews_changed ON reviews (changed)")
    warehouse.run("CREATE INDEX ON reviews (seq, id)")
    warehouse.run("CREATE INDEX ON reviews (changed)")
    assert preflight.advice(warehouse.prepare()) == []


def test_a_slow_source_gets_smaller_windows_and_larger_ones_when_it_is_fast_again() -> None:
    assert _sizes(pace.Pace(300), 0.1, times=6) == [10_000, 20_000, 40_000, 80_000, 100_000, 100_000]
    assert _sizes(pace.Pace(300), 80.0, times=6) == [10_000, 5_000, 2_500, 1_250, 1_000, 1_000]
    assert _sizes(pace.Pace(300), 30.0, times=2) == [10_000, 10_000]
    assert _sizes(pace.Pace(0), 80.0, times=2) == [100_000, 100_000]


def test_a_size_at_which_a_statement_was_ended_is_not_tried_again() -> None:
    slow = pace.Pace(300)
    assert _sizes(slow, 0.1, times=3) == [10_000, 20_000, 40_000]
    assert slow.shrink()
    assert _sizes(slow, 0.1, times=4) == [10_000, 20_000, 20_000, 20_000]
    assert [slow.shrink() for _ in range(4)] == [True, True, True, False]
    assert _sizes(slow, 0.1, times=2) == [1_000, 1_000]


def _sizes(found: pace.Pace, seconds: float, *, times: int) -> list[int]:
    """Return the sizes of the next windows, of which each statement takes so many seconds."""
    sizes = []
    for _ in range(times):
        sizes.append(found.rows())
        found.note(seconds)
    return sizes


@pytest.fixture
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows of 400 rows at the beginning, and of 10 at least."""
    monkeypatch.setattr(pace, "FIRST_ROWS", 400)
    monkeypatch.setattr(pace, "FEWEST_ROWS", 10)


@pytest.mark.usefixtures("small_windows")
@pytest.mark.parametrize(
    ("server", "slow"),
    [
        ("postgres_engine", "SELECT id, body FROM reviews WHERE pg_sleep(0.005) IS NOT NULL"),
        ("mariadb_engine", "SELECT id, body FROM reviews WHERE SLEEP(0.005) IS NOT NULL"),
        ("mariadb_engine", "SELECT id, CONCAT(body, SLEEP(0.005)) AS body FROM reviews"),
    ],
    ids=["rows in PostgreSQL", "rows in MariaDB", "texts in MariaDB"],
)
def test_a_window_whose_statement_is_ended_by_the_limit_is_read_in_smaller_ones(
    server: str, slow: str, request: pytest.FixtureRequest
) -> None:
    warehouse = Warehouse(request.getfixturevalue(server))
    warehouse.job = warehouse.job.replace(source_table="slow", source_statement_s=1)
    warehouse.create()
    warehouse.fill(300)
    warehouse.run("CREATE VIEW slow AS SELECT id, body FROM reviews")
    prepared = warehouse.prepare()
    warehouse.run("DROP VIEW slow")
    warehouse.run(f"CREATE VIEW slow AS {slow}")
    assert warehouse.score("1", prepared=prepared, chunk_rows=300).counts.scored == 300
    assert len(warehouse.classifier.calls) == 300


@pytest.mark.usefixtures("small_windows")
def test_a_statement_that_takes_longer_than_finding_its_window_gets_smaller_ones(postgres_engine: Engine) -> None:
    warehouse = Warehouse(postgres_engine)
    warehouse.job = warehouse.job.replace(source_statement_s=1)
    warehouse.create()
    warehouse.fill(300)
    source = warehouse.prepare().source
    each_row = func.pg_sleep(0.005).is_not(None)
    counts = list(source.by_windows(partial(source.count, each_row, EVERYTHING), WHOLE))
    assert sum(counts) == 300
    assert len(counts) >= 3


def test_a_statement_on_the_source_ends_at_the_jobs_limit(postgres_engine: Engine) -> None:
    warehouse = Warehouse(postgres_engine)
    warehouse.job = warehouse.job.replace(source_table="slow", source_statement_s=1)
    warehouse.create()
    warehouse.fill(3)
    prepared_view = "CREATE VIEW slow AS SELECT id, body FROM reviews WHERE id < 3 OR pg_sleep(60) IS NOT NULL"
    warehouse.run("CREATE VIEW slow AS SELECT id, body FROM reviews")
    prepared = warehouse.prepare()
    warehouse.run("DROP VIEW slow")
    warehouse.run(prepared_view)
    began = time.monotonic()
    with pytest.raises(WarehouseUnavailableError, match="raise `source_statement_s` of the job"):
        warehouse.score("1", prepared=prepared)
    assert time.monotonic() - began < 30
