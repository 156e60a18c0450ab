"""The source of reviews: a table or view, read in key order, a page at a time, each in a transaction of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Engine, Row, Text, cast, func, select

from review_scoring.request import EVERYTHING, KeyRange, NativeId
from review_scoring.reviews import Review, canonical_id, canonical_time
from review_scoring.warehouse.dialects import by_bytes, dialect_of
from review_scoring.warehouse.engine import same_database
from review_scoring.warehouse.retry import TimeLimitError, with_retries
from review_scoring.warehouse.source.row_reader import Page, RowReader
from review_scoring.warehouse.source.rows import READ_ERRORS, SourceRow, is_of_rows, parse_id
from review_scoring.warehouse.source.stretches import WHOLE, Stretch
from review_scoring.warehouse.source.table import SourceTable

T = TypeVar("T")


class ReviewSource(SourceTable):
    """A source that was opened and found readable. Made by :func:`.opening.open_source`."""

    def pages(
        self,
        rows: int,
        *,
        texts: bool,
        where: ColumnElement[bool] | None = None,
        keys: KeyRange = EVERYTHING,
        stretch: Stretch = WHOLE,
    ) -> Iterator[Page]:
        """Yield pages of about `rows` rows (id, updated_at and, with `texts`, text), in the stretch's order.

        Every row of the stretch whose id is not NULL is in exactly one page; rows whose ids the source takes for equal
        are in the same page, in the order of ids. Nothing is held open between pages. No statement looks at more than
        :data:`~.pace.WINDOW_ROWS` rows, however few of them meet the condition.
        """
        for window in [stretch] if where is None else self.windows(stretch, keys):
            yield from self._pages_of(window, rows, texts=texts, where=where, keys=keys)

    def by_windows(self, read: Callable[[Stretch], T], stretch: Stretch, keys: KeyRange = EVERYTHING) -> Iterator[T]:
        """Yield what one statement reads of each window of a stretch; where a time limit ends it, of smaller windows.

        :raises TimeLimitError: if the smallest window is too large
        """
        for window in self.windows(stretch, keys):
            try:
                found = read(window)
            except TimeLimitError:
                if not self.pace.shrink():
                    raise
                yield from self.by_windows(read, window, keys)
            else:
                yield found

    def windows(self, stretch: Stretch, keys: KeyRange = EVERYTHING) -> Iterator[Stretch]:
        """Yield a stretch in parts of at most :data:`~.pace.WINDOW_ROWS` rows; the last has the stretch's end."""
        while True:
            rows = self.pace.rows()
            within = [*self._within(keys), *stretch.conditions(self)]
            last = select(*stretch.keys(self)).where(*within).order_by(*stretch.order(self))
            try:
                found = self.fetch(last.offset(rows - 1).limit(1), bitmaps=stretch.combines_ranges)
            except TimeLimitError:
                if not self.pace.shrink():
                    raise
                continue
            if not found:
                yield stretch
                return
            end = stretch.position(found[0])
            yield replace(stretch, upto=end)
            stretch = replace(stretch, after=end)

    def _pages_of(
        self, stretch: Stretch, rows: int, *, texts: bool, where: ColumnElement[bool] | None, keys: KeyRange
    ) -> Iterator[Page]:
        within = [*([] if where is None else [where]), *self._within(keys)]
        while True:
            try:
                page = self.reader.page(within, texts=texts, rows=rows, stretch=stretch)
            except TimeLimitError:
                if where is None or not self.pace.shrink():
                    raise
                yield from self.pages(rows, texts=texts, where=where, keys=keys, stretch=stretch)
                return
            if not page.rows and not page.is_full:
                return
            if page.is_full and not self.id_is_unique:
                found = self._completed(page.rows, within, texts=texts, stretch=stretch.unbounded)
                page = replace(page, rows=found, last=stretch.position(found[-1]))
            stretch = replace(stretch, after=page.last)
            yield page
            if not page.is_full:
                return

    def reviews(self, ids: Sequence[NativeId], stretch: Stretch = WHOLE) -> Sequence[SourceRow]:
        """Return id, updated_at and text of the rows of a stretch with these ids that still exist, in no order."""
        return self.reader.by_ids(ids, stretch)

    def existing(self, ids: Sequence[str]) -> frozenset[str]:
        """Return which of these canonical ids a row of the source has, whatever its text."""
        native = [each for each in (self._native(review_id) for review_id in ids) if each is not None]
        found = {canonical_id(row.id) for part in by_bytes(native) for row in self._with_ids(part)}
        missing = [review_id for review_id in ids if review_id not in found]
        if missing and self.engine.dialect.name == "sqlite":  # which keeps 7 and '7' apart in columns without a type
            as_text = cast(self.id, Text)
            for part in by_bytes(missing):
                rows = self.fetch(select(self.id.label("id")).where(as_text.in_(part)))
                found |= {canonical_id(row.id) for row in rows}
        return frozenset(review_id for review_id in ids if review_id in found)

    def _with_ids(self, ids: Sequence[NativeId]) -> Sequence[Row[Any]]:
        """Return the ids of the rows with these ids, of which the column may be unable to hold some."""
        one_of = dialect_of(self.engine).in_values(self.id, ids)
        try:
            return self.fetch(select(self.id.label("id")).where(one_of))
        except READ_ERRORS as error:
            if not is_of_rows(error):
                raise
            if len(ids) > 1:
                half = len(ids) // 2
                return [*self._with_ids(ids[:half]), *self._with_ids(ids[half:])]
            if self._can_be_id(ids[0]):  # so it is a row of the source that cannot be read
                raise
            return []

    def _can_be_id(self, value: NativeId) -> bool:
        """Return whether the type of the column can hold a value, whatever its rows are."""
        try:
            self.fetch(select(self.bound(value).label("id")))
        except READ_ERRORS as error:
            if not is_of_rows(error):
                raise
            return False
        return True

    def is_empty(self) -> bool:
        """Return whether no row has an id."""
        return not self.fetch(select(self.id.label("id")).where(self.id.is_not(None)).limit(1))

    def hides_changes(self) -> bool:
        """Return whether the text of some row may change without its `updated_at`: there is none, or it may be NULL."""
        if self.changed_by is None or not self.updated_at_is_indexed:  # to look for a NULL would scan the table
            return True
        return bool(self.fetch(select(self.changed_by.label("at")).where(self.changed_by.is_(None)).limit(1)))

    def count(self, where: ColumnElement[bool], keys: KeyRange = EVERYTHING, stretch: Stretch = WHOLE) -> int:
        """Return how many rows of a stretch that have an id meet a condition."""
        within = [where, *self._within(keys), *stretch.conditions(self)]
        return int(self.fetch(select(func.count().label("n")).where(*within), bitmaps=stretch.combines_ranges)[0].n)

    def estimated_rows(self) -> int | None:
        """Return about how many rows there are, without counting them; None where the database does not know."""

        def estimate() -> int | None:
            with self.engine.connect() as connection:
                return dialect_of(connection).estimated_rows(connection, self.id.table)

        return with_retries(estimate, what=f"looking up the size of {self.name}", stop=self.stop)

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

    def _native(self, review_id: str) -> NativeId | None:
        """Return an id as the driver takes it; None for one that no row of this source can have."""
        try:
            return parse_id(review_id, self.id_type)
        except ValueError:
            return None

    def _within(self, keys: KeyRange) -> list[ColumnElement[bool]]:
        """Return the conditions that an id is in a range, or at least not NULL."""
        return self.within(keys) or [self.id.is_not(None)]

    def _completed(
        self, page: Sequence[SourceRow], where: Sequence[ColumnElement[bool]], *, texts: bool, stretch: Stretch
    ) -> Sequence[SourceRow]:
        """Make a full page end between two ids, so that rows with equal ids are in one page."""
        last = page[-1].id
        if self.id_type in {"integer", "uuid"} and self.engine.dialect.name != "sqlite":
            # What is equal to the source is equal to Python: the next page begins with the last id again.
            whole = [row for row in page if row.id != last]
            if whole:
                return whole
        equal = self.reader.page([*where, self.id == self.bound(last)], texts=texts, rows=None, stretch=stretch).rows
        ids = {row.id for row in equal}
        return [row for row in page if row.id not in ids] + list(equal)
