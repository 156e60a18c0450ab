"""The source table or view: its columns and what is known of them, and statements on it, tried again when they fail."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnClause, ColumnElement, Engine, Row, Select

from review_scoring.concurrency.cancellation import StopFlag
from review_scoring.request import KeyRange, NativeId
from review_scoring.warehouse.dialects import dialect_of
from review_scoring.warehouse.retry import with_retries
from review_scoring.warehouse.source.pace import Pace
from review_scoring.warehouse.source.rows import fetch_all


@dataclass(frozen=True, kw_only=True)
class SourceTable:
    """A table or view with reviews, as it was found when it was opened.

    :param name: as errors name it, `table` or `schema.table`
    :param id_type: `integer`, `string` or `uuid`
    :param updated_at: in a form that every driver can fetch; None for a job without such a column
    :param changed_by: the same as a column that can be ordered; None if it is neither a number nor a time
    :param cursor: column that narrows a pass to recent rows; None for a job without one
    :param other_names: other spellings of `name` that mean the same table
    :param pace: how many rows one statement may look at
    :param statement_s: seconds after which the database ends a statement, where it can; 0 for no limit
    :param stop: ends the waiting for a database that does not answer
    """

    engine: Engine
    name: str
    id_type: str
    id: ColumnElement[Any]
    text: ColumnElement[Any]
    updated_at: ColumnElement[Any] | None
    changed_by: ColumnClause[Any] | None
    cursor: ColumnClause[Any] | None
    id_is_unique: bool
    id_is_nullable: bool
    id_is_indexed: bool = False
    cursor_is_indexed: bool = False
    updated_at_is_indexed: bool = False
    other_names: frozenset[str] = frozenset()
    pace: Pace
    statement_s: int = 0
    stop: StopFlag = field(default_factory=StopFlag)

    def fetch(self, statement: Select[Any], *, bitmaps: bool = False) -> Sequence[Row[Any]]:
        """Return all rows of a statement, read in a transaction of its own.

        :param bitmaps: two ranges of the cursor's index may be combined, such as values above a limit and NULLs
        :raises UnreadableValueError: for a value that cannot be converted
        :raises TimeLimitError: if the database has ended the statement at a time limit
        :raises WarehouseUnavailableError: if the database does not answer for longer than a run waits
        """

        def once() -> Sequence[Row[Any]]:
            with self.engine.connect() as connection:
                dialect_of(connection).force_index_plans(connection, has_index=self.id_is_indexed, bitmaps=bitmaps)
                if self.statement_s:
                    dialect_of(connection).limit_statements(connection, self.statement_s)
                began = time.monotonic()
                try:
                    return fetch_all(connection, statement)
                finally:
                    self.pace.note(time.monotonic() - began)

        return with_retries(once, what=f"reading {self.name}", stop=self.stop)

    def columns(self, *, texts: bool) -> list[ColumnElement[Any]]:
        """Return the columns that a page has: id, updated_at if there is one, and with `texts` the text."""
        columns: list[ColumnElement[Any]] = [self.id.label("id")]
        if self.updated_at is not None:
            columns.append(self.updated_at.label("updated_at"))
        if texts:
            columns.append(self.text.label("text"))
        return columns

    def bound(self, value: NativeId) -> ColumnElement[Any]:
        """Bind an id with the type of the id column."""
        return dialect_of(self.engine).bound(value, self.id.type)

    def within(self, keys: KeyRange) -> list[ColumnElement[bool]]:
        """Return the conditions that an id is in a range, none for an open one."""
        above = [self.id > self.bound(keys.after)] if keys.after is not None else []
        return above + ([self.id <= self.bound(keys.upto)] if keys.upto is not None else [])
