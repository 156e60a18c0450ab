"""Splits a run into shards: key ranges of at least 20,000 reviews each, which several tasks score side by side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import chain, islice, pairwise
from typing import Any

from review_scoring.errors import ConfigurationError
from review_scoring.job import Rescore
from review_scoring.request import NEW_REVIEWS, UNLIMITED, Budget, KeyRange, NativeId, RunRequest, Selection, TimeRange
from review_scoring.reviews import canonical_id
from review_scoring.warehouse.dialects import dialect_of
from review_scoring.warehouse.ledger.ledger import Ledger
from review_scoring.warehouse.selection.candidates import Candidates
from review_scoring.warehouse.selection.cursor import FULL_SCAN, Scan
from review_scoring.warehouse.source.ranges import ends
from review_scoring.warehouse.source.review_source import ReviewSource
from review_scoring.warehouse.source.rows import parse_id

MAX_SHARDS = 1000
"""Airflow maps a task over 1,024 values at most, unless its `max_map_length` is set to another number."""

REVIEWS_PER_SHARD = 20_000
"""Fewest reviews per shard: a smaller task would mostly start a process and load a model."""

MARKS = 16_384
"""Ids that are kept of a scan of a source in another database: sixteen per shard, for the most shards."""

SHOWN_ID = 100
"""Characters of an id in a shard's name; Airflow takes 250 for the name of a mapped task."""


@dataclass(frozen=True, kw_only=True)
class Shard:
    """The part of a run that one task scores. Without arguments: all new reviews.

    :param selection: what the run selects, within the shard's own key range
    :param budget: of the run, all its shards together
    :param limit: the most reviews that the task scores or rejects; None for all that wait
    :param scan: the pass over the source that all shards of a run share
    """

    selection: Selection = NEW_REVIEWS
    budget: Budget = UNLIMITED
    limit: int | None = None
    scan: Scan = FULL_SCAN

    def __str__(self) -> str:
        keys = self.selection.keys
        after, upto = (_shown(canonical_id(end)) for end in (keys.after, keys.upto))
        if after is None:
            return "all" if upto is None else f"up to {upto}"
        return f"above {after}" if upto is None else f"above {after} up to {upto}"

    def candidates(self, source: ReviewSource, ledger: Ledger | None, request: RunRequest) -> Candidates:
        """Return the reviews that the shard looks at, before any of them is done.

        :param request: of the run
        """
        mine = replace(request, selection=self.selection, budget=self.budget)
        return Candidates(source, ledger, mine, self.scan, limit=self.limit)

    def as_json(self) -> dict[str, Any]:
        """Return plain values, small enough for XCom; ids in their canonical form."""
        keys, scored = self.selection.keys, self.selection.scored
        return {
            "name": str(self),
            "rescore": self.selection.rescore.value,
            "after": canonical_id(keys.after),
            "upto": canonical_id(keys.upto),
            "scored": None if scored is None else scored.as_json(),
            "budget": asdict(self.budget),
            "limit": self.limit,
            "scan": asdict(self.scan),
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
        selection = Selection(rescore=Rescore(values["rescore"]), keys=KeyRange(after, upto), scored=scored)
        budget, scan = Budget(**values["budget"]), Scan(**values["scan"])
        return cls(selection=selection, budget=budget, limit=values["limit"], scan=scan)


def _shown(id_: str | None) -> str | None:
    return id_ if id_ is None or len(id_) <= SHOWN_ID else f"{id_[: SHOWN_ID - 1]}…"


@dataclass(frozen=True, kw_only=True)
class ShardLimits:
    """Into how many shards a run is split: at most `most`, each of `least` reviews or more. The fewest is one."""

    most: int = 4
    least: int = REVIEWS_PER_SHARD

    def __post_init__(self) -> None:
        """Check the range."""
        if not 1 <= self.most <= MAX_SHARDS:
            raise ConfigurationError(f"the number of shards is {self.most}; it must be from 1 to {MAX_SHARDS}")

    def parts(self, waiting: int) -> int:
        """Return the number of shards for this many reviews."""
        return max(1, min(self.most, -(-waiting // self.least)))


def split(candidates: Candidates, limits: ShardLimits, done: Mapping[int, int] | None = None) -> list[Shard]:
    """Split what waits into shards.

    The ranges are adjacent, and the outer ends are those of the selection. If these are open, the shards together cover
    all ids: a row that is committed after the planning belongs to a shard, whatever its id, and the first shard counts
    the NULL ids. If `candidates` has a limit, the shards' own limits add up to it.

    Only the ends are held in memory. Databases that admit one writer at a time get one shard.

    :param candidates: what is to be scored; its limit is that of the run, all shards and tries together
    :param done: by map index, what earlier tries of the run have scored or rejected, if it is planned again
    """
    done = done or {}
    selection = candidates.request.selection
    left = None if candidates.limit is None else max(candidates.limit - sum(done.values()), 0)
    is_one = left == 0 or _is_exclusive(candidates)
    inner = [] if is_one else list(_inner_ends(replace(candidates, limit=left), limits))
    marks = [(selection.keys.after, 0), *inner, (selection.keys.upto, left or 0)]
    return [
        Shard(
            selection=replace(selection, keys=KeyRange(after, upto)),
            budget=candidates.request.budget,
            limit=None if left is None else place - before + done.get(index, 0),
            scan=candidates.scan,
        )
        for index, ((after, before), (upto, place)) in enumerate(pairwise(marks))
    ]


def _is_exclusive(candidates: Candidates) -> bool:
    """Return whether source or ledger takes one writer at a time."""
    engines = [candidates.source.engine, *([candidates.ledger.engine] if candidates.ledger else [])]
    return any(dialect_of(engine).single_writer for engine in engines)


def _inner_ends(candidates: Candidates, limits: ShardLimits) -> Iterator[tuple[NativeId, int]]:
    """Yield the last id of each shard but the last, and how many candidates there are up to it."""
    condition = candidates.condition()
    found: Iterable[tuple[NativeId, int]]
    if condition is not None:
        keys = candidates.request.selection.keys
        parts = {"most": limits.most, "least": limits.least}
        found = ends(candidates.source, condition, keys, **parts, limit=candidates.limit)
    else:
        ids = chain.from_iterable(replace(candidates, limit=None).wanted())
        found = _ends(islice(ids, candidates.limit), limits)
    before: NativeId = None
    for end, place in found:
        if canonical_id(end) is not None and end != before:  # an id that no key can hold is no end of a range
            yield end, place
        before = end


def _ends(ids: Iterable[NativeId], limits: ShardLimits) -> list[tuple[NativeId, int]]:
    """Return the ends like :func:`~.ranges.ends`, in one pass and bounded memory, without the database."""
    marks: list[tuple[NativeId, int]] = []
    step, place = 1, 0
    for place, id_ in enumerate(ids, 1):
        if place % step == 0:
            marks.append((id_, place))
            if len(marks) == MARKS:
                marks, step = marks[1::2], step * 2
    parts = limits.parts(place)
    shares = [0, *(mark[1] * parts // place for mark in marks)]
    return [mark for mark, (before, share) in zip(marks, pairwise(shares), strict=True) if before < share < parts]
