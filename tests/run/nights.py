"""Runs as the DAG does them: planned, each shard scored from the plain values that travel, and finished."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from review_scoring.job import Order
from review_scoring.request import RunKey
from review_scoring.run.finishing import finish_run
from review_scoring.run.planning import plan_run
from review_scoring.run.report import RunReport
from review_scoring.warehouse.selection.shards import Shard, ShardLimits
from tests.stubs import Warehouse, asked

KEY = RunKey("dag", "score", "night")
NEWEST: dict[str, Any] = {"order": Order.NEWEST}


def plan(warehouse: Warehouse, run_id: str = "night", most: int = 1, least: int = 1, **options: Any) -> list[Shard]:
    """Plan a run."""
    request = asked(replace(KEY, dag_run_id=run_id), **options)
    prepared = warehouse.prepare()
    shards = plan_run(prepared, request, ShardLimits(most=most, least=least))
    travelled = [Shard.from_json(json.loads(json.dumps(each.as_json())), prepared.source.id_type) for each in shards]
    assert travelled == shards
    return travelled


def finish(warehouse: Warehouse, shards: Sequence[Shard], run_id: str = "night") -> RunReport:
    """Finish a run."""
    return finish_run(warehouse.prepare().existing_ledger, replace(KEY, dag_run_id=run_id), shards)


def night(
    warehouse: Warehouse, run_id: str = "night", most: int = 1, chunk_rows: int = 1000, **options: Any
) -> RunReport:
    """Plan, score and finish a run."""
    shards = plan(warehouse, run_id, most, **options)
    for index, shard in enumerate(shards):
        warehouse.score(run_id, shard=shard, map_index=index, chunk_rows=chunk_rows)
    return finish(warehouse, shards, run_id)
