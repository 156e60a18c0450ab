"""Reading goes along indexes: the plans of what a run really sends are looked at, with and without statistics."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from sqlalchemy import Engine, event

from review_scoring.job import Rescore
from review_scoring.warehouse.dialects import Dialect
from tests.stubs import Warehouse

ROWS = 20_000


class Sent:
    """The reading statements that an engine is sent, and how many, each with the plan that it has there and then.

    The plan is requested on the same connection just before the statement, so that whatever the code has set, or has
    failed to set, decides it.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.plans: dict[str, str] = {}
        self.sent: Counter[str] = Counter()
        event.listen(engine, "before_cursor_execute", self._keep)

    def _keep(self, connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        before, _select, rest = statement.partition("SELECT")
        of_ours = "FROM reviews" in rest or "FROM review_" in rest
        if not of_ours or (before and not before.startswith("SET STATEMENT")):
            return
        self.sent[statement] += 1
        if statement in self.plans:
            return
        with closing(connection.connection.cursor()) as cursor:
            if self.engine.dialect.name == "sqlite":
                cursor.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
                self.plans[statement] = "\n".join(row[3] for row in cursor.fetchall())
            elif self.engine.dialect.name == "mysql":
                cursor.execute(f"{before}EXPLAIN SELECT{rest}", parameters)
                names = [column[0] for column in cursor.description]
                rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
                self.plans[statement] = "\n".join("{table}: {type} {key} {Extra}".format(**row) for row in rows)
            else:
                cursor.execute(f"EXPLAIN (FORMAT JSON) {statement}", parameters)
                self.plans[statement] = json.dumps(cursor.fetchone()[0])

    def stop(self) -> dict[str, str]:
        """Listen no more, and return the plans by statement."""
        event.remove(self.engine, "before_cursor_execute", self._keep)
        return self.plans


@pytest.mark.parametrize("analysed", [False, True])
def test_paging_and_looking_up_use_indexes(
    warehouse: Warehouse, analysed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if warehouse.engine.dialect.name == "duckdb":
        pytest.skip("DuckDB reads columns, and has no indexes to go by")
    monkeypatch.setattr(Dialect, "id_page_rows", 500)  # few beside the table, as in a table that matters
    warehouse.create()
    warehouse.fill(ROWS)
    warehouse.score("1", chunk_rows=5000)
    warehouse.fill(100, first=ROWS + 1)
    if analysed:
        for table in ("reviews", "review_scores"):
            warehouse.run(f"ANALYZE{' TABLE' * (warehouse.engine.dialect.name == 'mysql')} {table}")
    sent = Sent(warehouse.engine)
    warehouse.score("2", chunk_rows=50)
    warehouse.score("3", Rescore.CHANGED)
    checked = 0
    for statement, plan in sent.stop().items():
        if "WHERE" not in statement or "count(" in statement:  # preflight looks at one row, anywhere
            continue
        checked += 1
        if warehouse.engine.dialect.name == "sqlite":
            # The first page begins at the table's beginning: a scan in key order that LIMIT ends.
            scans = [line for line in plan.splitlines() if line.startswith("SCAN") and "reviews" not in line]
            assert scans == [], statement
            assert "TEMP B-TREE" not in plan, statement
        elif warehouse.engine.dialect.name == "mysql":
            lines = [line for line in plan.splitlines() if "review_rejects" not in line]  # which is empty
            found = [line for line in lines if any(word in line for word in (": ALL", "filesort", "temporary"))]
            assert found == [], statement[:500]
        else:
            assert '"Seq Scan"' not in plan, statement
            assert '"Sort"' not in plan, statement
            assert "Index" in plan, statement
    assert checked >= 4


def test_a_cursor_is_found_by_its_index(postgres_engine: Engine) -> None:
    warehouse = Warehouse(postgres_engine)
    warehouse.job = warehouse.job.replace(cursor_column="seq", cursor_lookback=50)
    warehouse.create(extra=", seq BIGINT")
    warehouse.run("INSERT INTO reviews SELECT n, 'texte ' || n, n FROM generate_series(1, :n) n", n=ROWS)
    warehouse.run("CREATE INDEX reviews_seq ON reviews (seq)")
    warehouse.score("1", chunk_rows=5000)
    warehouse.run("ANALYZE")
    warehouse.run("INSERT INTO reviews SELECT n, 'texte', n FROM generate_series(20001, 20100) n")
    sent = Sent(warehouse.engine)
    assert warehouse.score("2").counts.scored == 100
    pages = [plan for statement, plan in sent.stop().items() if "ORDER BY" in statement]
    assert pages
    assert all("reviews_seq" in plan for plan in pages)


PARTITIONED = """CREATE TABLE reviews (id {type}, body text, created timestamptz, PRIMARY KEY (id, created))
    PARTITION BY RANGE (created)"""


def create_view(warehouse: Warehouse, id_type: str) -> None:
    warehouse.run(f"CREATE TABLE stored (id {id_type} PRIMARY KEY, body text, created timestamptz)")
    warehouse.run("CREATE VIEW reviews AS SELECT id, body, created FROM stored WHERE body IS NOT NULL")


def create_partitioned(warehouse: Warehouse, id_type: str) -> None:
    warehouse.run(PARTITIONED.format(type=id_type))
    for year in (2024, 2025):
        warehouse.run(
            f"CREATE TABLE reviews_{year} PARTITION OF reviews FOR VALUES FROM ('{year}-01-01') TO ('{year + 1}-01-01')"
        )


@pytest.mark.parametrize("id_type", ["bigint", "text"])
@pytest.mark.parametrize("create", [create_view, create_partitioned])
def test_no_page_of_a_view_or_a_partitioned_table_reads_the_scores_whole(
    postgres_engine: Engine, create: Callable[[Warehouse, str], None], id_type: str
) -> None:
    warehouse = Warehouse(postgres_engine)
    create(warehouse, id_type)
    into = "stored" if create is create_view else "reviews"
    warehouse.run(
        f"INSERT INTO {into} SELECT n, 'review ' || n, timestamptz '2024-01-02' + (n % 700) * interval '1 day'"
        f" FROM generate_series(1, {ROWS}) n"
    )
    warehouse.prepare()
    warehouse.run("ALTER TABLE review_scores SET (autovacuum_enabled = off)")  # its statistics stay those of none
    warehouse.score("first", limit=ROWS // 2)
    sent = Sent(postgres_engine)
    warehouse.score("second", limit=2000)
    pages = {each: plan for each, plan in sent.stop().items() if "reviews.body" in each and "review_scores" in each}
    assert pages
    for statement, plan in pages.items():
        nodes = list(nodes_of(json.loads(plan)[0]["Plan"]))
        of_scores = [node["Node Type"] for node in nodes if node.get("Relation Name") == "review_scores"]
        assert of_scores, statement
        assert set(of_scores) <= {"Index Scan", "Index Only Scan"}, statement
        assert not any("Hash" in node["Node Type"] for node in nodes), statement
    if id_type == "bigint":  # of which Python knows as well as the source which are equal
        assert sum(sent.sent[each] for each in pages) <= 3, "one statement a page"


def nodes_of(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a plan's nodes."""
    yield plan
    for each in plan.get("Plans", []):
        yield from nodes_of(each)
