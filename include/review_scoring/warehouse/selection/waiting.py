"""Numbers the reviews that wait, in the order in which a run scores them, within its budget.

What this costs depends on the budget, and on the scored reviews in between, not on the size of the table.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from sqlalchemy import ColumnElement

from review_scoring.warehouse.ledger.counts import NONE, Tally
from review_scoring.warehouse.selection.candidates import Candidates
from review_scoring.warehouse.selection.cursor_values import as_utc
from review_scoring.warehouse.source.ranges import marks
from review_scoring.warehouse.source.stretches import Position, Stretch

MARKS = 16_384
"""Places that are kept: sixteen per shard, for the most shards."""

COUNT_S = 3.0
"""Seconds in which the reviews beyond the budget are counted, and in which the oldest of them is looked for."""


@dataclass(frozen=True)
class Place:
    """A review that waits.

    :param stretch: index of its stretch
    :param position: where it stands there
    :param number: how many reviews wait up to it, itself included
    """

    stretch: int
    position: Position
    number: int


@dataclass(frozen=True)
class Waiting:
    """The reviews that wait.

    :param covered: how many the budget covers
    :param places: some of these, evenly spread
    :param end: the last of these, if more wait beyond it
    :param more: how many more
    :param unkeyed: rows whose ids no key can hold, where ids are compared outside of the database
    """

    covered: int = 0
    places: tuple[Place, ...] = ()
    end: Place | None = None
    more: Tally = NONE
    unkeyed: int = 0


def find_waiting(candidates: Candidates) -> Waiting:
    """Number what waits, up to the limit of `candidates`, and count what waits beyond it."""
    walk = _Walk(candidates)
    place = None
    if candidates.limit != 0:
        for place in walk.places():
            if place.number == candidates.limit:
                break
        else:
            return walk.found(place)
    more = count_in_time(replace(candidates, stretches=_beyond(candidates.stretches, place)))
    return walk.found(place, end=place if more else None, more=more)


def find_oldest(candidates: Candidates, end: Place | None) -> datetime | None:
    """Return the time of the oldest review that waits behind a place, by the cursor.

    None if it has no times, or if none is found within :data:`COUNT_S` seconds: scored reviews before it have to be
    passed.

    :param end: None for the oldest of all
    """
    found, until = [], time.monotonic() + COUNT_S
    for stretch in _beyond(candidates.stretches, end):
        if not stretch.by_cursor or stretch.changed or isinstance(stretch.until, int):
            continue
        upwards = stretch
        if stretch.newest_first:
            upwards = replace(stretch, newest_first=False, after=stretch.upto, upto=stretch.after)
        walk = _Walk(replace(candidates, stretches=(upwards,), limit=1), until=until)
        place = next(walk.places(), None)
        if walk.is_over:
            return None
        if place is not None and place.position != stretch.after and isinstance(place.position.value, datetime):
            found.append(as_utc(place.position.value))
    return min(found, default=None)


def count_in_time(candidates: Candidates) -> Tally:
    """Count candidates, whatever their limit is, for :data:`COUNT_S` seconds."""
    began, found = time.monotonic(), 0
    for count in candidates.counts():
        found += count
        if time.monotonic() - began > COUNT_S:
            return Tally(found, is_exact=False)
    return Tally(found)


@dataclass
class _Walk:
    """Goes through the stretches, and keeps every `step`-th place, so many that they fit.

    :param until: the time of the monotonic clock after which it finds nothing more
    """

    candidates: Candidates
    until: float = math.inf
    step: int = 1
    kept: list[Place] = field(default_factory=list)
    unkeyed: Counter[str] = field(default_factory=Counter)

    def places(self) -> Iterator[Place]:
        """Yield places in order: at least those that are kept, and the last one."""
        number = 0
        for index, stretch in enumerate(self.candidates.stretches):
            condition = self.candidates.condition(stretch)
            found = self._compared(stretch) if condition is None else self._new(condition, stretch, number)
            before = number
            for position, place in found:
                number = before + place
                if number % self.step == 0:
                    self._keep(Place(index, position, number))
                yield Place(index, position, number)

    @property
    def is_over(self) -> bool:
        """Whether its time is over."""
        return time.monotonic() > self.until

    def found(self, last: Place | None, *, end: Place | None = None, more: Tally = NONE) -> Waiting:
        """Return what was found up to the last place."""
        covered = 0 if last is None else last.number
        return Waiting(covered, tuple(self.kept), end, more, self.unkeyed.total())

    def _keep(self, place: Place) -> None:
        self.kept.append(place)
        if len(self.kept) == MARKS:
            self.kept, self.step = self.kept[1::2], self.step * 2

    def _new(self, condition: ColumnElement[bool], stretch: Stretch, before: int) -> Iterator[tuple[Position, int]]:
        """Have the database number the rows: source and ledger are in the same one."""
        candidates, number = self.candidates, 0
        keys = candidates.request.selection.keys

        def numbered_in(window: Stretch) -> Sequence[tuple[Position, int]]:
            left = None if candidates.limit is None else candidates.limit - before - number
            return marks(
                candidates.source, condition, keys, window, before=before + number, every=self.step, limit=left
            )

        for numbered in candidates.source.by_windows(numbered_in, stretch, keys):
            if self.is_over:
                return
            yield from ((position, number + n) for position, n in numbered)
            number += numbered[-1][1] if numbered else 0

    def _compared(self, stretch: Stretch) -> Iterator[tuple[Position, int]]:
        number = 0
        for wanted in self.candidates.wanted(stretch, None if stretch.changed else self.unkeyed):
            if self.is_over:
                return
            for position, _ in wanted.values():
                number += 1
                yield position, number


def _beyond(stretches: Sequence[Stretch], end: Place | None) -> tuple[Stretch, ...]:
    """Return what is behind a place; all if it is None."""
    if end is None:
        return tuple(stretches)
    return replace(stretches[end.stretch], after=end.position), *stretches[end.stretch + 1 :]
