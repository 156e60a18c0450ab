"""Overview page: live counts, the last run, charts of labels, score and speed, and the progress of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from review_scoring.airflow.web import dag_runs, overview_charts
from review_scoring.airflow.web.dag_runs import DagState
from review_scoring.airflow.web.error_pages import PageRoute
from review_scoring.airflow.web.live_counts import LiveCountsCache
from review_scoring.airflow.web.page import ReadableJobs, Selected, page
from review_scoring.airflow.web.pages.jobs import show_jobs
from review_scoring.airflow.web.run_history import overdue, run_lines
from review_scoring.airflow.web.selected_job import SelectedJob
from review_scoring.reviews import help_for
from review_scoring.warehouse.history.daily_labels import daily_labels
from review_scoring.warehouse.history.runs import Run, last_runs
from review_scoring.warehouse.schema import RUNNING

router = APIRouter(route_class=PageRoute)

BACK = timedelta(days=120)
"""How far the charts go back: three months, and the month that the first control limits need."""

CHARTED_RUNS = 90
"""The number of runs in the throughput chart."""

LISTED = 10
"""The number of runs in the list."""

DAGS = 3
"""The most DAGs whose runs are read from Airflow. A job has one DAG, unless others score it too."""


@router.get("/", response_class=HTMLResponse)
def show_start(request: Request, jobs: ReadableJobs, selected: Selected) -> HTMLResponse:
    """Show the overview of a job, or the list of jobs if the query names none of several."""
    if len(jobs) > 1 and not request.query_params.get("job"):
        return show_jobs(request, jobs)
    return show_overview(selected)


def show_overview(selected: SelectedJob) -> HTMLResponse:
    """Show the overview of a job."""
    with selected.open() as (connection, job):
        newest_first = last_runs(connection, job, limit=CHARTED_RUNS) if job else []
        days = daily_labels(connection, job, back=BACK) if job else []
    dags = _dags(selected, newest_first)
    lines = run_lines(newest_first, dags)
    ended = [run for run in newest_first[::-1] if run.state != RUNNING and not run.is_rescore]
    today = datetime.now(UTC)
    until = today.date() - timedelta(days=1)  # today's run may still come
    drawn = [
        overview_charts.shares_chart(days, until),
        overview_charts.score_chart(days, until),
        overview_charts.throughput_chart(ended),
    ]
    return page(
        "overview.html",
        "overview",
        selected,
        last=lines[0] if lines else None,
        listed=lines[:LISTED],
        overdue=overdue(lines, dags, today),
        has_scored=bool(newest_first),
        charts=[chart for chart in drawn if chart.rows],
        unusual=overview_charts.unusual_values(days),
        source=selected.job.source_table,
    )


@router.get("/live-counts")
def show_live_counts(request: Request, selected: Selected) -> Mapping[str, Any]:
    """Return the live counts: how many reviews are waiting, scored and rejected."""
    cache: LiveCountsCache = request.app.state.live_counts
    found = cache.get(selected)
    return {
        "waiting": found.waiting,
        "note": found.note,
        "total": found.total,
        "scored": found.scored,
        "rejected": found.rejected,
        "rejects": [{"reason": r, "count": n, "review": help_for(r).review} for r, n in found.rejects.items()],
        "counted_at": found.counted_at.isoformat(),
    }


@router.get("/progress")
def show_progress(selected: Selected) -> Mapping[str, Any]:
    """Return the progress of the newest run."""
    with selected.open() as (connection, job):
        newest = last_runs(connection, job, limit=1) if job else []
    if not newest:
        return {"run": None}
    run = newest[0]
    return {
        "run": run.dag_run_id,
        "state": run.state,
        "running": run.state == RUNNING,
        "begun": run.has_begun,
        "read": run.counts.read,
        "scored": run.counts.scored,
        "rejected": run.counts.rejected,
        "seconds": round(run.seconds, 1),
        "reviews_per_second": round(run.reviews_per_second, 1),
        "devices": list(run.devices),
        "shards": run.shards,
        "shards_done": run.shards_done,
    }


def _dags(selected: SelectedJob, newest_first: Sequence[Run]) -> list[DagState]:
    """Return the DAGs that score a job, as far as the user may read them: its own, and those of its last runs."""
    names = list(dict.fromkeys([selected.dag_id, *(run.dag_id for run in newest_first if not run.is_rescore)]))[:DAGS]
    states = dag_runs.dag_states(selected.readable(names))
    return [states[name] for name in names if name in states]
