"""Rows numbered in the source's own order, to cut them into parts of equal work; ranges of ids compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, false, func, or_, select, union_all

from review_scoring.request import KeyRange, NativeId
from review_scoring.warehouse.dialects import dialect_of
from review_scoring.warehouse.source.stretches import Position, Stretch
from review_scoring.warehouse.source.table import SourceTable


def overlap(source: SourceTable, one: KeyRange, other: KeyRange) -> bool:
    """Return whether two ranges of ids have an id in common. Where one shard is scored at a time, all have."""
    if dialect_of(source.engine).single_writer:
        return True
    return _may_precede(source, one.after, other.upto) and _may_precede(source, other.after, one.upto)


def marks(
    source: SourceTable,
    where: ColumnElement[bool],
    keys: KeyRange,
    stretch: Stretch,
    *,
    before: int,
    every: int,
    limit: int | None = None,
) -> Sequence[tuple[Position, int]]:
    """Number the first `limit` rows of a stretch that meet a condition, in the database, in the stretch's order.

    :param before: how many rows there were before the stretch
    :return: positions and numbers of those rows that are an `every`-th one of all, and of the last one
    """
    order = stretch.order(source)
    met = select(*stretch.keys(source))
    met = met.where(source.id.is_not(None), where, *source.within(keys), *stretch.conditions(source))
    if limit is not None:
        met = met.order_by(*order).limit(limit)
    row = met.subquery("met").c
    columns = [row.position, row.id] if stretch.by_cursor else [row.id]
    ordered = [each.desc() if stretch.newest_first else each.asc() for each in columns]
    number = func.row_number().over(order_by=ordered).label("number")
    numbered = select(*columns, number, func.count().over().label("total")).subquery("numbered").c
    wanted = or_((numbered.number + before) % every == 0, numbered.number == numbered.total)
    columns = [numbered.position, numbered.id] if stretch.by_cursor else [numbered.id]
    statement = select(*columns, numbered.number).where(wanted).order_by(numbered.number)
    return [(stretch.position(each), each.number) for each in source.fetch(statement, bitmaps=stretch.combines_ranges)]


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
