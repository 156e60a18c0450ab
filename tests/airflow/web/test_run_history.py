"""What became of the runs of a job: of those that wrote nothing, too, and of those that never came."""

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

from review_scoring.airflow.web import charts, dag_runs
from review_scoring.airflow.web.dag_runs import DagRunState, DagState
from review_scoring.airflow.web.run_history import RunLine, overdue, run_lines
from review_scoring.warehouse.engine import writing
from review_scoring.warehouse.history.daily_labels import Day
from review_scoring.warehouse.history.runs import Night, nights
from review_scoring.warehouse.ledger.jobs import find_job
from tests.stubs import Warehouse

Pages = Callable[..., TestClient]
NOW = datetime(2026, 11, 25, 9, tzinfo=UTC)
DUE = datetime(2026, 11, 25, 2, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def night(sqlite_engine: Engine) -> Night:
    """A run that succeeded the night before."""
    warehouse = Warehouse(sqlite_engine)
    warehouse.create()
    warehouse.fill(3)
    warehouse.score("scheduled 1")
    with sqlite_engine.connect() as connection:
        job = find_job(connection, warehouse.owned, "films")
        assert job is not None
        (found,) = nights(connection, warehouse.owned, job.id, last=1)
    return replace(found, started_at=DUE - DAY, ended_at=DUE - DAY + HOUR)


def run(run_id: str, state: str, due: datetime = DUE, *failed: str, scheduled: bool = True) -> DagRunState:
    return DagRunState(
        dag_id="dag",
        run_id=run_id,
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


def test_a_run_that_failed_before_it_scored_is_the_last_one(night: Night) -> None:
    last, before = run_lines([night], [dag(run("scheduled 2", "failed", DUE, "preflight"), FIRST)])
    assert (last.run_id, last.state, last.failed_tasks, last.night) == ("scheduled 2", "failed", ("preflight",), None)
    assert (before.run_id, before.state, before.night) == ("scheduled 1", "success", night)


def test_shards_that_succeeded_do_not_make_a_run_that_failed_in_its_sum_a_success(night: Night) -> None:
    (line,) = run_lines([night], [dag(run("scheduled 1", "failed", DUE - DAY, "summarise"))])
    assert (night.state, line.state, line.failed_tasks) == ("success", "failed", ("summarise",))


@pytest.mark.parametrize("state", ["running", "queued"])
def test_a_run_whose_other_shards_are_still_to_come_is_no_success_yet(night: Night, state: str) -> None:
    (line,) = run_lines([night], [dag(run("scheduled 1", state, DUE - DAY))])
    assert line.state == "running"


def test_a_dry_run_is_not_listed_and_a_run_that_has_not_begun_to_score_is(night: Night) -> None:
    lines = run_lines([night], [dag(run("manual", "success", DUE), run("scheduled 2", "queued", DUE + HOUR), FIRST)])
    assert [(line.run_id, line.state) for line in lines] == [("scheduled 2", "queued"), ("scheduled 1", "success")]


def test_without_airflow_the_warehouse_is_shown_alone(night: Night) -> None:
    assert [line.state for line in run_lines([night], [])] == ["success"]
    assert overdue(run_lines([night], []), [], NOW) is None


def late(night: Night | None, state: DagState, now: datetime = NOW) -> tuple[datetime, str] | None:
    """Return when the run was due that the overview misses, and why it says it is missing."""
    found = overdue(run_lines([night] if night else [], [state]), [state], now)
    assert found is None or found.succeeded_at == (night.started_at if night else None)
    return None if found is None else (found.due_at, found.why)


def test_a_night_that_failed_makes_the_last_success_too_old(night: Night) -> None:
    failed = dag(run("scheduled 2", "failed", DUE, "preflight"), FIRST)
    assert late(night, failed) == (DUE, "The newest one failed in preflight.")


def test_a_night_that_never_came_is_missed(night: Night) -> None:
    state = dag(FIRST, next_due_at=DUE)
    due, why = late(night, state) or (None, "")
    assert due == DUE
    assert "No run has come since" in why
    assert late(night, replace(state, is_paused=True)) == (DUE, "The DAG is paused.")
    assert late(night, replace(state, has_import_errors=True)) == (DUE, "The file of the DAG has an import error.")


def test_a_run_that_waits_in_a_queue_is_missed_and_one_that_works_is_not(night: Night) -> None:
    assert late(night, dag(run("scheduled 2", "queued"), FIRST)) == (DUE, "The newest one is queued.")
    assert late(night, dag(run("scheduled 2", "running"), FIRST)) is None


def test_nothing_is_missed_when_all_is_well(night: Night) -> None:
    tonight = replace(night, run_id="scheduled 2", started_at=DUE + HOUR)
    state = dag(run("scheduled 2", "success"), FIRST)
    assert overdue(run_lines([tonight, night], [state]), [state], NOW) is None
    assert late(night, dag(FIRST, next_due_at=DUE), DUE + timedelta(minutes=5)) is None, "a scheduler takes its time"
    assert late(night, dag(next_due_at=None)) is None, "a DAG without a schedule"
    by_hand = replace(tonight, run_id="manual")
    state = dag(run("manual", "success", scheduled=False), run("scheduled 2", "failed", DUE, "preflight"), FIRST)
    assert overdue(run_lines([by_hand, night], [state]), [state], NOW) is None, "somebody has run it since"


def test_a_job_that_another_dag_scores_by_now_is_not_missed_by_the_paused_one(night: Night) -> None:
    tonight = replace(night, dag_id="mine", run_id="scheduled 2", started_at=DUE + HOUR)
    paused = dag(FIRST, is_paused=True, next_due_at=DUE)
    assert overdue(run_lines([tonight, night], [paused]), [paused], NOW) is None


def test_a_job_that_never_succeeded_is_told_so() -> None:
    state = dag(run("scheduled 1", "failed", DUE, "preflight"))
    assert late(None, state) == (DUE, "The newest one failed in preflight.")
    lines = [RunLine("dag", "scheduled 1", "failed", DUE, ("preflight",), None)]
    found = overdue(lines, [state], NOW)
    assert found is not None
    assert found.succeeded_at is None


def test_the_overview_tells_a_night_that_failed_in_preflight(
    pages: Pages, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse.create()
    warehouse.fill(3)
    warehouse.score("scheduled 1")
    date_back(warehouse, 2 * DAY)
    client = pages()
    state = dag(run("scheduled 2", "failed", datetime.now(UTC) - HOUR, "preflight"))
    monkeypatch.setattr(dag_runs, "dag_state", lambda dag_id: state if dag_id == "dag" else None)
    shown = client.get("/").text
    assert re.search(r'<dt>Last run</dt>\s*<dd><span class="state state-failed">failed</span>', shown)
    assert "It failed in <code>preflight</code> before anything was scored." in shown
    assert '<a href="../dags/dag/runs/scheduled%202" data-airflow>' in shown
    assert "A run is overdue" in shown


def test_runs_of_the_deployments_dag_are_not_told_of_another_job(
    pages: Pages, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse.create()
    job = {"source_conn_id": "reviews", "source_table": "reviews", "text_column": "body"}
    monkeypatch.setenv("AIRFLOW_VAR_REVIEW_SCORING_JOBS", json.dumps({"books": job, "films": job}))
    client = pages()
    states = {"score_reviews": dag(run("scheduled 1", "failed", DUE, "preflight"))}
    monkeypatch.setattr(dag_runs, "dag_state", states.get)
    assert "It failed in" in client.get("/?job=books").text
    assert "It failed in" not in client.get("/?job=films").text


def test_days_without_a_run_are_gaps_in_the_charts_up_to_yesterday() -> None:
    there = [Day(date(2026, 11, n), {"pos": (40, 36.0), "neg": (10, 7.0)}) for n in (1, 2, 5)]
    shares, score = (chart(there, date(2026, 11, 7)) for chart in (charts.shares_chart, charts.score_chart))
    for chart in (shares, score):
        assert chart.rows == [date(2026, 11, n) for n in range(1, 8)]
        assert [value is not None for value in chart.series[0].values] == [True, True, False, False, True, False, False]
        assert "4 days are empty" in chart.summary
    assert charts.shares_chart([], date(2026, 11, 7)).rows == []
    assert charts.shares_chart(there).rows[-1] == date(2026, 11, 5)


def test_what_is_unusual_is_marked_on_its_own_day_behind_a_gap() -> None:
    usual = [
        Day(date(2026, 10, 1) + n * DAY, {"pos": (50 + n % 2, 45.0), "neg": (50 - n % 2, 45.0)}) for n in range(20)
    ]
    odd = Day(date(2026, 10, 25), {"pos": (5, 4.5), "neg": (95, 85.0)})
    chart = charts.shares_chart([*usual, odd])
    assert [chart.rows[n] for n in chart.unusual] == [odd.date]


def test_the_table_of_a_chart_shows_a_gap(pages: Pages, warehouse: Warehouse) -> None:
    warehouse.create()
    warehouse.fill(3)
    warehouse.score("scheduled 1")
    date_back(warehouse, 3 * DAY)
    shown = pages().get("/").text
    assert shown.count('data-value=""') >= 2


def date_back(warehouse: Warehouse, by: timedelta) -> None:
    """Let the only run have been so much earlier."""
    at = warehouse.runs()[0].started_at - by
    with writing(warehouse.engine).begin() as connection:
        connection.execute(update(warehouse.owned.runs).values(started_at=at, ended_at=at))
