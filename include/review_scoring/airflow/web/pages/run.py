"""Run page: counts, labels and duration of one DAG run, with a link to its logs in Airflow."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, HTTPException, Query
from fastapi.responses import HTMLResponse

from review_scoring.airflow.web.error_pages import PageRoute
from review_scoring.airflow.web.page import NO_NUL, Selected, page
from review_scoring.reviews import help_for
from review_scoring.run.report import RunReport
from review_scoring.warehouse.history.runs import Run, find_run
from review_scoring.warehouse.schema import RUNNING

router = APIRouter(route_class=PageRoute)


@router.get("/run", response_class=HTMLResponse)
def show_run(
    selected: Selected,
    dag_id: Annotated[str, Query(max_length=250, pattern=NO_NUL)],
    run_id: Annotated[str, Query(max_length=250, pattern=NO_NUL)],
) -> HTMLResponse:
    """Show one run of a job."""
    with selected.open() as (connection, job):
        run = find_run(connection, job, dag_id=dag_id, dag_run_id=run_id) if job else None
    if run is None:
        raise HTTPException(
            404,
            "No record of this run: it wrote nothing, like every dry run and every run that fails early, or its record "
            "was removed after keep_runs_days.",
        )
    unkeyed = [(reason, count, help_for(reason)) for reason, count in sorted(run.counts.unkeyed.items())]
    summary = "" if run.state == RUNNING else _report(run, selected.job.name).paragraph
    return page("run.html", "", selected, run=run, unkeyed=unkeyed, summary=summary)


def _report(run: Run, job: str) -> RunReport:
    """Return the report of a run, as its last task returns it."""
    return RunReport(
        job=job,
        counts=run.counts,
        model=", ".join(model for model, _ in run.models),
        revision=", ".join(revision for _, revision in run.models),
        device=", ".join(run.devices),
        seconds=run.seconds,
        reviews_per_second=run.reviews_per_second,
        shards=run.shards,
    )
