"""Review texts: read from the source for the reviews that a page lists, since the ledger keeps none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, Numeric, select

from review_scoring.warehouse.dialects import dialect_of
from review_scoring.warehouse.source.review_source import ReviewSource
from review_scoring.warehouse.source.rows import parse_id

INTEGER_BITS = 64
"""Size of the largest integer column, sign included. Drivers refuse to compare such a column with larger numbers."""


def review_texts(connection: Connection, source: ReviewSource, *, review_ids: Iterable[str]) -> Mapping[str, str]:
    """Return review texts by canonical id. Reviews that are no longer in the source are left out.

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
    member = dialect_of(connection).in_values(source.id, list(native))
    rows = connection.execute(select(source.id.label("id"), source.text.label("text")).where(member)).all()
    return {native[row.id]: _encodable(row.text) for row in rows if row.id in native}


def _encodable(text: object) -> str:
    """Return a column's value as text that UTF-8 can encode: lone surrogates become question marks."""
    return str(text).encode("utf-8", "replace").decode() if text is not None else ""
