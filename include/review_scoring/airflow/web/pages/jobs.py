"""The list of jobs: one line for each, those that need attention first."""

from __future__ import annotations

from datetime import UTC, datetime

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from review_scoring.airflow.web import dag_runs
from review_scoring.airflow.web.error_pages import PageRoute
from review_scoring.airflow.web.job_lines import BACK, NEWEST, job_lines
from review_scoring.airflow.web.page import ReadableJobs
from review_scoring.airflow.web.rendering import html
from review_scoring.airflow.web.sparkline import sparkline

router = APIRouter(route_class=PageRoute)


@router.get("/jobs", response_class=HTMLResponse)
def show_jobs(request: Request, jobs: ReadableJobs) -> HTMLResponse:
    """Show the list of the jobs that the user may see."""
    now = datetime.now(UTC)
    dags = dag_runs.dag_states({job.dag_id for job in jobs.values()}, newest=NEWEST)
    lines = job_lines(jobs, dags, request.app.state.databases, now)
    return html(
        "jobs.html",
        page="jobs",
        job="",
        jobs=tuple(jobs),
        lines=[(line, sparkline(line.days, now.date(), BACK.days)) for line in lines],
        now=now,
        back=BACK.days,
    )
