"""Overview page: live counts, the last run, charts of labels, score and speed, and the progress of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from review_scoring.airflow.web import charts, dag_runs, live_counts
from review_scoring.airflow.web.dag_runs import DagState
from review_scoring.airflow.web.failures import PageRoute
from review_scoring.airflow.web.jobs import JobPlace, shown_first
from review_scoring.airflow.web.page import Place, Settings, page
from review_scoring.airflow.web.run_history import overdue, run_lines
from review_scoring.airflow.web.settings import PageSettings
from review_scoring.reviews import help_for
from review_scoring.warehouse.history.daily_labels import DailyLabels, daily_labels
from review_scoring.warehouse.history.runs import Run, last_runs
from review_scoring.warehouse.ledger.leases import RUNNING

router = APIRouter(route_class=PageRoute)

BACK = timedelta(days=120)
"""Days that are charted: a season, with the month that the first band needs."""

CHARTED_RUNS = 90
"""Runs whose throughput is charted."""

LISTED = 10

DAGS = 3
"""DAGs of a job whose runs are looked up in Airflow: a job has one, or was moved to another."""


@router.get("/", response_class=HTMLResponse)
def show_overview(place: Place, settings: Settings) -> HTMLResponse:
    """Show the overview."""
    newest_first = _last_runs(place, CHARTED_RUNS)
    dags = _dags(place, settings, newest_first)
    lines = run_lines(newest_first, dags)
    found = _daily_labels(place)
    ended = [run for run in newest_first[::-1] if run.state != RUNNING and not run.is_rescore]
    today = datetime.now(UTC)
    until = today.date() - timedelta(days=1)  # today may still come
    drawn = [charts.shares_chart(found, until), charts.score_chart(found, until), charts.throughput_chart(ended)]
    return page(
        "overview.html",
        "overview",
        place,
        settings,
        last=lines[0] if lines else None,
        listed=lines[:LISTED],
        overdue=overdue(lines, dags, today),
        has_scored=bool(newest_first),
        charts=[chart for chart in drawn if chart.rows],
        shifts=charts.shifts(found),
        source=place.job.source_table,
    )


@router.get("/live-counts")
def show_live_counts(place: Place) -> Mapping[str, Any]:
    """Return how much waits, is scored and is rejected."""
    found = live_counts.live_counts(place)
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
def show_progress(place: Place) -> Mapping[str, Any]:
    """Return how far the newest run is."""
    newest = _last_runs(place, 1)
    if not newest:
        return {"run": None}
    run = newest[0]
    return {
        "run": run.run_id,
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


def _dags(place: JobPlace, settings: PageSettings, newest_first: Sequence[Run]) -> list[DagState]:
    """Return what Airflow knows of the DAGs that score a job: the deployment's, and those of its last runs.

    The deployment's DAG is about one job alone: of another one, its runs say nothing.
    """
    names = [run.dag_id for run in newest_first if not run.is_rescore]
    if place.job.name == shown_first(dict.fromkeys(place.names)):
        names = [settings.dag_id, *names]
    else:
        names = [name for name in names if name != settings.dag_id]
    found = [dag_runs.dag_state(name) for name in list(dict.fromkeys(names))[:DAGS]]
    return [dag for dag in found if dag is not None]


def _last_runs(place: JobPlace, last: int) -> list[Run]:
    """Return the newest runs; none where the project's tables are not there yet."""
    with place.engine.connect() as connection:
        job = place.record(connection)
        return last_runs(connection, place.owned, job.id, last=last) if job else []


def _daily_labels(place: JobPlace) -> Sequence[DailyLabels]:
    """Return what the days of the last months found."""
    with place.engine.connect() as connection:
        job = place.record(connection)
        return daily_labels(connection, place.owned, job.id, back=BACK) if job else []
