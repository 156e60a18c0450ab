"""One DAG run: what it did, and where Airflow has its logs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query
from fastapi.responses import HTMLResponse

from review_scoring.airflow.web.failures import PageRoute
from review_scoring.airflow.web.page import NO_NUL, Selected, Settings, page
from review_scoring.reviews import help_for
from review_scoring.run.report import paragraph
from review_scoring.warehouse.history.runs import Run, find_run
from review_scoring.warehouse.ledger.leases import RUNNING

router = APIRouter(route_class=PageRoute)


@router.get("/run", response_class=HTMLResponse)
def show_run(
    selected: Selected,
    settings: Settings,
    dag_id: Annotated[str, Query(max_length=250, pattern=NO_NUL)],
    run_id: Annotated[str, Query(max_length=250, pattern=NO_NUL)],
) -> HTMLResponse:
    """Show one run of a job."""
    with selected.open() as (connection, job):
        run = find_run(connection, job, dag_id=dag_id, run_id=run_id) if job else None
    if run is None:
        raise HTTPException(404, "This run wrote nothing: a dry run does not, nor does one that failed early.")
    unkeyed = [(reason, count, help_for(reason)) for reason, count in sorted(run.counts.unkeyed.items())]
    told = "" if run.state == RUNNING else paragraph(_summary(run, selected.job.name))
    return page("run.html", "", selected, settings, run=run, unkeyed=unkeyed, told=told)


def _summary(run: Run, job: str) -> Mapping[str, Any]:
    """Return a run in the form of what a scoring task returns."""
    counts = run.counts
    return {
        "job": job,
        "read": counts.read,
        "scored": counts.scored,
        "unchanged": counts.unchanged,
        "rejected": counts.rejected,
        "labels": {label: count for label, (count, _) in counts.labels.items()},
        "model": ", ".join(model for model, _ in run.models),
        "device": ", ".join(run.devices),
        "seconds": run.seconds,
        "reviews_per_second": run.reviews_per_second,
    }
