"""Finding scored reviews: one by its id, or the least certain first among those that meet some conditions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Numeric, Row, and_, select, tuple_

from review_scoring.reviews import canonical_id
from review_scoring.warehouse.dialects import dialect_of
from review_scoring.warehouse.history.live_counts import RejectRow
from review_scoring.warehouse.schema import Tables
from review_scoring.warehouse.source.review_source import ReviewSource
from review_scoring.warehouse.source.rows import parse_id

INTEGER_BITS = 64
"""An integer column has no more, sign included, and drivers refuse to compare it with what has."""


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
    run_id: int


@dataclass(frozen=True)
class Place:
    """Where a page of reviews ended: the next one goes on behind it."""

    score: float
    review_id: str


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """Which reviews are wanted; None for any.

    :param scored_from: scored at this moment or later (aware)
    :param scored_before: scored before this moment (aware)
    """

    label: str | None = None
    score_from: float | None = None
    score_to: float | None = None
    scored_from: datetime | None = None
    scored_before: datetime | None = None
    model: str | None = None
    truncated: bool | None = None


def search(
    connection: Connection, owned: Tables, job_id: int, wanted: Conditions, *, after: Place | None, rows: int
) -> list[ScoredReview]:
    """Return the reviews that meet the conditions, the least certain first.

    Keys are found in one index and in its order, and only the rows that are shown are fetched.
    """
    scores = owned.scores
    conditions = [scores.c.job_id == job_id]
    for column, value in ((scores.c.label, wanted.label), (scores.c.model, wanted.model)):
        if value is not None:
            conditions.append(column == value)
    if wanted.truncated is not None:
        conditions.append(scores.c.truncated.is_(wanted.truncated))
    if wanted.score_from is not None:
        conditions.append(scores.c.score >= wanted.score_from)
    if wanted.score_to is not None:
        conditions.append(scores.c.score <= wanted.score_to)
    if wanted.scored_from is not None:
        conditions.append(scores.c.scored_at >= wanted.scored_from)
    if wanted.scored_before is not None:
        conditions.append(scores.c.scored_at < wanted.scored_before)
    if after is not None:
        conditions.append(tuple_(scores.c.score, scores.c.review_id) > tuple_(after.score, after.review_id))
        conditions.append(scores.c.score >= after.score)  # said twice: MySQL makes no range of a pair
    order = (scores.c.score, scores.c.review_id)
    keys = select(*order).where(*conditions).order_by(*order).limit(rows).subquery("keys")
    found = select(scores).join(keys, and_(scores.c.job_id == job_id, scores.c.review_id == keys.c.review_id))
    return [_scored(row) for row in connection.execute(found.order_by(keys.c.score, keys.c.review_id))]


def ids_meant(entered: str, id_type: str) -> Sequence[str]:
    """Return the canonical ids that a person may mean: `007` is 7 where ids are integers, a UUID has small letters.

    Blanks around a string may belong to it, or have come with it from elsewhere; as it was entered comes first.
    """
    stripped = entered.strip()
    try:
        meant = canonical_id(parse_id(stripped, id_type)) or entered
    except ValueError:
        return [entered]
    return list(dict.fromkeys([entered, meant])) if id_type == "string" else [meant]


def find_score(connection: Connection, owned: Tables, job_id: int, review_id: str) -> ScoredReview | None:
    """Return a review's score, or None if it has none."""
    scores = owned.scores
    row = connection.execute(
        select(scores).where(scores.c.job_id == job_id, scores.c.review_id == review_id)
    ).one_or_none()
    return None if row is None else _scored(row)


def find_reject(connection: Connection, owned: Tables, job_id: int, review_id: str) -> RejectRow | None:
    """Return why a review has no score, or None if it was not rejected."""
    rejects = owned.rejects
    columns = [rejects.c[name] for name in RejectRow.__dataclass_fields__]
    row = connection.execute(
        select(*columns).where(rejects.c.job_id == job_id, rejects.c.review_id == review_id)
    ).one_or_none()
    return None if row is None else RejectRow(*row)


def texts(connection: Connection, source: ReviewSource, review_ids: Iterable[str]) -> Mapping[str, str]:
    """Return the texts of reviews by their canonical ids, as far as the source still has them.

    :param connection: a transaction of the source's engine
    """
    native: dict[Any, str] = {}
    for review_id in review_ids:
        try:
            parsed = parse_id(review_id, source.id_type)
        except ValueError:  # such as a word where ids are numbers: no row has it
            continue
        wide = isinstance(source.id.type, Numeric)
        if isinstance(parsed, int) and not wide and parsed.bit_length() >= INTEGER_BITS:
            continue
        native[parsed] = review_id
    if not native:
        return {}
    member = dialect_of(connection).member(source.id, list(native))
    rows = connection.execute(select(source.id.label("id"), source.text.label("text")).where(member)).all()
    return {native[row.id]: _showable(row.text) for row in rows if row.id in native}


def _scored(row: Row[Any]) -> ScoredReview:
    values = {name: getattr(row, name) for name in ScoredReview.__dataclass_fields__}
    return ScoredReview(**{**values, "probabilities": tuple(json.loads(row.probabilities))})


def _showable(text: object) -> str:
    """Return a column's value as text that can be sent: half characters become question marks."""
    return str(text).encode("utf-8", "replace").decode() if text is not None else ""
