"""The source of reviews: a table or view, read in key order, a page at a time, each in a transaction of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property

from sqlalchemy import ColumnElement, Engine, func, select, true

from review_scoring.request import EVERYTHING, KeyRange, NativeId
from review_scoring.reviews import Review, canonical_time
from review_scoring.warehouse.dialects import dialect_of
from review_scoring.warehouse.engine import same_database
from review_scoring.warehouse.source.row_reader import RowReader
from review_scoring.warehouse.source.rows import SourceRow
from review_scoring.warehouse.source.table import SourceTable


class ReviewSource(SourceTable):
    """A source that was opened and found readable. Made by :func:`.opening.open_source`."""

    def pages(
        self, rows: int, *, texts: bool, where: ColumnElement[bool] | None = None, keys: KeyRange = EVERYTHING
    ) -> Iterator[Sequence[SourceRow]]:
        """Yield pages of about `rows` rows (id, updated_at and, with `texts`, text), in the source's order.

        Every row whose id is not NULL is in exactly one page; rows whose ids the source takes for equal are in the
        same page. Nothing is held open between pages.
        """
        condition = where if where is not None else true()
        while True:
            within = self.within(keys) or [self.id.is_not(None)]
            page, full = self.reader.page([condition, *within], texts=texts, rows=rows)
            if not page and not full:
                return
            if full and not self.id_is_unique:
                page = self._completed(page, condition, texts=texts)
            keys = replace(keys, after=page[-1].id)
            yield page
            if not full:
                return

    def reviews(self, ids: Sequence[NativeId]) -> Sequence[SourceRow]:
        """Return id, updated_at and text of the rows with these ids that still exist, in no particular order."""
        return self.reader.by_ids(ids)

    def count(self, where: ColumnElement[bool], keys: KeyRange) -> int:
        """Return how many rows with an id meet a condition."""
        statement = select(func.count().label("n")).where(self.id.is_not(None), where, *self.within(keys))
        return int(self.fetch(statement)[0].n)

    def null_ids(self) -> int:
        """Return how many rows have no id."""
        if not self.id_is_nullable:
            return 0
        return int(self.fetch(select(func.count().label("n")).where(self.id.is_(None)))[0].n)

    def review(self, row: SourceRow, review_id: str) -> Review:
        """Turn a row with its text into a review."""
        return Review(review_id, row.text, None if self.updated_at is None else canonical_time(row.updated_at))

    def id_as_text(self, target: Engine) -> ColumnElement[str] | None:
        """Return the canonical id as SQL, if a statement in `target` may name this table and both agree on it."""
        return dialect_of(self.engine).id_as_text(self.id) if same_database(self.engine, target) else None

    @cached_property
    def reader(self) -> RowReader:
        """The reader of this source's rows, which remembers whether any could be read."""
        return RowReader(self)

    def _completed(
        self, page: Sequence[SourceRow], condition: ColumnElement[bool], *, texts: bool
    ) -> Sequence[SourceRow]:
        """Make a full page end between two ids, so that rows with equal ids are in one page."""
        last = page[-1].id
        if self.id_type in {"integer", "uuid"} and self.engine.dialect.name != "sqlite":
            # What is equal to the source is equal to Python: the next page begins with the last id again.
            whole = [row for row in page if row.id != last]
            if whole:
                return whole
        equal, _ = self.reader.page([condition, self.id == self.bound(last)], texts=texts, rows=None)
        ids = {row.id for row in equal}
        return [row for row in page if row.id not in ids] + list(equal)
