"""Search in the scored reviews: one by id, or by label, score, time and model with the least certain first."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, select, tuple_

from review_scoring.reviews import canonical_id
from review_scoring.warehouse.ledger.jobs import JobRecord
from review_scoring.warehouse.source.rows import parse_id


@dataclass(frozen=True)
class ScoredReview:
    """A row of `review_scores`."""

    review_id: str
    label: str
    score: float
    probabilities: tuple[float, ...]
    model: str
    revision: str
    token_count: int
    truncated: bool
    scored_at: datetime
    shard_id: int


@dataclass(frozen=True)
class SearchPosition:
    """The last review on a page of search results. The next page starts after it (keyset pagination)."""

    score: float
    review_id: str


@dataclass(frozen=True, kw_only=True)
class SearchFilter:
    """The reviews that a search returns. None matches any value.

    :param score_from: the lowest score, inclusive
    :param score_to: the highest score, inclusive
    :param scored_from: the earliest time of scoring, inclusive (aware)
    :param scored_before: the latest time of scoring, exclusive (aware)
    """

    label: str | None = None
    score_from: float | None = None
    score_to: float | None = None
    scored_from: datetime | None = None
    scored_before: datetime | None = None
    model: str | None = None
    truncated: bool | None = None


def search(
    connection: Connection, job: JobRecord, *, matching: SearchFilter, after: SearchPosition | None, limit: int
) -> list[ScoredReview]:
    """Return the reviews that match a filter, the lowest scores first.

    The keys are found in one index, in its order; only the rows of the page are fetched.
    """
    scores, models = job.tables.scores, job.tables.models
    where = [scores.c.job_id == job.id]
    if matching.label is not None:
        where.append(scores.c.label == matching.label)
    if matching.model is not None:
        revisions = connection.scalars(select(models.c.id).where(models.c.name == matching.model)).all()
        where.append(scores.c.model_id.in_(revisions))
    if matching.truncated is not None:
        where.append(scores.c.truncated.is_(matching.truncated))
    if matching.score_from is not None:
        where.append(scores.c.score >= matching.score_from)
    if matching.score_to is not None:
        where.append(scores.c.score <= matching.score_to)
    if matching.scored_from is not None:
        where.append(scores.c.scored_at >= matching.scored_from)
    if matching.scored_before is not None:
        where.append(scores.c.scored_at < matching.scored_before)
    if after is not None:
        where.append(tuple_(scores.c.score, scores.c.review_id) > tuple_(after.score, after.review_id))
        where.append(scores.c.score >= after.score)  # redundant, but MySQL makes no range scan of a row comparison
    order = (scores.c.score, scores.c.review_id)
    keys = select(*order).where(*where).order_by(*order).limit(limit).subquery("keys")
    found = _with_models(job).join(keys, and_(scores.c.job_id == job.id, scores.c.review_id == keys.c.review_id))
    return [_scored(row) for row in connection.execute(found.order_by(keys.c.score, keys.c.review_id))]


def find_score(connection: Connection, job: JobRecord, *, review_id: str) -> ScoredReview | None:
    """Return a review's score, or None for a review that has none."""
    scores = job.tables.scores
    statement = _with_models(job).where(scores.c.job_id == job.id, scores.c.review_id == review_id)
    row = connection.execute(statement).one_or_none()
    return None if row is None else _scored(row)


def possible_ids(entered: str, id_type: str) -> Sequence[str]:
    """Return the canonical ids that a user may mean: `007` is 7 if ids are integers, and UUIDs are lower case.

    Blanks around a string may be part of the id or a copying error: the id as entered comes first, then the stripped
    one.
    """
    stripped = entered.strip()
    try:
        meant = canonical_id(parse_id(stripped, id_type)) or entered
    except ValueError:
        return [entered]
    return list(dict.fromkeys([entered, meant])) if id_type == "string" else [meant]


def _with_models(job: JobRecord) -> Select[Any]:
    scores, models = job.tables.scores, job.tables.models
    return select(scores, models.c.name.label("model"), models.c.revision).join(
        models, models.c.id == scores.c.model_id
    )


def _scored(row: Row[Any]) -> ScoredReview:
    values = {name: getattr(row, name) for name in ScoredReview.__dataclass_fields__}
    return ScoredReview(**{**values, "probabilities": tuple(json.loads(row.probabilities))})
