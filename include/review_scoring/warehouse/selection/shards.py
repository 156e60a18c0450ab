"""Splits a run into shards: parts of 20,000 to 200,000 reviews, which several tasks score side by side."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from itertools import pairwise
from typing import Any

from review_scoring.errors import ConfigurationError
from review_scoring.job import Order, Rescore
from review_scoring.request import NEW_REVIEWS, UNLIMITED, Budget, KeyRange, RunRequest, Selection, TimeRange
from review_scoring.reviews import RejectReason, canonical_id
from review_scoring.warehouse.dialects import dialect_of
from review_scoring.warehouse.ledger.ledger import Ledger
from review_scoring.warehouse.selection.candidates import Candidates
from review_scoring.warehouse.selection.scan import FULL_SCAN, Scan
from review_scoring.warehouse.selection.waiting import Place, Waiting
from review_scoring.warehouse.source.review_source import ReviewSource
from review_scoring.warehouse.source.rows import parse_id
from review_scoring.warehouse.source.stretches import WHOLE, Position, Stretch

MAX_SHARDS = 1000
"""Airflow maps a task over 1,024 values at most, unless its `max_map_length` is set to another number."""

REVIEWS_PER_SHARD = 20_000
"""Fewest reviews per shard: a smaller task would mostly start a process and load a model."""

MOST_REVIEWS_PER_SHARD = 200_000
"""Most reviews per shard, however many there are: its task ends within hours even on a CPU."""

PLANNED_PER_SHARD = 160_000
"""Reviews for which a large shard is planned: of many million reviews, not every place is kept for a cut."""

SHOWN_ID = 100
SHOWN_NAME = 250
"""Characters of an id in a shard's name, and of the name: Airflow takes no more for a mapped task."""


@dataclass(frozen=True, kw_only=True)
class Shard:
    """The part of a run that one task scores. Without arguments: all new reviews.

    :param selection: what the run selects, within the shard's own key range
    :param budget: of the run, all its shards together
    :param limit: the most reviews that the task scores or rejects; None for all that wait
    :param scan: the pass over the source that all shards of a run share
    :param stretches: the rows of the source that the task reads, one after the other
    :param counts_null_ids: whether it counts the rows without an id
    :param planned: how many reviews waited in it when it was planned; None if it was not
    :param deadline: after this time it begins no other chunk (aware); None for no limit
    """

    selection: Selection = NEW_REVIEWS
    budget: Budget = UNLIMITED
    limit: int | None = None
    scan: Scan = FULL_SCAN
    stretches: tuple[Stretch, ...] = (WHOLE,)
    counts_null_ids: bool = True
    planned: int | None = None
    deadline: datetime | None = None

    def __str__(self) -> str:
        if not self.stretches:
            return "nothing new"
        if self.stretches != (WHOLE,):
            return ", ".join(_of_stretch(each) for each in self.stretches)
        keys = self.selection.keys
        after, upto = (_shown(canonical_id(end)) for end in (keys.after, keys.upto))
        if after is None:
            return "all" if upto is None else f"up to {upto}"
        return f"above {after}" if upto is None else f"above {after} up to {upto}"

    @property
    def name(self) -> str:
        """What it reads, short enough for Airflow."""
        return str(self) if len(str(self)) <= SHOWN_NAME else f"{str(self)[: SHOWN_NAME - 1]}…"

    def candidates(self, source: ReviewSource, ledger: Ledger | None, request: RunRequest) -> Candidates:
        """Return the reviews that the shard looks at, before any of them is done.

        :param request: of the run
        """
        mine = replace(request, selection=self.selection, budget=self.budget)
        return Candidates(source, ledger, mine, self.stretches, self.counts_null_ids, limit=self.limit)

    def as_json(self) -> dict[str, Any]:
        """Return plain values, small enough for XCom; ids in their canonical form."""
        keys, scored = self.selection.keys, self.selection.scored
        return {
            "name": self.name,
            "rescore": self.selection.rescore.value,
            "reject_reason": self.selection.reject_reason,
            "after": canonical_id(keys.after),
            "upto": canonical_id(keys.upto),
            "scored": None if scored is None else scored.as_json(),
            "order": self.selection.order.value,
            "start_after": self.selection.start_after,
            "budget": asdict(self.budget),
            "limit": self.limit,
            "scan": self.scan.as_json(),
            "stretches": [stretch.as_json() for stretch in self.stretches],
            "counts_null_ids": self.counts_null_ids,
            "planned": self.planned,
            "deadline": None if self.deadline is None else self.deadline.isoformat(),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any], id_type: str) -> Shard:
        """Read the values that :meth:`as_json` returned, with ids as the source's driver takes them.

        :raises ConfigurationError: for a plan that another version of the package made
        """
        if missing := cls(scan=FULL_SCAN).as_json().keys() - values.keys():
            raise ConfigurationError(
                f"another version of review-scoring has planned this shard (it has no {', '.join(sorted(missing))}); "
                "clear the task that plans the shards, with all tasks after it"
            )
        after, upto = (None if values[end] is None else parse_id(values[end], id_type) for end in ("after", "upto"))
        scored = None if values["scored"] is None else TimeRange.from_json(values["scored"])
        selection = Selection(
            rescore=Rescore(values["rescore"]),
            reject_reason=None if values["reject_reason"] is None else RejectReason(values["reject_reason"]),
            keys=KeyRange(after, upto),
            scored=scored,
            order=Order(values["order"]),
            start_after=values["start_after"],
        )
        return cls(
            selection=selection,
            budget=Budget(**values["budget"]),
            limit=values["limit"],
            scan=Scan.from_json(values["scan"]),
            stretches=tuple(Stretch.from_json(each, id_type) for each in values["stretches"]),
            counts_null_ids=values["counts_null_ids"],
            planned=values["planned"],
            deadline=None if values["deadline"] is None else datetime.fromisoformat(values["deadline"]),
        )


