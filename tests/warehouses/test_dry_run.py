"""A dry run tells what a run costs at an emulated warehouse: no fewer statements than the run executes, and bytes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, column, select, table
from sqlalchemy.types import Integer

from review_scoring.request import RunKey
from review_scoring.run.estimate import estimate
from review_scoring.run.finishing import finish_run
from review_scoring.run.planning import plan_dry_run, plan_run
from review_scoring.run.report import DryRunReport
from review_scoring.run.source_cost import Planned, charges, cost_of_run
from review_scoring.warehouse.dialects import dialect_of
from review_scoring.warehouse.dialects.base import Dialect
from review_scoring.warehouse.dialects.databricks import Databricks
from review_scoring.warehouse.dialects.redshift import Redshift
from review_scoring.warehouse.dialects.snowflake import Snowflake
from review_scoring.warehouse.dialects.sqlite import SQLite
from review_scoring.warehouse.selection.shards import ShardLimits
from review_scoring.warehouse.source.cost import Cost, Statement, cost_of, statements_of
from tests.stubs import Warehouse, asked
from tests.warehouses.conftest import Emulated
from tests.warehouses.test_source import create, fill, statements, with_updates

KEY = RunKey("dag", "score", "night")
OPENINGS = 2


def dry_run(scored: Warehouse, limits: ShardLimits, **options: Any) -> DryRunReport:
    """Make a dry run as the DAG does it: one task plans it, and another one reads."""
    request = asked(KEY, **options)
    shard, planned = plan_dry_run(scored.prepare(dry_run=True), request, Planned(openings=OPENINGS, limits=limits))
    planned = Planned.from_json(json.loads(json.dumps(planned.as_json())))
    prepared = scored.prepare(dry_run=True)
    assert charges(prepared)
    candidates = shard.candidates(prepared.source, prepared.ledger, request)
    report = estimate(candidates, scored.classifier, scored.stop, partial(cost_of_run, prepared, planned)).report(
        "films"
    )
    assert DryRunReport.from_xcom(report.as_xcom()) == report
    return report


def run(scored: Warehouse, limits: ShardLimits, **options: Any) -> int:
    """Make a run as the DAG does it, and return how many statements the warehouse executed."""
    chunk_rows = options.pop("chunk_rows", 1000)
    with statements(scored.engine) as ran:
        scored.prepare()
        prepared = scored.prepare()
        shards = plan_run(prepared, asked(KEY, **options), limits)
        for index, shard in enumerate(shards):
            scored.score("night", shard=shard, map_index=index, chunk_rows=chunk_rows)
    finish_run(prepared.existing_ledger, KEY, shards)
    return len(ran)


def test_a_dry_run_tells_the_statements_of_a_run_in_one_shard(warehouse: Emulated, scored: Warehouse) -> None:
    create(warehouse)
    fill(warehouse, 1, 60)
    limits = ShardLimits(most=1)
    assert dry_run(scored, limits).source_statements == run(scored, limits)
    fill(warehouse, 61, 70)
    scored.engine.dispose()
    assert dry_run(scored, limits, chunk_rows=4).source_statements == run(scored, limits, chunk_rows=4)
    idle = dry_run(scored, limits)
    assert (idle.reviews, idle.source_statements) == (0, run(scored, limits))


@pytest.mark.parametrize("limit", [None, 50])
def test_a_run_in_shards_executes_no_more_statements_than_its_dry_run_tells(
    warehouse: Emulated, scored: Warehouse, postgres_engine: Engine, limit: int | None
) -> None:
    scored = replace(scored, target=postgres_engine)
    with_updates(scored, cursor_column="updated_at")
    create(warehouse)
    fill(warehouse, 1, 60)
    limits = ShardLimits(most=3, least=20)
    told = dry_run(scored, limits, limit=limit)
    assert (told.reviews, told.waiting, told.source_is_limit) == (limit or 60, 60, True)
    executed = run(scored, limits, limit=limit)
    assert told.source_statements is not None
    assert executed <= told.source_statements <= executed + 8


def test_an_emulator_does_not_tell_bytes_and_the_dry_run_goes_on(warehouse: Emulated, scored: Warehouse) -> None:
    create(warehouse)
    fill(warehouse, 1, 3)
    told = dry_run(scored, ShardLimits())
    assert told.source_bytes is None
    assert f"It takes up to {told.source_statements} statements at the source. This was" in told.paragraph


def test_no_error_of_a_client_fails_a_dry_run(sqlite_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def bytes_read(*_arguments: object) -> int:
        raise TypeError("an unexpected argument")

    monkeypatch.setattr(SQLite, "bytes_read", bytes_read)
    assert cost_of(sqlite_engine, [Statement("SELECT 1", frozenset({"id"}))] * 2) == Cost(2, None)


def test_the_bytes_of_all_statements_are_added_up(
    warehouse: Emulated, scored: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked_for: list[str] = []

    def bytes_read(_dialect: Dialect, _connection: Connection, statement: str, _parameters: object) -> int:
        asked_for.append(statement)
        return 10**9

    monkeypatch.setattr(type(dialect_of(scored.engine)), "bytes_read", bytes_read)
    create(warehouse)
    fill(warehouse, 1, 40)
    limits = ShardLimits(most=1)
    with statements(scored.engine) as ran:
        told = dry_run(scored, limits)
    assert all(each.startswith("SELECT") for each in asked_for)
    assert len(asked_for) == len(set(asked_for)) < len(ran)
    selects = sum(each.startswith("SELECT") for each in ran)
    assert told.source_bytes is not None
    assert told.source_bytes % 10**9 == 0
    assert selects <= told.source_bytes // 10**9 <= (told.source_statements or 0)


def test_bigquery_is_asked_for_the_bytes_of_a_statement_without_running_it(bigquery: Emulated) -> None:
    create(bigquery)
    fill(bigquery, 1, 3)
    reviews = table("reviews", column("id", Integer), column("body"), schema=bigquery.schema)
    with statements_of(bigquery.engine) as ran, bigquery.engine.connect() as connection:
        connection.execute(select(reviews.c.id.label("id"), reviews.c.body).where(reviews.c.id.in_([1, 2]))).all()
        (statement,) = ran
        opened: Any = connection.connection.driver_connection
        query, configs = opened._client.query_and_wait, []

        def watched(sql: str, **options: Any) -> Any:
            configs.append(options["job_config"])
            return query(sql, **options)

        opened._client.query_and_wait = watched
        found = dialect_of(connection).bytes_read(connection, statement.sql, statement.parameters)
        opened._client.query_and_wait = query
    assert found == 0  # the emulator answers, with no bytes
    assert [(each.dry_run, each.use_query_cache) for each in configs] == [(True, False)]
    assert len(ran) == 1


class Answering:
    """Stands for a connection to Snowflake, which has no emulator with EXPLAIN."""

    def __init__(self, answer: str | None) -> None:
        self.asked: list[tuple[str, object]] = []
        self.answer = answer

    def exec_driver_sql(self, statement: str, parameters: object) -> Any:
        self.asked.append((statement, parameters))
        return self

    def scalar(self) -> str | None:
        return self.answer


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ('{"GlobalStats": {"partitionsTotal": 9, "partitionsAssigned": 2, "bytesAssigned": 1536}}', 1536),
        ('{"GlobalStats": {}}', None),
        ("[]", None),
        (None, None),
    ],
)
def test_snowflake_is_asked_for_the_bytes_that_explain_assigns(answer: str | None, told: int | None) -> None:
    connection: Any = Answering(answer)
    assert Snowflake().bytes_read(connection, "SELECT 1 WHERE %(a)s", {"a": 1}) == told
    assert connection.asked == [("EXPLAIN USING JSON SELECT 1 WHERE %(a)s", {"a": 1})]


@pytest.mark.parametrize("dialect", [Databricks, Redshift])
def test_databricks_and_redshift_do_not_tell_bytes(dialect: Callable[[], Dialect]) -> None:
    connection: Any = Answering("{}")
    assert dialect().charges_for_statements
    assert dialect().bytes_read(connection, "SELECT 1", {}) is None
    assert connection.asked == []
