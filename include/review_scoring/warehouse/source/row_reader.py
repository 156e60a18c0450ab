"""Reads rows with their texts, also where single rows cannot be read: those are found by halves."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, select

from review_scoring.request import NativeId
from review_scoring.reviews import Unreadable
from review_scoring.warehouse.dialects import by_bytes, dialect_of
from review_scoring.warehouse.errors import describe
from review_scoring.warehouse.source.rows import READ_ERRORS, SourceRow, UnreadableRow, fetch_all, is_of_rows
from review_scoring.warehouse.source.stretches import WHOLE, Position, Stretch
from review_scoring.warehouse.source.table import SourceTable

FEW_ROWS = 10
"""Rows that are tried before a view of which nothing could be read yet is taken for broken."""

TRIES = 5
"""Looks at a page of which no row exists any more when it is read by its ids."""

Conditions = Sequence[ColumnElement[bool]]


@dataclass(frozen=True)
class Page:
    """Rows of a stretch.

    :param last: where the last of them stands, or stood; None if there were none
    :param is_full: whether there may be more
    """

    rows: Sequence[SourceRow]
    last: Position | None
    is_full: bool


class RowReader:
    """Reads the rows of one table.

    A view or a conversion may fail for one row. The page is then read by halves until the row is found, and the row is
    returned as :class:`UnreadableRow`. Where nothing can be read, the view is broken, and the error is raised.
    """

    def __init__(self, table: SourceTable) -> None:
        self._table = table
        self._has_read = False  # once a text was read, a row that cannot be read is one of few

    def page(self, where: Conditions, *, texts: bool, rows: int | None, stretch: Stretch = WHOLE) -> Page:
        """Return the first rows of a stretch that meet the conditions, in its order.

        :param rows: how many; None for all
        :raises sqlalchemy.exc.DBAPIError: if no row of the source can be read
        """
        where = [*where, *stretch.conditions(self._table)]

        def fetch(columns: Sequence[ColumnElement[Any]]) -> Sequence[Row[Any]]:
            statement = select(*columns).where(*where).order_by(*stretch.order(self._table)).limit(rows)
            return self._table.fetch(statement, bitmaps=stretch.combines_ranges)

        def page(found: Sequence[SourceRow], all_rows: Sequence[Row[Any]]) -> Page:
            last = stretch.position(all_rows[-1]) if all_rows else None
            return Page(found, last, rows is not None and len(all_rows) >= rows)

        failed: Exception | None = None
        for _ in range(TRIES):
            try:
                found = fetch([*stretch.keys(self._table), *self._table.columns(texts=texts)[1:]])
            except READ_ERRORS as error:
                if not texts or not is_of_rows(error):
                    raise
                failed = error
            else:
                self._note_readable(found, texts=texts)
                return page(found, found)
            keys = fetch(stretch.keys(self._table))
            place = {row.id: n for n, row in enumerate(keys)}
            readable = sorted(self._by_halves(list(place), where), key=lambda row: place.get(row.id, 0))
            if readable or not keys:  # otherwise all of them were deleted meanwhile
                return page(readable, keys)
        assert failed is not None
        raise failed

    def by_ids(self, ids: Sequence[NativeId], stretch: Stretch = WHOLE) -> Sequence[SourceRow]:
        """Return the rows of a stretch with these ids that still exist, with their texts, in no particular order."""
        where = stretch.conditions(self._table)
        return [row for part in by_bytes(ids) for row in self._by_halves(part, where)]

    def check(self) -> None:
        """Read one row, to see that the table may be read; whether its text can be read is that row's own matter.

        No row where it has a price, however few rows are asked for (:attr:`~.Dialect.reads_few_rows`).

        :raises sqlalchemy.exc.SQLAlchemyError: if the table cannot be read
        """
        rows = 1 if dialect_of(self._table.engine).reads_few_rows else 0
        with self._table.engine.connect() as connection:
            try:
                found = fetch_all(connection, select(*self._table.columns(texts=True)).limit(rows))
                self._note_readable(found, texts=True)
            except READ_ERRORS as error:
                if not is_of_rows(error):
                    raise

    def _by_halves(self, ids: Sequence[NativeId], where: Conditions = ()) -> Sequence[SourceRow]:
        """Return the rows with these ids, in the order of the ids."""
        rows: list[SourceRow] = []
        parts = [list(dict.fromkeys(ids))]
        while parts:
            part = parts.pop()
            try:
                found = self._with_ids(part, where)
            except READ_ERRORS as error:
                if not is_of_rows(error) or (len(part) >= FEW_ROWS and not self._can_read_any(part)):
                    raise
                if len(part) > 1:
                    parts += [part[len(part) // 2 :], part[: len(part) // 2]]
                else:
                    rows += self._without_text(part[0], where, Unreadable(describe(error)))
            else:
                self._note_readable(found, texts=True)
                rows += found
        return rows

    def _with_ids(self, ids: Sequence[NativeId], where: Conditions) -> Sequence[SourceRow]:
        wanted = set(ids)
        one_of_them = dialect_of(self._table.engine).in_values(self._table.id, ids)
        columns = self._table.columns(texts=True)
        rows = self._table.fetch(select(*columns).where(*where, one_of_them).order_by(self._table.id))
        return [row for row in rows if row.id in wanted]  # the source may take other ids for equal

    def _without_text(self, id_: NativeId, where: Conditions, text: Unreadable) -> Sequence[UnreadableRow]:
        """Return all rows with an id, with `updated_at` where it can be read, so that a change of it is noticed."""
        of_id = [*where, self._table.id == self._table.bound(id_)]
        try:
            found = self._table.fetch(select(*self._table.columns(texts=False)).where(*of_id))
        except READ_ERRORS as error:
            if not is_of_rows(error):
                raise
            found = self._table.fetch(select(self._table.id.label("id")).where(*of_id))
        return [UnreadableRow(id_, getattr(row, "updated_at", None), text) for row in found if row.id == id_]

    def _has_read_any(self) -> bool:
        return self._has_read

    def _note_readable(self, rows: Sequence[SourceRow], *, texts: bool) -> None:
        self._has_read = self._has_read or (texts and bool(rows))

    def _can_read_any(self, ids: Sequence[NativeId]) -> bool:
        """Return whether a row of the source could be read so far, or can be: one of the last, or one of these."""
        if self._has_read_any():
            return True
        id_ = self._table.id
        newest = select(id_.label("id")).where(id_.is_not(None)).order_by(id_.desc()).limit(FEW_ROWS)
        last = [row.id for row in self._table.fetch(newest)]
        for each in [*last, *ids[:: max(len(ids) // FEW_ROWS, 1)]]:
            with suppress(*READ_ERRORS):
                self._note_readable(self._with_ids([each], ()), texts=True)
            if self._has_read_any():
                return True
        return False
