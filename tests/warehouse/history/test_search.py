"""Search finds the least certain reviews in one index."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import event

from review_scoring.warehouse.history.search import SearchFilter, SearchPosition, search
from tests.stubs import Warehouse
from tests.warehouse.history.reading import record


def test_the_least_certain_are_found_in_one_index(warehouse: Warehouse) -> None:
    if warehouse.engine.dialect.name == "duckdb":
        pytest.skip("DuckDB reads columns whole, and no index in order")
    warehouse.create()
    warehouse.fill(20_000)
    warehouse.score("1", chunk_rows=5000)
    postgres = warehouse.engine.dialect.name == "postgresql"
    if postgres:
        with warehouse.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            connection.exec_driver_sql("VACUUM ANALYZE review_scores")
    job = record(warehouse)
    sent: list[tuple[str, Any]] = []
    event.listen(warehouse.engine, "before_cursor_execute", lambda *of: sent.append((of[2], of[3])))
    with warehouse.engine.connect() as connection:
        for wanted in (SearchFilter(), SearchFilter(label="pos", score_to=0.8, truncated=False, model="stub")):
            for after in (None, SearchPosition(0.6, "700")):
                sent.clear()
                assert len(search(connection, job, matching=wanted, after=after, limit=26)) == 26
                ((statement, parameters),) = [each for each in sent if "review_scores" in each[0]]
                if warehouse.engine.dialect.name == "mysql":
                    rows = connection.exec_driver_sql(f"EXPLAIN {statement}", parameters).all()
                    (read,) = [row for row in rows if row.key == "review_scores_certainty_filters"]
                    assert read.type == ("ref" if after is None and wanted.score_to is None else "range")
                    assert "Using index" in read.Extra
                    assert "filesort" not in read.Extra
                    plan = read.key
                elif postgres:
                    plan = json.dumps(
                        connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", parameters).scalar()
                    )
                    assert '"Index Only Scan"' in plan
                    assert '"Seq Scan"' not in plan
                else:
                    rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
                    plan = "\n".join(row.detail for row in rows)
                    assert "SCAN review_scores" not in plan
                assert "review_scores_certainty" in plan, statement
