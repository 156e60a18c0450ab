"""Stretches: parts of a source that are read in the order of its ids or of its cursor column, in either direction.

A page continues after the position of the last row of the page before it (keyset pagination). In the order of the
cursor, a position is the value of the cursor and the id, since many rows may have the same value.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any, TypeAlias

from sqlalchemy import ColumnClause, ColumnElement, UnaryExpression, literal, or_, tuple_

from review_scoring.request import NativeId
from review_scoring.reviews import canonical_id
from review_scoring.warehouse.dialects import dialect_of
from review_scoring.warehouse.source.rows import parse_id
from review_scoring.warehouse.source.table import SourceTable

CursorValue: TypeAlias = int | datetime
"""A value of the cursor column."""


@dataclass(frozen=True)
class Position:
    """Where a row stands.

    :param value: of the cursor; None in the order of ids
    """

    id: NativeId
    value: CursorValue | None = None


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """Rows of a source that are read one after the other. Without arguments: all, in the order of their ids.

    :param by_cursor: in the order of the cursor column, from `since` to `until`
    :param undated: instead, in the order of their ids, the rows without a cursor, or with one below `since` or above
        `until`
    :param of_rejects: no rows of the source, but the rejects of the ledger, in the order of their ids as text
    :param changed: of the recorded reviews, those that may have changed; the cursor is `updated_at` then
    :param newest_first: from the highest cursor or id down
    :param since: the lowest value of the cursor; in the order of ids, rows without a cursor are read as well
    :param until: the highest value
    :param floor: only rows whose cursor, or else id, is above that of this position
    :param after: the rows behind this position; None for all from the beginning
    :param upto: the rows up to this position and the one at it; None for all to the end
    """

    of_rejects: bool = False
    by_cursor: bool = False
    undated: bool = False
    changed: bool = False
    newest_first: bool = False
    since: CursorValue | None = None
    until: CursorValue | None = None
    floor: Position | None = None
    after: Position | None = None
    upto: Position | None = None

    @property
    def combines_ranges(self) -> bool:
        """Whether its rows are in several ranges of the cursor's index."""
        return self.undated or (self.since is not None and not self.by_cursor)

    def cursor(self, source: SourceTable) -> ColumnClause[Any]:
        """Return the column of `since` and `until`."""
        column = source.changed_by if self.changed else source.cursor
        assert column is not None
        return column

    def keys(self, source: SourceTable) -> list[ColumnElement[Any]]:
        """Return the columns that say where a row stands: id, and where it is ordered by one, the cursor."""
        return [source.id.label("id"), *([self.cursor(source).label("position")] if self.by_cursor else [])]

    def order(self, source: SourceTable) -> list[UnaryExpression[Any]]:
        """Return the terms of ORDER BY."""
        columns = [self.cursor(source), source.id] if self.by_cursor else [source.id]
        return [column.desc() if self.newest_first else column.asc() for column in columns]

    def conditions(self, source: SourceTable) -> list[ColumnElement[bool]]:
        """Return the conditions that a row is in the stretch."""
        found = [*self._of_cursor(source), *self._floor(source)]
        if self.after is not None:
            found += self._beyond(source, self.after, down=self.newest_first, inclusive=False)
        if self.upto is not None:
            found += self._beyond(source, self.upto, down=not self.newest_first, inclusive=True)
        return found

    @property
    def unbounded(self) -> Stretch:
        """The same rows without regard to positions."""
        return replace(self, after=None, upto=None)

    def position(self, row: Any) -> Position:
        """Return the position of a row that was read in this stretch."""
        return Position(row.id, row.position if self.by_cursor else None)

    def as_json(self) -> dict[str, Any]:
        """Return plain values; only those that differ from the defaults."""
        changed = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}
        return {name: _plain(value) for name, value in changed.items()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any], id_type: str) -> Stretch:
        """Read the values that :meth:`as_json` returned, with ids as the source's driver takes them."""
        return cls(**{name: _native(value, id_type) for name, value in values.items()})

    def _of_cursor(self, source: SourceTable) -> list[ColumnElement[bool]]:
        if self.since is None and self.until is None and not self.undated:
            return []
        cursor = self.cursor(source)
        if self.undated:
            below = [] if self.since is None else [cursor < self.since]
            above = [] if self.until is None else [cursor > self.until]
            return [or_(cursor.is_(None), *below, *above)]
        since = [] if self.since is None else [cursor >= self.since]
        if not self.by_cursor:
            return [or_(cursor.is_(None), *since)]
        return since + ([] if self.until is None else [cursor <= self.until])

    def _floor(self, source: SourceTable) -> list[ColumnElement[bool]]:
        if self.floor is None:
            return []
        if self.floor.value is None:
            return [source.id > source.bound(self.floor.id)]
        cursor = self.cursor(source)
        above = cursor > self.floor.value
        return [above if self.by_cursor else or_(above, cursor.is_(None))]

    def _beyond(
        self, source: SourceTable, position: Position, *, down: bool, inclusive: bool
    ) -> list[ColumnElement[bool]]:
        """Return the conditions of the rows that are lower (`down`) or higher than a position."""
        id_ = source.bound(position.id)
        lower, higher = (source.id <= id_, source.id >= id_) if inclusive else (source.id < id_, source.id > id_)
        beyond = lower if down else higher
        if not self.by_cursor:
            return [beyond]
        cursor, value = self.cursor(source), position.value
        # The first condition alone can use an index on the cursor, on every database.
        if dialect_of(source.engine).compares_rows:
            bounds = cursor <= value if down else cursor >= value
            row, other = tuple_(cursor, source.id), tuple_(literal(value, cursor.type), id_)
            lower_row, higher_row = (row <= other, row >= other) if inclusive else (row < other, row > other)
            return [bounds, lower_row if down else higher_row]
        if down:
            return [cursor <= value, or_(cursor < value, beyond)]
        return [cursor >= value, or_(cursor > value, beyond)]


WHOLE = Stretch()


@dataclass(frozen=True)
class ReadTo:
    """How far the stretches of a shard have been read: every row before this place was looked at.

    :param stretch: index of the stretch
    :param value: of its cursor, where rows with the same value may still wait; None in the order of ids
    """

    stretch: int
    value: CursorValue | None = None

    def as_text(self) -> str:
        """Return it as text, to be kept with the shard."""
        return json.dumps([self.stretch, _plain(self.value)])

    @classmethod
    def from_text(cls, text: str) -> ReadTo:
        """Read the text that :meth:`as_text` returned."""
        stretch, value = json.loads(text)
        return cls(stretch, _native(value, ""))


def _plain(value: object) -> Any:
    if isinstance(value, Position):
        return {"id": canonical_id(value.id), "value": _plain(value.value)}
    return {"time": value.isoformat()} if isinstance(value, datetime) else value


def _native(value: Any, id_type: str) -> Any:
    if isinstance(value, Mapping):
        if "time" in value:
            return datetime.fromisoformat(value["time"])
        id_ = None if value["id"] is None else parse_id(value["id"], id_type)
        return Position(id_, _native(value["value"], id_type))
    return value
