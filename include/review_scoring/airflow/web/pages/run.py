"""One DAG run: what it did, and where Airflow has its logs."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, HTTPException, Query
from fastapi.responses import HTMLResponse

from review_scoring.airflow.web.failures import PageRoute
from review_scoring.airflow.web.page import NO_NUL, Place, Settings, page
from review_scoring.reviews import help_for
from review_scoring.run.report import RunReport
from review_scoring.warehouse.history.runs import Night, night_of
from review_scoring.warehouse.ledger.leases import RUNNING

router = APIRouter(route_class=PageRoute)


@router.get("/run", response_class=HTMLResponse)
def run(
    place: Place,
    settings: Settings,
    dag_id: Annotated[str, Query(max_length=250, pattern=NO_NUL)],
    run_id: Annotated[str, Query(max_length=250, pattern=NO_NUL)],
) -> HTMLResponse:
    """Show one run of a job."""
    with place.engine.connect() as connection:
        job = place.record(connection)
        night = night_of(connection, place.owned, job.id, dag_id, run_id) if job else None
    if night is None:
        raise HTTPException(404, "This run wrote nothing: a dry run does not, nor does one that failed early.")
    unkeyed = [(reason, count, help_for(reason)) for reason, count in sorted(night.counts.unkeyed.items())]
    told = "" if night.state == RUNNING else _report(night, place.job.name).paragraph
    return page("run.html", "", place, settings, night=night, unkeyed=unkeyed, told=told)


def _report(night: Night, job: str) -> RunReport:
    """Return a run in the form in which its last task reports it."""
    return RunReport(
        job=job,
        counts=night.counts,
        model=", ".join(model for model, _ in night.models),
        revision=", ".join(revision for _, revision in night.models),
        device=", ".join(night.devices),
        seconds=night.seconds,
        reviews_per_second=night.reviews_per_second,
        shards=night.shards,
    )
