"""Where reviews come from: a table or view, read in key order, a page at a time, each in a transaction of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeAlias
from uuid import UUID

from sqlalchemy import (
    ColumnClause,
    ColumnElement,
    Connection,
    Engine,
    Row,
    Select,
    and_,
    case,
    false,
    func,
    or_,
    select,
    true,
    union_all,
)
from sqlalchemy.exc import DBAPIError

from review_scoring.concurrency.cancellation import StopFlag
from review_scoring.errors import ReviewScoringError
from review_scoring.reviews import Review, Unreadable, canonical_time
from review_scoring.warehouse.dialects import by_bytes, dialect_of
from review_scoring.warehouse.engine import same_database
from review_scoring.warehouse.errors import Fault, describe, fault_of
from review_scoring.warehouse.retry import patiently

NativeId: TypeAlias = Any
"""An id as the driver gives and takes it: int, str, UUID or Decimal."""

FEW_ROWS = 10
"""Rows that are tried before a view of which nothing could be read yet is taken for broken."""

TRIES = 5
"""Looks at a page of which no row is there any more when it is read by its ids."""

_OF_A_ROW = (TypeError, ValueError, ArithmeticError, NotImplementedError)
"""What a driver raises for a value that Python has no equal of, where it raises no error of a database."""


@dataclass(frozen=True, slots=True)
class UnreadableRow:
    """A row of which the database or its driver cannot give more than its key."""

    id: NativeId
    updated_at: Any
    text: Unreadable


SourceRow: TypeAlias = Row[Any] | UnreadableRow


class UnreadableValueError(ReviewScoringError):
    """A value that the database gives and Python has no equal of."""


@dataclass(frozen=True)
class KeyRange:
    """Ids above `after` and up to `upto`, in the source's own order; None leaves that end open."""

    after: NativeId | None = None
    upto: NativeId | None = None


EVERYTHING = KeyRange()

EARLIEST = datetime(1, 1, 2)
"""Below are `-infinity` and the like, which no driver gives."""


