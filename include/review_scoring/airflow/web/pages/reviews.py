"""Reviews pages: a search with the least certain reviews first, and one review with its probabilities."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from datetime import date, datetime, time, timedelta
from typing import Annotated, Any, Literal, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from sqlalchemy.exc import DBAPIError

from review_scoring.airflow.web.error_pages import PageRoute, named
from review_scoring.airflow.web.page import NO_NUL, PageSettings, Selected, page
from review_scoring.airflow.web.selected_job import SelectedJob
from review_scoring.errors import ConfigurationError, WarehouseUnavailableError
from review_scoring.models.catalogue import catalogue
from review_scoring.reviews import help_for
from review_scoring.warehouse.history import search
from review_scoring.warehouse.history.rejects import find_reject
from review_scoring.warehouse.history.runs import last_runs
from review_scoring.warehouse.history.texts import review_texts

router = APIRouter(route_class=PageRoute)
log = logging.getLogger(__name__)

Found = TypeVar("Found")
ROWS = 25
FILTER_RUNS = 90
"""Runs whose labels and models the filters offer. A query for the distinct values would read all scores."""


def _empty_is_none(value: object) -> object:
    return None if value == "" else value


Empty = BeforeValidator(_empty_is_none)
ShareField = Annotated[Annotated[float, Field(ge=0, le=1)] | None, Empty]
DateField = Annotated[Annotated[date, Field(ge=date(1970, 1, 1), le=date(9999, 1, 1))] | None, Empty]
NameField = Annotated[Annotated[str, Field(max_length=255, pattern=NO_NUL)] | None, Empty]


class SearchForm(BaseModel):
    """The fields of the search form. Browsers send an empty text for a field that was left empty."""

    model_config = ConfigDict(protected_namespaces=())

    label: NameField = None
    score_from: ShareField = None
    score_to: ShareField = None
    scored_from: DateField = None
    scored_to: DateField = None
    model: NameField = None
    truncated: Annotated[Literal["yes", "no"] | None, Empty] = None
    zone: NameField = None
    after_score: ShareField = None
    after_id: NameField = None
    job: NameField = None

    def search_filter(self) -> search.SearchFilter:
        """Return the filter of the search. Days are days in the viewer's time zone."""
        return search.SearchFilter(
            label=self.label,
            score_from=self.score_from,
            score_to=self.score_to,
            scored_from=_midnight(self.scored_from, self.zone),
            scored_before=_midnight(self.scored_to + timedelta(days=1), self.zone) if self.scored_to else None,
            model=self.model,
            truncated=None if self.truncated is None else self.truncated == "yes",
        )

    def filters(self) -> dict[str, Any]:
        """Return the filters as fields of a form or a query. The time zone is left out if no day is set."""
        values = self.model_dump(exclude={"after_score", "after_id", "job", "zone"}, exclude_none=True, mode="json")
        return {**values, "zone": _zone(self.zone).key} if self.scored_from or self.scored_to else values

    def position(self) -> search.SearchPosition | None:
        """Return the last review on the previous page; None for the first page."""
        if self.after_score is None or self.after_id is None:
            return None
        return search.SearchPosition(self.after_score, self.after_id)


@router.get("/reviews", response_class=HTMLResponse)
def show_reviews(selected: Selected, settings: PageSettings, form: Annotated[SearchForm, Query()]) -> HTMLResponse:
    """Show a page of search results, the least certain reviews first."""
    rows: list[search.ScoredReview] = []
    labels: set[str] = set()
    models: set[str] = set()
    with selected.open() as (connection, job):
        if job is not None:
            rows = search.search(connection, job, matching=form.search_filter(), after=form.position(), limit=ROWS + 1)
            for run in last_runs(connection, job, limit=FILTER_RUNS):
                labels |= set(run.counts.labels)
                models |= {model for model, _ in run.models}
    shown = rows[:ROWS]
    texts, note = _texts(selected, settings, [row.review_id for row in shown])
    filters = form.filters()
    last = shown[-1] if len(rows) > ROWS else None
    return page(
        "reviews.html",
        "reviews",
        selected,
        rows=shown,
        texts=texts,
        note=note,
        form=filters,
        labels=sorted(labels | ({form.label} if form.label else set())),
        models=sorted(models | ({form.model} if form.model else set())),
        has_previous=form.position() is not None,
        next_page={**filters, "after_score": repr(last.score), "after_id": last.review_id} if last else None,
    )


@router.get("/review", response_class=HTMLResponse)
def show_review(
    selected: Selected,
    settings: PageSettings,
    id: Annotated[str, Query(max_length=255, pattern=NO_NUL)],  # noqa: A002 the name of the query field
) -> HTMLResponse:
    """Show the score or the reject of one review, and its text."""
    found, reject, ids = None, None, search.possible_ids(id, "string")
    with selected.open() as (connection, job):
        if job is not None:
            ids = search.possible_ids(id, job.id_type)
            found = _first(search.find_score(connection, job, review_id=each) for each in ids)
            if found is None:
                reject = _first(find_reject(connection, job, review_id=each) for each in ids)
    if (known := found or reject) is not None:
        ids = [known.review_id]
    texts, note = _texts(selected, settings, ids)
    shown = next((each for each in ids if each in texts), ids[0])
    return page(
        "review.html",
        "reviews",
        selected,
        id=shown,
        found=found,
        classes=_classes(found) if found else [],
        reject=reject,
        help=help_for(reject.reason) if reject else None,
        text=texts.get(shown),
        note=note,
    )


def _texts(selected: SelectedJob, settings: PageSettings, ids: Iterable[str]) -> tuple[Mapping[str, str], str]:
    """Return review texts by id with an empty note, or no texts with the reason: scores are useful without them."""
    if settings.hide_texts:
        return {}, "Texts are hidden in this deployment."
    try:
        source = selected.source()
        with source.engine.connect() as connection:
            return review_texts(connection, source, review_ids=ids), ""
    except (DBAPIError, ConfigurationError, WarehouseUnavailableError) as error:
        log.warning("cannot read the texts of job %s: %s", selected.job.name, named(error))
        return {}, "The source of the reviews cannot be read, so their texts are missing."


def _classes(found: search.ScoredReview) -> list[tuple[str, float]]:
    """Return the classes with their probabilities, the most probable first.

    The warehouse stores probabilities in the order of the model's outputs, without class names. Only the class of the
    label is certain, and of two classes the other one too; the rest are numbered.
    """
    entry = catalogue().get(found.model)
    others = sorted(set(entry.labels.values()) - {found.label}) if entry else []
    certain = len(others) == 1 == len(found.probabilities) - 1
    own = max(range(len(found.probabilities)), key=lambda n: found.probabilities[n])
    named = [
        (found.label if n == own else others[0] if certain else f"class {n + 1}", probability)
        for n, probability in enumerate(found.probabilities)
    ]
    return sorted(named, key=lambda each: each[1], reverse=True)


def _first(found: Iterable[Found | None]) -> Found | None:
    return next((each for each in found if each is not None), None)


def _midnight(day: date | None, zone: str | None) -> datetime | None:
    """Return the start of a day in a time zone, also where clocks go forward at midnight."""
    return None if day is None else datetime.combine(day, time(), _zone(zone))


def _zone(name: str | None) -> ZoneInfo:
    """Return the time zone that a browser names; UTC for no name, or one that this system does not know."""
    try:
        return ZoneInfo(name or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError):  # such as a path, or a directory of time zones
        return ZoneInfo("UTC")
