"""A chunk: the reviews that one transaction commits, before and after they are classified."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from review_scoring.reviews import Prediction, Reject, RejectReason, Review
from review_scoring.warehouse.counts import Counts


@dataclass(frozen=True, slots=True)
class Recorded:
    """What the warehouse holds of a review, scored or rejected: `at` is when it was scored, or first rejected.

    A reject has no label; its model and revision are those of the run that rejected it.
    """

    text_hash: str
    updated_at: str | None
    run_id: int
    label: str | None
    model: str
    revision: str
    at: datetime


@dataclass(frozen=True)
class Chunk:
    """Reviews that one transaction will commit.

    `repeats` says of a review's id how many more rows have it; `recorded` is what the ledger holds of those it knows.
    """

    reviews: Sequence[Review]
    repeats: Mapping[str, int] = field(default_factory=dict)
    recorded: Mapping[str | None, Recorded] = field(default_factory=dict)

    @property
    def duplicates(self) -> int:
        """How many rows repeat the id of a review of this chunk."""
        return sum(self.repeats.get(review.id, 0) for review in self.reviews)


@dataclass(frozen=True, slots=True)
class Outcome:
    """A review with the hash of its text, and what became of it."""

    review: Review
    text_hash: str
    result: Prediction | Reject


@dataclass(frozen=True)
class ChunkResult:
    """All of one chunk, ready to be committed.

    `unchanged` are reviews whose text has the hash that is recorded; `duplicates` counts rows that repeat the id of
    another row of the chunk; `device` names what classified it; `relabelled` had another label before.
    """

    outcomes: Sequence[Outcome]
    unchanged: Sequence[Review] = ()
    duplicates: int = 0
    device: str = ""
    device_seconds: float = 0.0
    relabelled: int = 0

    def counts(self) -> Counts:
        """Return what this chunk adds to its run."""
        scored = [o.result for o in self.outcomes if isinstance(o.result, Prediction)]
        by_label: dict[str, list[float]] = {}
        for prediction in scored:
            by_label.setdefault(prediction.label, []).append(prediction.score)
        return Counts(
            read=len(self.outcomes) + len(self.unchanged) + self.duplicates,
            scored=len(scored),
            unchanged=len(self.unchanged),
            rejected=len(self.outcomes) - len(scored) + self.duplicates,
            tokens=sum(prediction.token_count for prediction in scored),
            device_seconds=self.device_seconds,
            relabelled=self.relabelled,
            unkeyed={RejectReason.DUPLICATE_ID: self.duplicates} if self.duplicates else {},
            labels={label: (len(scores), sum(scores)) for label, scores in by_label.items()},
        )
