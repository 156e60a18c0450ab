"""What waits, cut into key ranges of about equal work, so that several workers can score it side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import chain, islice, pairwise
from typing import Any

from review_scoring.errors import ConfigurationError
from review_scoring.reviews import canonical_id
from review_scoring.warehouse.dialects import dialect_of
from review_scoring.warehouse.selection.candidates import Candidates, TimeRange
from review_scoring.warehouse.selection.cursor import Pass
from review_scoring.warehouse.source.review_source import EVERYTHING, KeyRange, NativeId, parse_id

MAX_SHARDS = 1000
"""Airflow maps a task over 1,024 values at most, unless its `max_map_length` says otherwise."""

REVIEWS_PER_SHARD = 20_000
"""Reviews that are worth a task of their own: less would mostly start processes and load models."""

MARKS = 16_384
"""Ids that are kept of a pass over a source in another database: sixteen for a shard, when there are most shards."""


SHOWN_ID = 100
"""Characters of an id in a shard's name; Airflow takes 250 for the name of a mapped task."""


@dataclass(frozen=True)
class Shard:
    """A key range that one task works on. Without arguments: everything, as one shard.

    :param limit: most reviews that the task scores or rejects; None for all that wait
    :param scan: the pass over the source that all shards of a run share; None if the task decides by itself
    :param scored: only reviews that were scored in this time; None for all
    """

    keys: KeyRange = EVERYTHING
    limit: int | None = None
    scan: Pass | None = None
    scored: TimeRange | None = None

    def __str__(self) -> str:
        after, upto = (_shown(canonical_id(end)) for end in (self.keys.after, self.keys.upto))
        if after is None:
            return "all" if upto is None else f"up to {upto}"
        return f"above {after}" if upto is None else f"above {after} up to {upto}"

    def as_json(self) -> dict[str, Any]:
        """Return plain values, small enough for XCom; ids in their canonical form."""
        return {
            "name": str(self),
            "after": canonical_id(self.keys.after),
            "upto": canonical_id(self.keys.upto),
            "limit": self.limit,
            "scan": None if self.scan is None else asdict(self.scan),
            "scored": None if self.scored is None else self.scored.as_json(),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any], id_type: str) -> Shard:
        """Read what :meth:`as_json` made, with ids as the source's driver takes them."""
        after, upto = (None if values[end] is None else parse_id(values[end], id_type) for end in ("after", "upto"))
        scan = None if values["scan"] is None else Pass(**values["scan"])
        scored = None if values["scored"] is None else TimeRange.from_json(values["scored"])
        return cls(KeyRange(after, upto), values["limit"], scan, scored)


def _shown(id_: str | None) -> str | None:
    return id_ if id_ is None or len(id_) <= SHOWN_ID else f"{id_[: SHOWN_ID - 1]}…"


@dataclass(frozen=True, kw_only=True)
class Cut:
    """Into how many shards to cut: at most `most`, each of `least` reviews or more. The fewest is one."""

    most: int = 4
    least: int = REVIEWS_PER_SHARD

    def __post_init__(self) -> None:
        """Check the range."""
        if not 1 <= self.most <= MAX_SHARDS:
            raise ConfigurationError(f"the number of shards is {self.most}; it must be from 1 to {MAX_SHARDS}")

    def parts(self, waiting: int) -> int:
        """Return the number of shards for this many reviews."""
        return max(1, min(self.most, -(-waiting // self.least)))


def plan_shards(
    candidates: Candidates, cut: Cut, scan: Pass | None = None, done: Mapping[int, int] | None = None
) -> list[Shard]:
    """Cut what waits into shards.

    Their ranges meet without a gap, and the outer ends are those of `candidates.keys`. Where these are open, the shards
    together are the whole key space: a row that is committed after the planning, wherever its id falls, is some
    shard's, and the first counts the NULL ids.
    Where `candidates` has a limit, the shards' own limits add up to it.

    Nothing is held in memory but the ends. Databases that take one writer at a time get one shard.

    :param candidates: what is to be scored; its limit is that of the run, all shards and tries together
    :param scan: the pass that the shards share
    :param done: by map index, what earlier tries of the run have scored or rejected, if it is planned anew
    """
    done = done or {}
    left = None if candidates.limit is None else max(candidates.limit - sum(done.values()), 0)
    inner = [] if _one_at_a_time(candidates) or left == 0 else list(_inner_ends(replace(candidates, limit=left), cut))
    ends = [(candidates.keys.after, 0), *inner, (candidates.keys.upto, left or 0)]
    return [
        Shard(
            KeyRange(after, upto),
            None if left is None else place - before + done.get(index, 0),
            scan,
            candidates.scored,
        )
        for index, ((after, before), (upto, place)) in enumerate(pairwise(ends))
    ]


def _one_at_a_time(candidates: Candidates) -> bool:
    engines = [candidates.source.engine, *([candidates.ledger.engine] if candidates.ledger else [])]
    return any(dialect_of(engine).single_writer for engine in engines)


def _inner_ends(candidates: Candidates, cut: Cut) -> Iterator[tuple[NativeId, int]]:
    """Yield the last id of each shard but the last, and how many candidates there are up to it."""
    condition = candidates.condition()
    if condition is not None:
        ends: Iterable[tuple[NativeId, int]] = candidates.source.ends(
            condition, candidates.keys, most=cut.most, least=cut.least, limit=candidates.limit
        )
    else:
        ids = chain.from_iterable(replace(candidates, limit=None, unrecordable=Counter()).wanted())
        ends = _ends(islice(ids, candidates.limit), cut)
    before: NativeId = None
    for end, place in ends:
        if canonical_id(end) is not None and end != before:  # an id that no key can hold travels badly
            yield end, place
        before = end


def _ends(ids: Iterable[NativeId], cut: Cut) -> list[tuple[NativeId, int]]:
    """Do in Python, in one pass and bounded memory, what :meth:`ReviewSource.ends` has the database do."""
    marks: list[tuple[NativeId, int]] = []
    step, place = 1, 0
    for place, id_ in enumerate(ids, 1):
        if place % step == 0:
            marks.append((id_, place))
            if len(marks) == MARKS:
                marks, step = marks[1::2], step * 2
    parts = cut.parts(place)
    shares = [0, *(mark[1] * parts // place for mark in marks)]
    return [mark for mark, (before, share) in zip(marks, pairwise(shares), strict=True) if before < share < parts]
