"""Chunks: the reviews that one transaction commits, before and after they are classified."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from review_scoring.reviews import Prediction, Reject, Review
from review_scoring.warehouse.ledger.counts import Counts
from review_scoring.warehouse.source.stretches import ReadTo


@dataclass(frozen=True, slots=True)
class Recorded:
    """The record of a scored or rejected review.

    :param label: None for a reject
    :param at: when it was scored, or first rejected
    """

    text_hash: bytes
    updated_at: str | None
    shard_id: int
    label: str | None
    model: str
    revision: str
    at: datetime


@dataclass(frozen=True)
class Chunk:
    """Reviews that one transaction will commit.

    :param repeats: by id, how many more rows have the id of a review
    :param recorded: by id, what the ledger holds of the reviews that it knows
    :param uneven: the ids whose rows have several `updated_at`
    :param unkeyed: by reject reason, how many rows were met since the last chunk whose ids no key can hold
    :param read_to: how far its shard has been read, once this chunk and those before it are committed; None if unknown
    """

    reviews: Sequence[Review]
    repeats: Mapping[str, int] = field(default_factory=dict)
    recorded: Mapping[str | None, Recorded] = field(default_factory=dict)
    uneven: frozenset[str] = frozenset()
    unkeyed: Mapping[str, int] = field(default_factory=dict)
    read_to: ReadTo | None = None

    @property
    def duplicates(self) -> int:
        """How many rows repeat the id of a review of this chunk."""
        return self.repeats_of(self.reviews)

    def repeats_of(self, reviews: Sequence[Review]) -> int:
        """How many rows repeat the id of one of these reviews."""
        return sum(self.repeats.get(review.id, 0) for review in reviews)

    def is_met_again(self, review: Review) -> bool:
        """Return whether every try of a run reads an unchanged review again: its time does not show that."""
        return review.updated_at is None or review.id in self.uneven


@dataclass(frozen=True, slots=True)
class Outcome:
    """A review with the hash of its text, and its prediction or reject."""

    review: Review
    text_hash: bytes
    result: Prediction | Reject


@dataclass(frozen=True)
class ChunkResult:
    """All of one chunk, ready to be committed.

    :param unchanged: reviews whose text has the hash that is recorded
    :param unkeyed: by reject reason, rows that have no row in `review_rejects`: repeated ids, and as in :class:`Chunk`
    :param device: names what classified the chunk
    :param relabelled: how many had another label before
    :param retimed: those of `unchanged` whose `updated_at` is not the recorded one
    :param checks_siblings: whether another shard of the run may have done a review of this chunk
    :param met_again: as in :class:`Counts`
    :param repeats_met_again: as in :class:`Counts`
    :param read_to: as in :class:`Chunk`
    """

    outcomes: Sequence[Outcome]
    unchanged: Sequence[Review] = ()
    unkeyed: Mapping[str, int] = field(default_factory=dict)
    device: str = ""
    device_seconds: float = 0.0
    relabelled: int = 0
    retimed: Sequence[Review] = ()
    met_again: int = 0
    repeats_met_again: int = 0
    checks_siblings: bool = False
    read_to: ReadTo | None = None

    def without(self, ids: Collection[str]) -> ChunkResult:
        """Return the chunk without some of its reviews."""
        return replace(self, outcomes=[each for each in self.outcomes if each.review.id not in ids]) if ids else self

    def counts(self) -> Counts:
        """Return what this chunk adds to its run."""
        scored = [o.result for o in self.outcomes if isinstance(o.result, Prediction)]
        unkeyed = sum(self.unkeyed.values())
        by_label: dict[str, list[float]] = {}
        for prediction in scored:
            by_label.setdefault(prediction.label, []).append(prediction.score)
        return Counts(
            read=len(self.outcomes) + len(self.unchanged) + unkeyed,
            scored=len(scored),
            unchanged=len(self.unchanged),
            rejected=len(self.outcomes) - len(scored) + unkeyed,
            tokens=sum(prediction.token_count for prediction in scored),
            device_seconds=self.device_seconds,
            relabelled=self.relabelled,
            met_again=self.met_again,
            repeats_met_again=self.repeats_met_again,
            unkeyed=self.unkeyed,
            labels={label: (len(scores), sum(scores)) for label, scores in by_label.items()},
        )
