"""Scans: which rows of a source a run for new reviews reads, in which order, and where its budget ends.

Plain values, since all shards of a run share one scan. Values of columns are texts, as :func:`.cursor_values.kept`
returns them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from review_scoring.job import Order
from review_scoring.request import Selection
from review_scoring.warehouse.selection.cursor_values import EARLIEST, kept, precedes, start_of, value_of
from review_scoring.warehouse.source.stretches import Position, Stretch
from review_scoring.warehouse.source.table import SourceTable


@dataclass(frozen=True)
class ChangeScan:
    """Which recorded reviews are compared with the source, since their text may have changed.

    :param since: only rows whose `updated_at` is at or above this value; None for all rows
    :param highest: its highest value when the scan began; None for a column that is neither a number nor a time
    :param reached: the value at which the budget of the run ends; None if it covers all rows
    :param is_full: whether all reviews are compared, or none was recorded before
    """

    since: str | None = None
    highest: str | None = None
    reached: str | None = None
    is_full: bool = False

    def stretch(self, source: SourceTable) -> Stretch:
        """Return the rows that are read, the earliest changes first."""
        since, highest = value_of(self.since), value_of(self.highest)
        if since is None or not source.id_is_unique:
            return Stretch(changed=True, since=since)
        until = highest if isinstance(highest, datetime) else None  # not every driver can fetch times such as infinity
        return Stretch(changed=True, by_cursor=True, since=since, until=until)


@dataclass(frozen=True)
class Reached:
    """The state of a job's cursor after a run.

    :param seen: the highest value below which, down to `backlog`, no review waits
    :param backlog: rows at or below this value may wait; None if none do
    """

    seen: str
    backlog: str | None = None


@dataclass(frozen=True)
class Scan:
    """Which rows of a source a run reads.

    :param since: only rows whose cursor is at or above this value, or NULL; None for all rows
    :param highest: the cursor's highest value when the scan began; None if the scan does not move the cursor
    :param backlog: rows whose cursor is at or below this value are read as well, after the recent ones
    :param floor: no rows at or below this value are read; None without `start_after`
    :param is_newest_first: the order in which the run reads
    :param changes: the comparison with recorded reviews; None for a run that makes none
    :param began: seen, backlog and changes seen before the run; another run may have moved them since
    :param reached: the state after the run, if it takes all that its budget covers; None if it moves no cursor
    """

    since: str | None = None
    highest: str | None = None
    backlog: str | None = None
    floor: str | None = None
    is_newest_first: bool = False
    changes: ChangeScan | None = None
    began: tuple[str | None, str | None, str | None] = (None, None, None)
    reached: Reached | None = None

    @property
    def is_full(self) -> bool:
        """Whether all rows are read."""
        return self.since is None

    def stretches(self, source: SourceTable, selection: Selection) -> tuple[Stretch, ...]:
        """Return what a run reads, in its order: recent reviews, changed ones, the backlog, those without a cursor.

        In a full pass, new reviews are not told from the backlog, and changed ones come first.
        """
        changed = [] if self.changes is None else [self.changes.stretch(source)]
        newest_first = selection.order is Order.NEWEST
        floor = start_of(source, selection.start_after)
        since, until, backlog = map(value_of, (self.since, self.highest, self.backlog))
        if until is None or not source.id_is_unique:  # rows with the same id have to be read together
            return *changed, Stretch(newest_first=newest_first, since=since, floor=floor)
        earliest = EARLIEST if isinstance(until, datetime) else None
        by_cursor = Stretch(by_cursor=True, newest_first=newest_first, since=earliest, until=until, floor=floor)
        undated = Stretch(undated=True, newest_first=newest_first, since=earliest, until=until, floor=floor)
        if since is None or (backlog is not None and not precedes(backlog, since)):
            return *changed, by_cursor, undated
        recent = replace(by_cursor, since=since)
        if backlog is None:
            return recent, *changed, replace(undated, since=None)
        # A full pass over several runs reads what is below `earliest` at its end, as one over a single run does.
        return recent, *changed, replace(by_cursor, until=backlog), undated

    def completed(self, stretches: Sequence[Stretch]) -> Scan:
        """Return the scan of a run whose budget covers all of its stretches."""
        goes_by_id = not any(each.by_cursor and not each.changed for each in stretches)
        if self.highest is None or (self.floor is not None and goes_by_id):
            return self
        return replace(self, reached=Reached(self.highest, self._below_floor()))

    def ending(self, before: Sequence[Stretch], stretch: Stretch, position: Position | None) -> Scan:
        """Return the scan of a run that ends in a stretch.

        :param before: what the run reads before this stretch
        :param position: where it ends; None for where the stretch begins
        """
        scan = self
        first = stretch.until if stretch.newest_first else stretch.since
        value = first if position is None else position.value
        if stretch.changed:
            scan = scan._with_changes_upto(value if stretch.by_cursor else None)
        elif not any(each.changed for each in before):
            scan = replace(scan, changes=None)
        if self.highest is None:
            return scan
        return replace(scan, reached=self._reached(before, stretch, value))

    def _reached(self, before: Sequence[Stretch], stretch: Stretch, value: object) -> Reached | None:
        assert self.highest is not None
        if stretch.changed:
            has_recent = any(each.by_cursor and not each.changed for each in before)
            return Reached(self.highest, self.backlog) if has_recent else None
        if stretch.undated:
            return Reached(self.highest, self._below_floor())
        if not stretch.by_cursor or value is None:  # in the order of ids, every value of the cursor may wait
            return None
        at = kept(json.loads(self.highest)[0], value)
        if self.is_newest_first:
            return Reached(self.highest, at)
        if stretch.until != value_of(self.highest):  # in the backlog, of which the lower part is done
            return Reached(self.highest, self.backlog)
        return Reached(at, self._below_floor() if self.is_full else self.backlog)

    def _below_floor(self) -> str | None:
        """Return the value at or below which rows may wait since the run has a floor; None for no such rows."""
        if self.is_full:
            return self.floor
        backlog, floor = value_of(self.backlog), value_of(self.floor)
        if backlog is None or floor is None:
            return None
        return self.floor if precedes(floor, backlog) else self.backlog

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Scan:
        """Read the values that :meth:`as_json` returned."""
        changes, reached = values["changes"], values["reached"]
        parts = {
            "changes": None if changes is None else ChangeScan(**changes),
            "reached": None if reached is None else Reached(**reached),
            "began": tuple(values["began"]),
        }
        return cls(**{**values, **parts})

    def as_text(self) -> str:
        """Return what is read, without where the budget ends, as text, to be kept for another try of its run."""
        return json.dumps(replace(self, reached=None).as_json())

    @classmethod
    def from_text(cls, text: str) -> Scan:
        """Read the text that :meth:`as_text` returned."""
        return cls.from_json(json.loads(text))

    def _with_changes_upto(self, value: object) -> Scan:
        if self.changes is None or self.changes.highest is None or value is None:
            return replace(self, changes=None)
        column = json.loads(self.changes.highest)[0]
        return replace(self, changes=replace(self.changes, reached=kept(column, value)))


FULL_SCAN = Scan()
