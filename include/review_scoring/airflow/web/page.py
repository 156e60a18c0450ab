"""Dependencies of every page: the selected job, the settings, and the frame in which a page is rendered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Depends, HTTPException, Query, Request
from fastapi.responses import HTMLResponse

from review_scoring.airflow.jobs import no_jobs, score_dag_id
from review_scoring.airflow.web.access import Readable
from review_scoring.airflow.web.known_jobs import KnownJob
from review_scoring.airflow.web.rendering import html
from review_scoring.airflow.web.selected_job import SelectedJob
from review_scoring.errors import NoSuchJobError
from review_scoring.settings import Settings

NO_NUL = r"^[^\x00]*$"
"""Pattern of query fields that are compared with columns. PostgreSQL fails on the character NUL."""


def settings_of(request: Request) -> Settings:
    """Return the settings of the app."""
    settings: Settings = request.app.state.settings
    return settings


PageSettings = Annotated[Settings, Depends(settings_of)]


AskedJob = Annotated[str | None, Query(alias="job", max_length=200)]


def readable_jobs(request: Request, readable: Readable, job: AskedJob = None) -> Mapping[str, KnownJob]:
    """Return the jobs that the user may see, by name.

    :raises HTTPException: 403 if the user may not read the DAG of the job that the query names, whether it exists or
        not; without a name, if the user may read no DAG of a job
    :raises NoSuchJobError: if no job is defined, or none of this name
    """
    known: Mapping[str, KnownJob] = request.app.state.known_jobs.all()
    readable_ids = readable({*(each.dag_id for each in known.values()), *([score_dag_id(job)] if job else [])})
    found = {name: each for name, each in known.items() if each.dag_id in readable_ids}
    request.state.jobs = tuple(found)  # for the navigation of an error page
    if job and job not in found and (job in known or score_dag_id(job) not in readable_ids):
        raise HTTPException(403)
    if not known:
        raise NoSuchJobError(no_jobs())
    if not found:
        raise HTTPException(403)
    if job and job not in known:
        raise NoSuchJobError(f"there is no scoring job {job!r}; there are {', '.join(found)}")
    return found


ReadableJobs = Annotated[Mapping[str, KnownJob], Depends(readable_jobs)]


def selected_job(request: Request, readable: Readable, jobs: ReadableJobs, job: AskedJob = None) -> SelectedJob:
    """Return the job that the query names, or the first one that the user may see."""
    return SelectedJob(jobs[job or next(iter(jobs))], tuple(jobs), request.app.state.databases, readable)


Selected = Annotated[SelectedJob, Depends(selected_job)]


def page(template: str, name: str, selected: SelectedJob, **values: Any) -> HTMLResponse:
    """Render a page of a job.

    :param name: the current entry of the navigation
    """
    return html(template, page=name, job=selected.job.name, jobs=selected.names, dag_id=selected.dag_id, **values)
