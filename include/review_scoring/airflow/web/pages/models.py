"""Model pages: the catalogue with the champion and the newest evaluations, and one model with all of its own."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Annotated

from fastapi import APIRouter, HTTPException, Query
from fastapi.responses import HTMLResponse
from sqlalchemy.exc import DBAPIError

from review_scoring.airflow.config import settings
from review_scoring.airflow.web import model_charts
from review_scoring.airflow.web.error_pages import PageRoute
from review_scoring.airflow.web.page import Selected, page
from review_scoring.airflow.web.selected_job import SelectedJob
from review_scoring.errors import ModelError
from review_scoring.evaluation.verdicts import ReferenceVerdict
from review_scoring.models.catalogue import readable_entries
from review_scoring.models.catalogue_entry import CatalogueEntry, ModelKind
from review_scoring.models.store import ModelStore
from review_scoring.warehouse.errors import lacks_tables
from review_scoring.warehouse.evaluations.past_evaluations import details, evaluations
from review_scoring.warehouse.evaluations.promotions import StoredPromotion, champion
from review_scoring.warehouse.evaluations.records import EvaluationDetails, StoredEvaluation
from review_scoring.warehouse.schema import tables

log = logging.getLogger(__name__)
router = APIRouter(route_class=PageRoute)


@dataclass(frozen=True)
class ModelLine:
    """A model of the catalogue with its state.

    :param imported: None if the model store is not on this machine
    :param champion: the promoted revision; None for a model that is not the champion
    :param newest: the newest evaluation, preferably on a whole benchmark set
    """

    entry: CatalogueEntry
    imported: bool | None
    champion: str | None
    newest: StoredEvaluation | None

    @property
    def states(self) -> list[str]:
        """The states of the model, the most important first."""
        named = {
            "champion": self.champion is not None,
            "evaluated": self.newest is not None,
            "imported": self.imported is True,
            "not imported": self.imported is False,
            "unverified": self.entry.unverified,
        }
        return [name for name, holds in named.items() if holds]

    @property
    def published(self) -> str | None:
        """The accuracy that the publisher states, in percent, with the digits of the source."""
        metrics = {"accuracy", "eval_accuracy"}
        printed = next((figure.value for figure in self.entry.figures if figure.metric in metrics), None)
        return None if printed is None else _in_percent(printed)

    @property
    def is_of_champion(self) -> bool:
        """Whether the newest evaluation is of the promoted revision. True for a model that is not the champion."""
        return self.champion is None or self.newest is None or self.newest.revision == self.champion

    @property
    def is_comparable(self) -> bool:
        """Whether the published figure was measured on the reviews of the newest evaluation."""
        return self.newest is not None and self.newest.reference_verdict != ReferenceVerdict.NO_REFERENCE


@router.get("/models", response_class=HTMLResponse)
def show_models(selected: Selected) -> HTMLResponse:
    """Show the catalogue."""
    promoted = _champion(selected)
    done = _evaluations(selected)
    lines = [_line(entry, done, promoted) for entry in _catalogue().values()]
    lines.sort(key=lambda line: (line.champion is None, line.newest is None, line.imported is not True))
    return page(
        "models.html",
        "models",
        selected,
        lines=lines,
        promoted=promoted,
        promoted_is_unverified=any(line.champion and line.entry.unverified for line in lines),
        chart=model_charts.accuracy_speed_chart([line.newest for line in lines if line.newest]),
        store_seen=_store().root.is_dir(),
        unusable=[name or "the whole file" for name in _problems()],
    )


@router.get("/model", response_class=HTMLResponse)
def show_model(selected: Selected, name: Annotated[str, Query(max_length=100)]) -> HTMLResponse:
    """Show one model: its newest evaluation in detail, and all evaluations over time."""
    entry = _catalogue().get(name)
    if entry is None and (problem := _problems().get(name)) is not None:
        raise problem
    if entry is None:
        raise HTTPException(404, "The catalogue has no model with this name.")
    done = _evaluations(selected, name)
    line = _line(entry, done, _champion(selected))
    found: EvaluationDetails | None = None
    if line.newest is not None:
        with selected.engine.connect() as connection:
            found = details(connection, tables(selected.job.target_schema), evaluation=line.newest.id)
    same_set = [each for each in reversed(done) if line.newest and each.set_name == line.newest.set_name]
    charts = [model_charts.history_chart([each for each in same_set if each.row_limit is None])]
    if found is not None:
        charts.insert(0, model_charts.reliability_chart(found.metrics))
    return page(
        "model.html",
        "models",
        selected,
        line=line,
        found=found,
        charts=[chart for chart in charts if chart.rows],
        evaluations=done,
        published=_published_by_class(entry) if line.is_comparable else {},
        revisions=_store().revisions(name) if entry.kind is not ModelKind.BUNDLED else [],
    )


def _line(entry: CatalogueEntry, done: Sequence[StoredEvaluation], promoted: StoredPromotion | None) -> ModelLine:
    mine = [each for each in done if each.model == entry.name]
    whole = [each for each in mine if each.row_limit is None]
    store = _store()
    imported: bool | None = True
    if entry.kind is not ModelKind.BUNDLED:
        imported = bool(store.revisions(entry.name)) if store.root.is_dir() else None
    newest = next(iter(whole or mine), None)
    champion_revision = promoted.revision if promoted is not None and promoted.model == entry.name else None
    return ModelLine(entry, imported, champion_revision, newest)


def _champion(selected: SelectedJob) -> StoredPromotion | None:
    with selected.engine.connect() as connection:
        return champion(connection, tables(selected.job.target_schema), job=selected.job.name)


def _in_percent(printed: str) -> str:
    """Return `90.93 %` for `0.9093`, with the same digits. A text that is not a number is returned unchanged."""
    try:
        return f"{Decimal(printed).scaleb(2):f}\N{NO-BREAK SPACE}%"
    except InvalidOperation:
        return printed


def _published_by_class(entry: CatalogueEntry) -> Mapping[str, Mapping[str, str]]:
    """Return class -> metric -> figure, as the publisher states it."""
    found: dict[str, dict[str, str]] = {}
    for figure in entry.figures:
        if figure.label is not None:
            found.setdefault(figure.label, {})[figure.metric] = figure.value
    return found


def _catalogue() -> Mapping[str, CatalogueEntry]:
    return readable_entries(settings().catalogue).usable


def _problems() -> Mapping[str, ModelError]:
    """Return the errors of the invalid entries. They are logged, since they name a file and are not shown."""
    problems = readable_entries(settings().catalogue).problems
    for problem in problems.values():
        log.warning("%s", problem)
    return problems


def _store() -> ModelStore:
    return ModelStore(settings().models.store)


def _evaluations(selected: SelectedJob, name: str | None = None) -> list[StoredEvaluation]:
    """Return the evaluations, of one model or all; none if the tables do not exist yet."""
    try:
        with selected.engine.connect() as connection:
            return evaluations(connection, tables(selected.job.target_schema), model=name)
    except DBAPIError as error:
        if lacks_tables(error):
            return []
        raise
