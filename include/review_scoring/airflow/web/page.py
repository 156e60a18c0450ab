"""Dependencies of every page: the selected job, the settings, and the frame in which a page is rendered."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Query, Request
from fastapi.responses import HTMLResponse

from review_scoring.airflow.web.rendering import html
from review_scoring.airflow.web.selected_job import SelectedJob, select_job
from review_scoring.settings import Settings

NO_NUL = r"^[^\x00]*$"
"""Pattern of query fields that are compared with columns. PostgreSQL fails on the character NUL."""


def settings_of(request: Request) -> Settings:
    """Return the settings of the app."""
    settings: Settings = request.app.state.settings
    return settings


PageSettings = Annotated[Settings, Depends(settings_of)]


def selected_job(request: Request, job: Annotated[str | None, Query(max_length=200)] = None) -> SelectedJob:
    """Return the job that the query names, or the default job."""
    return select_job(request.app.state.databases, job or None)


Selected = Annotated[SelectedJob, Depends(selected_job)]


def page(template: str, name: str, selected: SelectedJob, settings: Settings, **values: Any) -> HTMLResponse:
    """Render a page of a job.

    :param name: the current entry of the navigation
    """
    return html(template, page=name, job=selected.job.name, jobs=selected.names, dag_id=settings.page_dag, **values)
