"""Ranges of ids in the source's own order: cut into parts of equal work, and compared with each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, and_, case, false, func, select, union_all

from review_scoring.request import KeyRange, NativeId
from review_scoring.warehouse.dialects import dialect_of
from review_scoring.warehouse.source.table import SourceTable


def overlap(source: SourceTable, one: KeyRange, other: KeyRange) -> bool:
    """Return whether two ranges of ids have an id in common. Where one shard is scored at a time, all have."""
    if dialect_of(source.engine).single_writer:
        return True
    return _may_precede(source, one.after, other.upto) and _may_precede(source, other.after, one.upto)


def ends(
    source: SourceTable,
    where: ColumnElement[bool],
    keys: KeyRange,
    *,
    most: int,
    least: int,
    limit: int | None = None,
) -> Sequence[tuple[NativeId, int]]:
    """Cut the first `limit` rows that meet a condition into parts of equal numbers of rows, in the database.

    :param most: number of parts at most
    :param least: rows of a part at least
    :return: the last id of each part but the last, in the source's order, and how many rows there are up to it
    """
    rows = select(source.id.label("id")).where(source.id.is_not(None), where, *source.within(keys))
    if limit is not None:
        rows = rows.order_by(source.id).limit(limit)
    met = rows.subquery("met")
    place, total = func.row_number().over(order_by=met.c.id), func.count().over()
    row = select(met.c.id, place.label("place"), total.label("total")).subquery("numbered").c
    parts = case((row.total > most * least, most), else_=(row.total + (least - 1)) // least)
    # A part ends where place * parts / total passes a whole number.
    is_end = and_(row.place * parts % row.total < parts, row.place < row.total)
    found = source.fetch(select(row.id, row.place).where(is_end).order_by(row.place))
    return [(end.id, end.place) for end in found]


def _may_precede(source: SourceTable, lower: NativeId | None, upper: NativeId | None) -> bool:
    """Compare two ids as the source does; None is an open end."""
    if lower is None or upper is None:
        return True
    if source.id_type == "integer":
        return bool(lower < upper)
    one, other = _as_id(source, lower), _as_id(source, upper)
    return bool(source.fetch(select((one < other).label("precedes")))[0].precedes)


def _as_id(source: SourceTable, value: NativeId) -> ColumnElement[Any]:
    """Give a value the type and the collation of the id column, which a literal does not have everywhere."""
    of_its_type = select(source.id.label("id")).where(false())
    return union_all(of_its_type, select(source.bound(value))).scalar_subquery()