@dataclass(frozen=True)
class ReviewSource:
    """A source that was looked at and found readable. Made by :func:`open_source`."""

    engine: Engine
    name: str
    id_type: str
    id: ColumnElement[Any]
    text: ColumnElement[Any]
    updated_at: ColumnElement[Any] | None
    cursor: ColumnClause[Any] | None
    id_is_unique: bool
    id_is_nullable: bool
    id_is_indexed: bool = False
    cursor_is_nullable: bool = True
    other_names: frozenset[str] = frozenset()
    stop: StopFlag = field(default_factory=StopFlag)
    _seen_readable: list[bool] = field(default_factory=list, compare=False, repr=False)
    """Not empty once a text was read: then a row that cannot be read is one of few."""

    def pages(
        self, rows: int, *, texts: bool, where: ColumnElement[bool] | None = None, keys: KeyRange = EVERYTHING
    ) -> Iterator[Sequence[SourceRow]]:
        """Yield pages of about `rows` rows (id, updated_at and, with `texts`, text), in the source's order.

        Every row whose id is not NULL is in exactly one page; rows whose ids the source takes for equal are in the
        same page. Nothing is held open between pages.
        """
        condition = where if where is not None else true()
        while True:
            within = self._within(keys) or [self.id.is_not(None)]
            page, full = self._page([condition, *within], texts=texts, rows=rows)
            if not page and not full:
                return
            if full and not self.id_is_unique:
                page = self._completed(page, condition, texts=texts)
            keys = replace(keys, after=page[-1].id)
            yield page
            if not full:
                return

    def reviews(self, ids: Sequence[NativeId]) -> Sequence[SourceRow]:
        """Return id, updated_at and text of the rows with these ids that are still there, in no particular order."""
        if not ids:
            return []
        return [row for part in by_bytes(ids) for row in self._readable(part)]

    def look(self) -> None:
        """Read one row, to see that it may be read; whether its text can be read is that row's own matter."""
        with self.engine.connect() as connection:
            try:
                rows = _all(connection, select(*self._columns(texts=True)).limit(1))
                self._note_readable(rows, texts=True)
            except (DBAPIError, UnreadableValueError) as error:
                if not _of_rows(error):
                    raise

    def some_ids(self, rows: int) -> Sequence[SourceRow]:
        """Return the ids of the first rows that the database gives."""
        with self.engine.connect() as connection:
            statement = select(self.id.label("id")).where(self.id.is_not(None)).limit(rows)
            return connection.execute(statement).all()

    def count(self, where: ColumnElement[bool], keys: KeyRange) -> int:
        """Return how many rows with an id meet a condition."""
        statement = select(func.count().label("n")).where(self.id.is_not(None), where, *self._within(keys))
        return int(self._fetch(statement)[0].n)

    def ends(
        self, where: ColumnElement[bool], keys: KeyRange, *, most: int, least: int, limit: int | None = None
    ) -> Sequence[tuple[NativeId, int]]:
        """Cut the first `limit` rows that meet a condition into parts of equal numbers of rows, in the database.

        :param most: number of parts at most
        :param least: rows of a part at least
        :return: the last id of each part but the last, in the source's order, and how many rows there are up to it
        """
        rows = select(self.id.label("id")).where(self.id.is_not(None), where, *self._within(keys))
        if limit is not None:
            rows = rows.order_by(self.id).limit(limit)
        met = rows.subquery("met")
        place, total = func.row_number().over(order_by=met.c.id), func.count().over()
        row = select(met.c.id, place.label("place"), total.label("total")).subquery("numbered").c
        parts = case((row.total > most * least, most), else_=(row.total + (least - 1)) // least)
        # A part ends where place * parts / total passes a whole number.
        is_end = and_(row.place * parts % row.total < parts, row.place < row.total)
        return [(end.id, end.place) for end in self._fetch(select(row.id, row.place).where(is_end).order_by(row.place))]

    def highest_cursor(self, upto: datetime | None) -> Any:
        """Return the highest value of the cursor column: an integer or a time; None for an empty source.

        :param upto: the latest time that counts; None for a cursor of integers
        """
        assert self.cursor is not None
        within = [] if upto is None else [self.cursor >= EARLIEST, self.cursor <= upto]
        return self._fetch(select(func.max(self.cursor).label("highest")).where(*within))[0].highest

    def lowest_cursor(self) -> Any:
        """Return the lowest value of the cursor column; None for an empty source."""
        return self._fetch(select(func.min(self.cursor).label("lowest")))[0].lowest

    def top_cursors(self, rows: int) -> Sequence[Any]:
        """Return the highest values of the cursor column, one for each row, the highest first."""
        assert self.cursor is not None
        statement = select(self.cursor.label("value")).where(self.cursor.is_not(None))
        return [row.value for row in self._fetch(statement.order_by(self.cursor.desc()).limit(rows))]

    def from_cursor(self, value: Any) -> ColumnElement[bool]:
        """Return the condition that a row's cursor is at or above a value, or that it has none."""
        assert self.cursor is not None
        recent = self.cursor >= value
        return or_(recent, self.cursor.is_(None)) if self.cursor_is_nullable else recent

    def overlap(self, one: KeyRange, other: KeyRange) -> bool:
        """Say whether two ranges of ids have an id in common. Where one shard is scored at a time, all do."""
        if dialect_of(self.engine).single_writer:
            return True
        return self._may_precede(one.after, other.upto) and self._may_precede(other.after, one.upto)

    def _may_precede(self, lower: NativeId | None, upper: NativeId | None) -> bool:
        """Compare two ids as the source does; None is an open end."""
        if lower is None or upper is None:
            return True
        if self.id_type == "integer":
            return bool(lower < upper)
        one, other = self._as_id(lower), self._as_id(upper)
        return bool(self._fetch(select((one < other).label("precedes")))[0].precedes)

    def _as_id(self, value: NativeId) -> ColumnElement[Any]:
        """Give a value the type and the collation of the id column, which a literal does not have everywhere."""
        of_its_type = select(self.id.label("id")).where(false())
        return union_all(of_its_type, select(self._bound(value))).scalar_subquery()

    def review(self, row: SourceRow, review_id: str) -> Review:
        """Turn a row with its text into a review."""
        return Review(review_id, row.text, None if self.updated_at is None else canonical_time(row.updated_at))

    def null_ids(self) -> int:
        """Return how many rows have no id."""
        if not self.id_is_nullable:
            return 0
        return int(self._fetch(select(func.count().label("n")).where(self.id.is_(None)))[0].n)

    def id_as_text(self, target: Engine) -> ColumnElement[str] | None:
        """Return the canonical id as SQL, if a statement in `target` may name this table and both agree on it."""
        return dialect_of(self.engine).id_as_text(self.id) if same_database(self.engine, target) else None

    def _columns(self, *, texts: bool) -> list[ColumnElement[Any]]:
        columns: list[ColumnElement[Any]] = [self.id.label("id")]
        if self.updated_at is not None:
            columns.append(self.updated_at.label("updated_at"))
        if texts:
            columns.append(self.text.label("text"))
        return columns

    def _within(self, keys: KeyRange) -> list[ColumnElement[bool]]:
        above = [self.id > self._bound(keys.after)] if keys.after is not None else []
        return above + ([self.id <= self._bound(keys.upto)] if keys.upto is not None else [])

    def _bound(self, value: NativeId) -> ColumnElement[Any]:
        return dialect_of(self.engine).bound(value, self.id.type)

    def _page(
        self, where: Sequence[ColumnElement[bool]], *, texts: bool, rows: int | None
    ) -> tuple[Sequence[SourceRow], bool]:
        """Return the first rows that meet the conditions, in the source's order, also those that cannot be read.

        And whether there may be more behind them.
        """

        def statement(columns: Sequence[ColumnElement[Any]]) -> Select[Any]:
            return select(*columns).where(*where).order_by(self.id).limit(rows)

        failed: Exception | None = None
        for _ in range(TRIES):
            try:
                page = self._fetch(statement(self._columns(texts=texts)))
            except (DBAPIError, UnreadableValueError) as error:
                if not texts or not _of_rows(error):
                    raise
                failed = error
            else:
                self._note_readable(page, texts=texts)
                return page, rows is not None and len(page) >= rows
            ids = [row.id for row in self._fetch(statement([self.id.label("id")]))]
            found = self._readable(ids, where)
            if found or not ids:  # else all of them were deleted meanwhile
                return found, rows is not None and len(ids) >= rows
        assert failed is not None
        raise failed

    def _readable(self, ids: Sequence[NativeId], where: Sequence[ColumnElement[bool]] = ()) -> Sequence[SourceRow]:
        """Return the rows with these ids, in the source's order; the ones that cannot be read are found by halves.

        :raises sqlalchemy.exc.DBAPIError: if no row of the source can be read: then the view is broken, and not they
        """
        rows: list[SourceRow] = []
        parts = [list(dict.fromkeys(ids))]
        while parts:
            part = parts.pop()
            try:
                found = self._with_ids(part, where)
            except (DBAPIError, UnreadableValueError) as error:
                if not _of_rows(error) or (len(part) >= FEW_ROWS and not self._has_readable_rows(part)):
                    raise
                if len(part) > 1:
                    parts += [part[len(part) // 2 :], part[: len(part) // 2]]
                else:
                    rows += self._unreadable(part[0], where, Unreadable(describe(error)))
            else:
                self._note_readable(found, texts=True)
                rows += found
        return rows

    def _unreadable(
        self, id_: NativeId, where: Sequence[ColumnElement[bool]], text: Unreadable
    ) -> Sequence[UnreadableRow]:
        """Return all rows with an id, without their text; with `updated_at`, so that a change of it is noticed."""
        of_id = [*where, self.id == self._bound(id_)]
        try:
            found = self._fetch(select(*self._columns(texts=False)).where(*of_id))
        except (DBAPIError, UnreadableValueError) as error:
            if not _of_rows(error):
                raise
            found = self._fetch(select(self.id.label("id")).where(*of_id))
        return [UnreadableRow(id_, getattr(row, "updated_at", None), text) for row in found if row.id == id_]

    def _note_readable(self, rows: Sequence[SourceRow], *, texts: bool) -> None:
        if texts and rows and not self._seen_readable:
            self._seen_readable.append(True)

    def _has_readable_rows(self, ids: Sequence[NativeId]) -> bool:
        """Say whether a row of the source could be read so far, or can be: one of the last, or one of these."""
        if self._seen_readable:
            return True
        last = self._fetch(
            select(self.id.label("id")).where(self.id.is_not(None)).order_by(self.id.desc()).limit(FEW_ROWS)
        )
        for id_ in [*(row.id for row in last), *ids[:: max(len(ids) // FEW_ROWS, 1)]]:
            with suppress(DBAPIError, UnreadableValueError):
                self._note_readable(self._with_ids([id_], ()), texts=True)
            if self._seen_readable:
                return True
        return False

    def _with_ids(self, ids: Sequence[NativeId], where: Sequence[ColumnElement[bool]]) -> Sequence[SourceRow]:
        wanted = set(ids)
        member = dialect_of(self.engine).member(self.id, ids)
        rows = self._fetch(select(*self._columns(texts=True)).where(*where, member).order_by(self.id))
        return [row for row in rows if row.id in wanted]  # the source may take other ids for equal

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
        equal, _ = self._page([condition, self.id == self._bound(last)], texts=texts, rows=None)
        ids = {row.id for row in equal}
        return [row for row in page if row.id not in ids] + list(equal)

    def _fetch(self, statement: Select[Any]) -> Sequence[Row[Any]]:
        def fetch() -> Sequence[Row[Any]]:
            with self.engine.connect() as connection:
                bitmaps = self.cursor is not None and self.cursor_is_nullable
                dialect_of(connection).plan_by_key(connection, has_index=self.id_is_indexed, bitmaps=bitmaps)
                return _all(connection, statement)

        return patiently(fetch, what=f"reading {self.name}", stop=self.stop)


def _all(connection: Connection, statement: Select[Any]) -> Sequence[Row[Any]]:
    """Return all rows.

    :raises UnreadableValueError: where a driver or SQLAlchemy cannot convert a value, whose own error can quote it
    """
    failed: Exception | None = None
    try:
        return connection.execute(statement).all()
    except _OF_A_ROW as error:
        failed = error
    raise UnreadableValueError(f"a value cannot be converted ({type(failed).__name__})")


def _of_rows(error: BaseException) -> bool:
    """Say whether an error is that of single rows, and not of the whole source."""
    if isinstance(error, UnreadableValueError):
        return True
    # SQLite has one code for most of what a function or a conversion cannot do.
    return fault_of(error) is Fault.DATA or describe(error).endswith("SQLITE_ERROR")


def parse_id(canonical: str, id_type: str) -> NativeId:
    """Turn a canonical id back into what the source's driver takes."""
    return {"integer": int, "uuid": UUID}.get(id_type, str)(canonical)
