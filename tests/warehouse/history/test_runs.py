"""The run history agrees with the tables."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import update

from review_scoring.request import RunKey
from review_scoring.run.finishing import finish_run
from review_scoring.run.planning import plan_run
from review_scoring.warehouse.engine import writing
from review_scoring.warehouse.history.runs import STALLED, find_run
from review_scoring.warehouse.schema import RUNNING, SUCCESS
from review_scoring.warehouse.selection.shards import ShardLimits
from tests.stubs import Warehouse, asked
from tests.warehouse.history.reading import date_back, read_runs, record


def test_shards_of_one_dag_run_are_one_run(warehouse: Warehouse) -> None:
    warehouse.create()
    warehouse.fill(30)
    warehouse.score("1", map_index=0)
    with writing(warehouse.engine).begin() as connection:
        runs, shards = warehouse.tables.runs, warehouse.tables.shards
        row = connection.execute(shards.select()).one()._asdict()
        del row["id"]
        later = {"started_at": row["started_at"] + timedelta(hours=1), "ended_at": row["ended_at"] + timedelta(hours=2)}
        connection.execute(shards.insert().values({**row, **later, "map_index": 1, "state": "failed", "device": "gpu"}))
        connection.execute(update(runs).values(state="failed", shards=2))
    (run,) = read_runs(warehouse)
    assert (run.counts.read, run.state, run.shards, run.shards_done) == (60, "failed", 2, 1)
    assert run.labelled == 60
    assert run.devices == ("stub", "gpu")
    assert run.seconds > 7199
    with warehouse.engine.connect() as connection:
        same = find_run(connection, record(warehouse), dag_id=run.dag_id, dag_run_id=run.dag_run_id)
    assert same is not None
    assert replace(same, seen_at=run.seen_at) == run


def test_a_run_has_its_limit(warehouse: Warehouse) -> None:
    warehouse.create()
    warehouse.fill(10)
    warehouse.score("1", limit=4)
    warehouse.score("2")
    assert [run.limit for run in read_runs(warehouse)] == [None, 4]


def test_a_running_run_whose_lease_has_expired_is_stalled(warehouse: Warehouse) -> None:
    warehouse.create()
    warehouse.fill(3)
    warehouse.score("1")
    shards = warehouse.tables.shards
    for lease, state in ((timedelta(hours=1), "running"), (-timedelta(hours=1), STALLED)):
        with writing(warehouse.engine).begin() as connection:
            seen = read_runs(warehouse)[0].seen_at
            connection.execute(update(shards).values(state="running", ended_at=None, lease_until=seen + lease))
        assert read_runs(warehouse)[0].state == state


@pytest.mark.parametrize("begun", [1, 2])
def test_a_run_that_nobody_finishes_is_neither_in_progress_for_ever_nor_a_success(
    warehouse: Warehouse, begun: int
) -> None:
    """Its summary has not run: the DAG has none, it was not cleared with its shards, or a shard could not begin."""
    if warehouse.engine.dialect.name in {"sqlite", "duckdb"}:
        pytest.skip("a run is one shard")
    warehouse.create()
    warehouse.fill(10)
    key = RunKey("dag", "score", "1")
    planned = plan_run(warehouse.prepare(), asked(key), ShardLimits(most=2, least=1))
    for number in range(begun):
        warehouse.score("1", shard=planned[number], map_index=number)
    (run,) = read_runs(warehouse)
    assert (run.state, run.ended_at, run.shards, run.shards_done) == (RUNNING, None, 2, begun)
    date_back(warehouse, "1", timedelta(minutes=5))
    (run,) = read_runs(warehouse)
    assert (run.state, run.ended_at) == (STALLED, max(each.ended_at for each in warehouse.shards()))
    if begun == 2:
        finish_run(warehouse.prepare().existing_ledger, key, planned)
        assert read_runs(warehouse)[0].state == SUCCESS
