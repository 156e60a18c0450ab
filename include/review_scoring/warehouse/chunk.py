"""A chunk: the reviews that one transaction commits, before and after they are classified."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from review_scoring.reviews import Prediction, Reject, RejectReason, Review
from review_scoring.warehouse.runs import Counts


@dataclass(frozen=True, slots=True)
class Recorded:
    """What the warehouse holds of a review, scored or rejected."""

    text_hash: str
    updated_at: str | None
    run_id: int


@dataclass(frozen=True)
class Chunk:
    """Reviews that one transaction will commit; `recorded` is what the ledger holds of those it knows."""

    reviews: Sequence[Review]
    duplicates: int = 0
    recorded: Mapping[str | None, Recorded] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.reviews) + self.duplicates


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
    another row of the chunk; `device` names what classified it.
    """

    outcomes: Sequence[Outcome]
    unchanged: Sequence[Review] = ()
    duplicates: int = 0
    device: str = ""
    device_seconds: float = 0.0

    def counts(self) -> Counts:
        """Return what this chunk adds to its run."""
        scored = [o.result for o in self.outcomes if isinstance(o.result, Prediction)]
        return Counts(
            read=len(self.outcomes) + len(self.unchanged) + self.duplicates,
            scored=len(scored),
            unchanged=len(self.unchanged),
            rejected=len(self.outcomes) - len(scored) + self.duplicates,
            tokens=sum(prediction.token_count for prediction in scored),
            device_seconds=self.device_seconds,
            unkeyed={RejectReason.DUPLICATE_ID: self.duplicates} if self.duplicates else {},
        )
