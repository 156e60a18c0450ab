"""The run history on the overview, including runs that wrote nothing and runs that never started."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, update

from review_scoring.airflow.web import dag_runs, overview_charts
from review_scoring.airflow.web.dag_runs import DagRunState, DagState
from review_scoring.airflow.web.run_history import RunLine, overdue, run_lines
from review_scoring.warehouse.engine import writing
from review_scoring.warehouse.history.daily_labels import DailyLabels
from review_scoring.warehouse.history.runs import Run, last_runs
from review_scoring.warehouse.ledger.jobs import find_job
from tests.stubs import Warehouse

Pages = Callable[..., TestClient]
NOW = datetime(2026, 11, 25, 9, tzinfo=UTC)
DUE = datetime(2026, 11, 25, 2, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def recorded(sqlite_engine: Engine) -> Run:
    """A run that succeeded the day before."""
    warehouse = Warehouse(sqlite_engine)
    warehouse.create()
    warehouse.fill(3)
    warehouse.score("scheduled 1")
    with sqlite_engine.connect() as connection:
        job = find_job(connection, warehouse.tables, "films")
        assert job is not None
        (found,) = last_runs(connection, job, limit=1)
    return replace(found, started_at=DUE - DAY, ended_at=DUE - DAY + HOUR)


def run(run_id: str, state: str, due: datetime = DUE, *failed: str, scheduled: bool = True) -> DagRunState:
    return DagRunState(
        dag_id="dag",
        dag_run_id=run_id,
        state=state,
        is_scheduled=scheduled,
        due_at=due,
        started_at=None if state == "queued" else due + timedelta(seconds=5),
        failed_tasks=failed,
    )


def dag(*newest_first: DagRunState, **more: Any) -> DagState:
    values: dict[str, Any] = {"is_paused": False, "has_import_errors": False, "next_due_at": DUE + DAY, **more}
    return DagState(dag_id="dag", runs=newest_first, **values)


FIRST = run("scheduled 1", "success", DUE - DAY)


def test_a_run_that_failed_before_it_scored_is_the_last_one(recorded: Run) -> None:
    last, before = run_lines([recorded], [dag(run("scheduled 2", "failed", DUE, "preflight"), FIRST)])
    assert (last.dag_run_id, last.state, last.failed_tasks, last.recorded) == (
        "scheduled 2",
        "failed",
        ("preflight",),
        None,
    )
    assert (before.dag_run_id, before.state, before.recorded) == ("scheduled 1", "success", recorded)


@pytest.mark.parametrize(("running", "state"), [(0, "running"), (1, "stalled")])
def test_a_run_that_waits_for_workers_is_in_progress_unless_a_shard_is_silent(
    recorded: Run, running: int, state: str
) -> None:
    waiting = replace(recorded, state="stalled", shards_running=running)
    (line,) = run_lines([waiting], [dag(run("scheduled 1", "running", DUE - DAY))])
    assert line.state == state


@pytest.mark.parametrize(("done", "running", "state"), [(2, 0, "success"), (1, 0, "stalled"), (1, 1, "stalled")])
def test_a_run_of_a_dag_without_a_summary_has_succeeded_if_airflow_says_so(
    recorded: Run, done: int, running: int, state: str
) -> None:
    """Its counts were not compared with the tables: without Airflow it is stalled."""
    stalled = replace(recorded, state="stalled", shards=2, shards_done=done, shards_running=running)
    (line,) = run_lines([stalled], [dag(FIRST)])
    assert line.state == state
    assert [line.state for line in run_lines([stalled], [])] == ["stalled"]


def test_the_pages_explain_why_a_run_is_stalled(pages: Pages, warehouse: Warehouse) -> None:
    warehouse.create()
    warehouse.fill(3)
    warehouse.score("scheduled 1", map_index=0)
    date_back(warehouse, 2 * DAY)
    client, address = pages(), "/run?dag_id=dag&run_id=scheduled 1"
    reasons = (
        ("shards = 1", "success", "have not been compared with the tables"),
        ("shards = 2", "success", "none of its tasks has begun for a while"),
        ("shards = 2", "running", "has stopped sending heartbeats"),
    )
    expired = "lease_until = '2026-01-01 00:00:00.000000'"
    for planned, shard, reason in reasons:
        warehouse.run(f"UPDATE scoring_runs SET state = 'running', {planned}")
        warehouse.run(f"UPDATE scoring_shards SET state = '{shard}', {expired}")
        for shown in (client.get("/").text, client.get(address).text):
            assert "state-stalled" in shown
            assert [each in shown for _, _, each in reasons] == [each == reason for _, _, each in reasons]


def test_a_run_that_failed_in_its_summary_is_no_success_although_its_shards_succeeded(recorded: Run) -> None:
    (line,) = run_lines([recorded], [dag(run("scheduled 1", "failed", DUE - DAY, "summarise"))])
    assert (recorded.state, line.state, line.failed_tasks) == ("success", "failed", ("summarise",))


@pytest.mark.parametrize("state", ["running", "queued"])
def test_a_run_with_shards_to_come_is_not_a_success_yet(recorded: Run, state: str) -> None:
    (line,) = run_lines([recorded], [dag(run("scheduled 1", state, DUE - DAY))])
    assert line.state == "running"


def test_a_dry_run_is_not_listed_and_a_queued_run_is(recorded: Run) -> None:
    lines = run_lines([recorded], [dag(run("manual", "success", DUE), run("scheduled 2", "queued", DUE + HOUR), FIRST)])
    assert [(line.dag_run_id, line.state) for line in lines] == [("scheduled 2", "queued"), ("scheduled 1", "success")]


def test_without_airflow_the_warehouse_is_shown_alone(recorded: Run) -> None:
    assert [line.state for line in run_lines([recorded], [])] == ["success"]
    assert overdue(run_lines([recorded], []), [], NOW) is None


def late(recorded: Run | None, state: DagState, now: datetime = NOW) -> tuple[datetime, str] | None:
    """Return when the overdue run was due, and the reason on the overview."""
    found = overdue(run_lines([recorded] if recorded else [], [state]), [state], now)
    assert found is None or found.succeeded_at == (recorded.started_at if recorded else None)
    return None if found is None else (found.due_at, found.why)


def test_after_a_failed_run_a_run_is_overdue(recorded: Run) -> None:
    failed = dag(run("scheduled 2", "failed", DUE, "preflight"), FIRST)
    assert late(recorded, failed) == (DUE, "The newest run failed in preflight.")


def test_a_run_that_never_started_is_overdue(recorded: Run) -> None:
    state = dag(FIRST, next_due_at=DUE)
    due, why = late(recorded, state) or (None, "")
    assert due == DUE
    assert "No run has started since" in why
    assert late(recorded, replace(state, is_paused=True)) == (DUE, "The DAG is paused.")
    assert late(recorded, replace(state, has_import_errors=True)) == (DUE, "The DAG file has an import error.")


def test_a_queued_run_is_overdue_and_a_run_in_progress_is_not(recorded: Run) -> None:
    assert late(recorded, dag(run("scheduled 2", "queued"), FIRST)) == (DUE, "The newest run is queued.")
    assert late(recorded, dag(run("scheduled 2", "running"), FIRST)) is None


def test_no_run_is_overdue_if_all_is_well(recorded: Run) -> None:
    newer = replace(recorded, dag_run_id="scheduled 2", started_at=DUE + HOUR)
    state = dag(run("scheduled 2", "success"), FIRST)
    assert overdue(run_lines([newer, recorded], [state]), [state], NOW) is None
    assert late(recorded, dag(FIRST, next_due_at=DUE), DUE + timedelta(minutes=5)) is None, (
        "within the time that a scheduler takes"
    )
    assert late(recorded, dag(next_due_at=None)) is None, "a DAG without a schedule"
    by_hand = replace(newer, dag_run_id="manual")
    state = dag(run("manual", "success", scheduled=False), run("scheduled 2", "failed", DUE, "preflight"), FIRST)
    assert overdue(run_lines([by_hand, recorded], [state]), [state], NOW) is None, "a manual run has succeeded since"


def test_a_job_that_moved_to_another_dag_is_not_overdue_in_the_paused_one(recorded: Run) -> None:
    newer = replace(recorded, dag_id="mine", dag_run_id="scheduled 2", started_at=DUE + HOUR)
    paused = dag(FIRST, is_paused=True, next_due_at=DUE)
    assert overdue(run_lines([newer, recorded], [paused]), [paused], NOW) is None


def test_a_job_that_never_succeeded_is_overdue() -> None:
    state = dag(run("scheduled 1", "failed", DUE, "preflight"))
    assert late(None, state) == (DUE, "The newest run failed in preflight.")
    lines = [RunLine("dag", "scheduled 1", "failed", DUE, ("preflight",), None)]
    found = overdue(lines, [state], NOW)
    assert found is not None
    assert found.succeeded_at is None


def test_the_overview_shows_a_run_that_failed_in_preflight(
    pages: Pages, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse.create()
    warehouse.fill(3)
    warehouse.score("scheduled 1")
    date_back(warehouse, 2 * DAY)
    client = pages()
    state = dag(run("scheduled 2", "failed", datetime.now(UTC) - HOUR, "preflight"))
    monkeypatch.setattr(dag_runs, "dag_states", lambda dag_ids: {"dag": state})
    shown = client.get("/").text
    assert re.search(r'<dt>Last run</dt>\s*<dd><span class="state state-failed">failed</span>', shown)
    assert "It failed in <code>preflight</code> before any review was scored." in shown
    assert '<a href="../dags/dag/runs/scheduled%202" data-airflow>' in shown
    assert "A run is overdue" in shown


def test_runs_of_the_dag_of_one_job_are_not_listed_for_another(
    pages: Pages, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse.create()
    job = {"source_conn_id": "reviews", "source_table": "reviews", "text_column": "body"}
    monkeypatch.setenv("AIRFLOW_VAR_REVIEW_SCORING_JOBS", json.dumps({"books": job, "films": job}))
    client = pages()
    states = {"score_books": dag(run("scheduled 1", "failed", DUE, "preflight"))}
    monkeypatch.setattr(dag_runs, "dag_states", lambda ids: {each: states[each] for each in ids if each in states})
    assert "It failed in" in client.get("/?job=books").text
    assert "It failed in" not in client.get("/?job=films").text


def test_days_without_a_run_are_gaps_in_the_charts_up_to_yesterday() -> None:
    there = [DailyLabels(date(2026, 11, n), {"pos": (40, 36.0), "neg": (10, 7.0)}) for n in (1, 2, 5)]
    shares, score = (
        chart(there, date(2026, 11, 7)) for chart in (overview_charts.shares_chart, overview_charts.score_chart)
    )
    for chart in (shares, score):
        assert chart.rows == [date(2026, 11, n) for n in range(1, 8)]
        assert [value is not None for value in chart.series[0].values] == [True, True, False, False, True, False, False]
        assert "4 days are empty" in chart.summary
    assert overview_charts.shares_chart([], date(2026, 11, 7)).rows == []
    assert overview_charts.shares_chart(there).rows[-1] == date(2026, 11, 5)


def test_an_unusual_day_after_a_gap_is_highlighted() -> None:
    usual = [
        DailyLabels(date(2026, 10, 1) + n * DAY, {"pos": (50 + n % 2, 45.0), "neg": (50 - n % 2, 45.0)})
        for n in range(20)
    ]
    odd = DailyLabels(date(2026, 10, 25), {"pos": (5, 4.5), "neg": (95, 85.0)})
    chart = overview_charts.shares_chart([*usual, odd])
    assert [chart.rows[n] for n in chart.unusual] == [odd.date]


def test_the_table_of_a_chart_shows_a_gap(pages: Pages, warehouse: Warehouse) -> None:
    warehouse.create()
    warehouse.fill(3)
    warehouse.score("scheduled 1")
    date_back(warehouse, 3 * DAY)
    shown = pages().get("/").text
    assert shown.count('data-value=""') >= 2


def date_back(warehouse: Warehouse, by: timedelta) -> None:
    """Move the only run to an earlier time."""
    at = warehouse.shards()[0].started_at - by
    with writing(warehouse.engine).begin() as connection:
        for table in (warehouse.tables.runs, warehouse.tables.shards):
            connection.execute(update(table).values(started_at=at, ended_at=at))
