"""Rejects page: the reviews that could not be scored, by reason and one by one, with what to do about them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse

from review_scoring.airflow.web.error_pages import PageRoute
from review_scoring.airflow.web.page import NO_NUL, Selected, page
from review_scoring.reviews import help_for
from review_scoring.warehouse.history.rejects import count_rejects, list_rejects
from review_scoring.warehouse.history.runs import last_runs
from review_scoring.warehouse.schema import RUNNING

router = APIRouter(route_class=PageRoute)

ROWS = 50


@router.get("/rejects", response_class=HTMLResponse)
def show_rejects(
    selected: Selected,
    reason: Annotated[str | None, Query(max_length=50, pattern=NO_NUL)] = None,
    after: Annotated[str | None, Query(max_length=255, pattern=NO_NUL)] = None,
) -> HTMLResponse:
    """Show the rejects of a job by reason, and a page of their list."""
    counts: dict[str, int] = {}
    unkeyed: dict[str, int] = {}
    rows = []
    with selected.open() as (connection, job):
        if job is not None:
            counts = dict(count_rejects(connection, job))
            rows = list(list_rejects(connection, job, reason=reason or None, after=after or None, limit=ROWS + 1))
            ended = (run for run in last_runs(connection, job, limit=2) if run.state != RUNNING)
            unkeyed = dict(next((run.counts.unkeyed for run in ended), {}))
    more = len(rows) > ROWS
    return page(
        "rejects.html",
        "rejects",
        selected,
        reasons=[(name, count, help_for(name)) for name, count in counts.items()],
        unkeyed=[(name, count, help_for(name)) for name, count in sorted(unkeyed.items())],
        rows=rows[:ROWS],
        reason=reason or "",
        after=after or "",
        next_after=rows[ROWS - 1].review_id if more else "",
    )
