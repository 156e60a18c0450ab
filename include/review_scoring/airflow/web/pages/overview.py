"""How the nights go: what waits, the last run, labels and speed over time; and the figures while a run goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from review_scoring.airflow.web import charts, dag_runs
from review_scoring.airflow.web import live_counts as now
from review_scoring.airflow.web.dag_runs import DagState
from review_scoring.airflow.web.failures import PageRoute
from review_scoring.airflow.web.jobs import JobPlace, shown_first
from review_scoring.airflow.web.page import Place, Settings, page
from review_scoring.airflow.web.run_history import overdue, run_lines
from review_scoring.airflow.web.settings import PageSettings
from review_scoring.reviews import help_for
from review_scoring.warehouse.history.daily_labels import Day, days
from review_scoring.warehouse.history.runs import Night, nights
from review_scoring.warehouse.ledger.leases import RUNNING

router = APIRouter(route_class=PageRoute)

BACK = timedelta(days=120)
"""Days that are charted: a season, with the month that the first band needs."""

NIGHTS = 90
"""Runs whose throughput is charted."""

LISTED = 10

DAGS = 3
"""DAGs of a job whose runs are looked up in Airflow: a job has one, or was moved to another."""


@router.get("/", response_class=HTMLResponse)
def overview(place: Place, settings: Settings) -> HTMLResponse:
    """Show the overview."""
    newest_first = _nights(place, NIGHTS)
    dags = _dags(place, settings, newest_first)
    lines = run_lines(newest_first, dags)
    found = _days(place)
    ended = [night for night in newest_first[::-1] if night.state != RUNNING and not night.is_rescore]
    today = datetime.now(UTC)
    until = today.date() - timedelta(days=1)  # today may still come
    drawn = [charts.shares_chart(found, until), charts.score_chart(found, until), charts.speed_chart(ended)]
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


@router.get("/now")
def figures_now(place: Place) -> Mapping[str, Any]:
    """Return how much waits, is scored and is rejected."""
    found = now.figures(place)
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
def progress(place: Place) -> Mapping[str, Any]:
    """Return how far the newest run is."""
    newest = _nights(place, 1)
    if not newest:
        return {"run": None}
    night = newest[0]
    return {
        "run": night.run_id,
        "state": night.state,
        "running": night.state == RUNNING,
        "begun": night.has_begun,
        "read": night.counts.read,
        "scored": night.counts.scored,
        "rejected": night.counts.rejected,
        "seconds": round(night.seconds, 1),
        "reviews_per_second": round(night.reviews_per_second, 1),
        "devices": list(night.devices),
        "shards": night.shards,
        "shards_done": night.shards_done,
    }


def _dags(place: JobPlace, settings: PageSettings, newest_first: Sequence[Night]) -> list[DagState]:
    """Return what Airflow knows of the DAGs that score a job: the deployment's, and those of its last runs.

    The deployment's DAG is about one job alone: of another one, its runs say nothing.
    """
    names = [night.dag_id for night in newest_first if not night.is_rescore]
    if place.job.name == shown_first(dict.fromkeys(place.names)):
        names = [settings.dag_id, *names]
    else:
        names = [name for name in names if name != settings.dag_id]
    found = [dag_runs.dag_state(name) for name in list(dict.fromkeys(names))[:DAGS]]
    return [dag for dag in found if dag is not None]


def _nights(place: JobPlace, last: int) -> list[Night]:
    """Return the newest nights; none where the project's tables are not there yet."""
    with place.engine.connect() as connection:
        job = place.record(connection)
        return nights(connection, place.owned, job.id, last=last) if job else []


def _days(place: JobPlace) -> Sequence[Day]:
    """Return what the days of the last months found."""
    with place.engine.connect() as connection:
        job = place.record(connection)
        return days(connection, place.owned, job.id, back=BACK) if job else []