def _of_stretch(stretch: Stretch) -> str:
    """Return the range of a stretch in words, from its first row to its last one."""
    ends = [_of_position(end) for end in (stretch.after, stretch.upto)]
    words = f"after {ends[0]} to {ends[1]}" if all(ends) else f"up to {ends[1]}" if ends[1] else f"after {ends[0]}"
    kind = "rejects" if stretch.of_rejects else "changed" if stretch.changed else None
    kind = kind or ("undated" if stretch.undated else "newest first" if stretch.newest_first else "oldest first")
    return f"{kind} {words}" if any(ends) else kind


def _of_position(position: Position | None) -> str | None:
    if position is None:
        return None
    return _shown(canonical_id(position.id)) if position.value is None else str(position.value)


def _shown(id_: str | None) -> str | None:
    return id_ if id_ is None or len(id_) <= SHOWN_ID else f"{id_[: SHOWN_ID - 1]}…"


@dataclass(frozen=True, kw_only=True)
class ShardLimits:
    """Into how many shards a run is split: `most` at a time, each of `least` reviews or more. The fewest is one.

    More than `most` shards are planned where each would exceed :data:`MOST_REVIEWS_PER_SHARD` reviews.
    """

    most: int = 4
    least: int = REVIEWS_PER_SHARD

    def __post_init__(self) -> None:
        """Check the range."""
        if not 1 <= self.most <= MAX_SHARDS:
            raise ConfigurationError(f"the number of shards is {self.most}; it must be from 1 to {MAX_SHARDS}")

    def parts(self, waiting: int) -> int:
        """Return the number of shards for this many reviews."""
        few = max(1, min(self.most, -(-waiting // self.least)))
        return min(max(few, -(-waiting // PLANNED_PER_SHARD)), MAX_SHARDS)

    def most_reviews(self, *, one_writer: bool) -> int:
        """Return how many reviews a run can take at most."""
        return MOST_REVIEWS_PER_SHARD if one_writer else PLANNED_PER_SHARD * MAX_SHARDS


class OneShard(ShardLimits):
    """The limits of a run that one task scores by itself, however many reviews wait."""

    def parts(self, waiting: int) -> int:
        """Return 1."""
        del waiting
        return 1

    def most_reviews(self, *, one_writer: bool) -> int:
        """Return no limit."""
        del one_writer
        return sys.maxsize


def split(
    candidates: Candidates, waiting: Waiting, limits: ShardLimits, done: Mapping[int, int] | None = None
) -> list[Shard]:
    """Split what waits into shards.

    The ranges are adjacent, and the outer ends are those of the selection, unless the budget ends before. If these are
    open, the shards together cover all ids: a row that is committed after the planning belongs to a shard, whatever its
    id. The first shard counts the rows without an id. If nothing waits, one shard reads no other rows. If `candidates`
    has a limit, the shards' own limits add up to it.

    Databases that admit one writer at a time get one shard.

    :param candidates: what is to be scored; its limit is that of the run, all shards and tries together
    :param waiting: what :func:`.waiting.find_waiting` has found of it
    :param done: by map index, what earlier tries of the run have scored or rejected, if it is planned again
    """
    done, request = done or {}, candidates.request
    shard = Shard(selection=request.selection, budget=request.budget, counts_null_ids=candidates.counts_null_ids)
    if not waiting.covered and not waiting.unkeyed:
        # Without a limit, it counts the rows without an id; with one that is used up, it keeps what was counted.
        limit = None if candidates.limit is None else done.get(0) or None
        return [replace(shard, stretches=(), limit=limit, planned=0)]
    parts = 1 if has_one_writer(candidates) else limits.parts(waiting.covered)
    ends: list[Place | None] = [None, *_ends(waiting, parts), waiting.end]
    found = []
    for index, (after, upto) in enumerate(pairwise(ends)):
        before = after.number if after else 0
        planned = (upto.number if upto else waiting.covered) - before
        # Reviews that come late may use what the plan leaves of the budget.
        limit = planned if upto or candidates.limit is None else candidates.limit - before
        found.append(
            replace(
                _between(shard, candidates.stretches, after, upto),
                limit=None if candidates.limit is None else limit + done.get(index, 0),
                counts_null_ids=shard.counts_null_ids and index == 0,
                planned=planned + done.get(index, 0),
            )
        )
    return found


def _between(shard: Shard, stretches: Sequence[Stretch], after: Place | None, upto: Place | None) -> Shard:
    """Return a shard of the rows after one place and up to another; None for the outer ends."""
    if tuple(stretches) == (WHOLE,):
        keys = shard.selection.keys
        keys = KeyRange(after.position.id if after else keys.after, upto.position.id if upto else keys.upto)
        return replace(shard, selection=replace(shard.selection, keys=keys))
    parts = list(stretches[after.stretch if after else 0 : upto.stretch + 1 if upto else None])
    if after is not None:
        parts[0] = replace(parts[0], after=after.position)
    if upto is not None:
        parts[-1] = replace(parts[-1], upto=upto.position)
    return replace(shard, stretches=tuple(parts))


def _ends(waiting: Waiting, parts: int) -> list[Place]:
    """Return the last place of each part but the last one: parts of equal numbers of reviews."""
    found: list[Place] = []
    share = 0
    for place in waiting.places:
        before, share = share, place.number * parts // waiting.covered
        is_new = not found or place.position.id != found[-1].position.id
        # An id that no key can hold is no end of a range.
        if before < share < parts and is_new and canonical_id(place.position.id) is not None:
            found.append(place)
    return found


def has_one_writer(candidates: Candidates) -> bool:
    """Return whether source or ledger takes one writer at a time."""
    engines = [candidates.source.engine, *([candidates.ledger.engine] if candidates.ledger else [])]
    return any(dialect_of(engine).single_writer for engine in engines)
