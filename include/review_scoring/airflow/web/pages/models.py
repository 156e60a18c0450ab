"""The models that can be chosen: which are there, which is in use, and how good each was found to be."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Annotated

from fastapi import APIRouter, HTTPException, Query
from fastapi.responses import HTMLResponse
from sqlalchemy.exc import DBAPIError

from review_scoring.airflow.model_settings import model_settings
from review_scoring.airflow.web import model_charts
from review_scoring.airflow.web.failures import PageRoute
from review_scoring.airflow.web.jobs import JobPlace
from review_scoring.airflow.web.page import Place, Settings, page
from review_scoring.errors import ModelError
from review_scoring.evaluation.verdicts import ReferenceVerdict
from review_scoring.models.catalogue import readable_entries
from review_scoring.models.catalogue_entry import CatalogueEntry, ModelKind
from review_scoring.models.store import ModelStore
from review_scoring.warehouse.errors import lacks_tables
from review_scoring.warehouse.evaluations.past_evaluations import details, evaluations
from review_scoring.warehouse.evaluations.promotions import StoredPromotion, champion
from review_scoring.warehouse.evaluations.records import EvaluationDetails, StoredEvaluation

log = logging.getLogger(__name__)
router = APIRouter(route_class=PageRoute)


@dataclass(frozen=True)
class ModelLine:
    """A model of the catalogue with what is known of it; `imported` is None where the store cannot be seen.

    :param champion: the revision that was promoted; None for a model that is not the champion
    """

    entry: CatalogueEntry
    imported: bool | None
    champion: str | None
    newest: StoredEvaluation | None

    @property
    def states(self) -> list[str]:
        """What the model is, for a reader: the most telling first."""
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
        """The accuracy that the publisher states, in percent, with the digits that were printed."""
        metrics = {"accuracy", "eval_accuracy"}
        printed = next((figure.value for figure in self.entry.figures if figure.metric in metrics), None)
        return None if printed is None else _in_percent(printed)

    @property
    def is_of_champion(self) -> bool:
        """Whether the newest evaluation may be read as the champion's: of its revision, or no champion's at all."""
        return self.champion is None or self.newest is None or self.newest.revision == self.champion

    @property
    def is_comparable(self) -> bool:
        """Whether what is published was measured on the reviews of the newest evaluation."""
        return self.newest is not None and self.newest.reference_verdict != ReferenceVerdict.NO_REFERENCE


@router.get("/models", response_class=HTMLResponse)
def models(place: Place, settings: Settings) -> HTMLResponse:
    """Show the catalogue."""
    promoted = _champion(place)
    done = _evaluations(place)
    lines = [_line(entry, done, promoted) for entry in _catalogue().values()]
    lines.sort(key=lambda line: (line.champion is None, line.newest is None, line.imported is not True))
    return page(
        "models.html",
        "models",
        place,
        settings,
        lines=lines,
        promoted=promoted,
        promoted_is_unverified=any(line.champion and line.entry.unverified for line in lines),
        chart=model_charts.speed_chart([line.newest for line in lines if line.newest]),
        store_seen=_store().root.is_dir(),
        unusable=[name or "the whole file" for name in _problems()],
    )


@router.get("/model", response_class=HTMLResponse)
def model(place: Place, settings: Settings, name: Annotated[str, Query(max_length=100)]) -> HTMLResponse:
    """Show one model: its newest evaluation in full, and how it went over time."""
    entry = _catalogue().get(name)
    if entry is None and (problem := _problems().get(name)) is not None:
        raise problem
    if entry is None:
        raise HTTPException(404, "The catalogue has no model of this name.")
    done = _evaluations(place, name)
    line = _line(entry, done, _champion(place))
    found: EvaluationDetails | None = None
    if line.newest is not None:
        with place.engine.connect() as connection:
            found = details(connection, place.owned, evaluation=line.newest.id)
    same_set = [each for each in reversed(done) if line.newest and each.set_name == line.newest.set_name]
    charts = [model_charts.history_chart([each for each in same_set if each.row_limit is None])]
    if found is not None:
        charts.insert(0, model_charts.reliability_chart(found.metrics))
    return page(
        "model.html",
        "models",
        place,
        settings,
        line=line,
        found=found,
        charts=[chart for chart in charts if chart.rows],
        done=done,
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


def _champion(place: JobPlace) -> StoredPromotion | None:
    with place.engine.connect() as connection:
        return champion(connection, place.owned, job=place.job.name)


def _in_percent(printed: str) -> str:
    """Return `90.93 %` for `0.9093`, with as many digits; what is no share as it is."""
    try:
        return f"{Decimal(printed).scaleb(2):f}\N{NO-BREAK SPACE}%"
    except InvalidOperation:
        return printed


def _published_by_class(entry: CatalogueEntry) -> Mapping[str, Mapping[str, str]]:
    """Return class -> metric -> what the publisher printed."""
    found: dict[str, dict[str, str]] = {}
    for figure in entry.figures:
        if figure.label is not None:
            found.setdefault(figure.label, {})[figure.metric] = figure.value
    return found


def _catalogue() -> Mapping[str, CatalogueEntry]:
    return readable_entries(model_settings().catalogue).usable


def _problems() -> Mapping[str, ModelError]:
    """Return what is wrong with the other entries of the catalogue; it names a file, and so is for the log."""
    problems = readable_entries(model_settings().catalogue).problems
    for problem in problems.values():
        log.warning("%s", problem)
    return problems


def _store() -> ModelStore:
    return ModelStore(model_settings().store)


def _evaluations(place: JobPlace, name: str | None = None) -> list[StoredEvaluation]:
    """Return the evaluations; none where the tables are not there yet."""
    try:
        with place.engine.connect() as connection:
            return evaluations(connection, place.owned, model=name)
    except DBAPIError as error:
        if lacks_tables(error):
            return []
        raise
