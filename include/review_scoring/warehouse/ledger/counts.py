"""Counts of a run: reviews read, scored, unchanged and rejected, labels, tokens; and their columns."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Row

from review_scoring.reviews import RejectReason

LabelCounts = Mapping[str, tuple[int, float]]
"""By label: how many reviews got it, and the sum of their scores."""


@dataclass(frozen=True)
class Tally:
    """How many reviews there are: exactly, or at least so many, where counting all of them would take too long."""

    reviews: int = 0
    is_exact: bool = True

    def __bool__(self) -> bool:
        return self.reviews > 0 or not self.is_exact

    def __str__(self) -> str:
        return f"{self.reviews:,}" if self.is_exact else f"more than {self.reviews:,}"


NONE = Tally()


@dataclass(frozen=True)
class Counts:
    """The counts of a run: `read = scored + unchanged + rejected`, always.

    :param relabelled: scored reviews that had another label before
    :param met_again: unchanged reviews that every try of the run reads again, since only the hash of their text shows
        that they are unchanged
    :param repeats_met_again: rows that repeat the ids of these
    :param unkeyed: by reject reason, rejects without a row in `review_rejects`
    :param labels: by label, how many reviews got it and the sum of their scores, so that charts need no scores
    """

    read: int = 0
    scored: int = 0
    unchanged: int = 0
    rejected: int = 0
    tokens: int = 0
    device_seconds: float = 0.0
    relabelled: int = 0
    met_again: int = 0
    repeats_met_again: int = 0
    unkeyed: Mapping[str, int] = field(default_factory=dict)
    labels: LabelCounts = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check that every row is accounted for."""
        if self.read != self.scored + self.unchanged + self.rejected:
            raise AssertionError(f"rows unaccounted for: {self}")

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            read=self.read + other.read,
            scored=self.scored + other.scored,
            unchanged=self.unchanged + other.unchanged,
            rejected=self.rejected + other.rejected,
            tokens=self.tokens + other.tokens,
            device_seconds=self.device_seconds + other.device_seconds,
            relabelled=self.relabelled + other.relabelled,
            met_again=self.met_again + other.met_again,
            repeats_met_again=self.repeats_met_again + other.repeats_met_again,
            unkeyed=dict(Counter(self.unkeyed) + Counter(other.unkeyed)),
            labels=add_labels(self.labels, other.labels),
        )

    @property
    def speed(self) -> float:
        """Reviews that one task classifies per second, without reading, writing or loading the model."""
        return self.speed_since(Counts())

    def speed_since(self, earlier: Counts) -> float:
        """Return the speed since an earlier state of the same counts; 0 where nothing was classified."""
        seconds = self.device_seconds - earlier.device_seconds
        return (self.scored - earlier.scored) / seconds if seconds > 0 else 0.0

    @property
    def done(self) -> int:
        """How many reviews were scored or rejected, without rows that no key can hold."""
        return self.scored + self.rejected - sum(self.unkeyed.values())

    def before_another_try(self) -> Counts:
        """Return the counts without the rows that the next try reads and counts again."""
        without_key = sum(self.unkeyed.get(reason, 0) for reason in (RejectReason.NULL_ID, RejectReason.UNUSABLE_ID))
        duplicates = self.unkeyed.get(RejectReason.DUPLICATE_ID, 0) - self.repeats_met_again
        return replace(
            self,
            read=self.read - without_key - self.met_again - self.repeats_met_again,
            unchanged=self.unchanged - self.met_again,
            rejected=self.rejected - without_key - self.repeats_met_again,
            unkeyed={RejectReason.DUPLICATE_ID: duplicates} if duplicates else {},
            met_again=0,
            repeats_met_again=0,
        )

    def as_columns(self) -> dict[str, Any]:
        """Return the columns of `scoring_runs` and `scoring_shards` that hold these counts."""
        values = {name: getattr(self, name) for name in _NUMBERS}
        unkeyed, labels = (json.dumps(dict(each), sort_keys=True) for each in (self.unkeyed, self.labels))
        return {**values, "unkeyed_rejects": unkeyed, "label_counts": labels}

    @classmethod
    def from_row(cls, row: Row[Any]) -> Counts:
        """Read the counts of a row of `scoring_runs` or `scoring_shards`."""
        return cls(
            **{name: getattr(row, name) for name in _NUMBERS},
            unkeyed=json.loads(row.unkeyed_rejects),
            labels={label: (count, total) for label, (count, total) in json.loads(row.label_counts).items()},
        )

    def __str__(self) -> str:
        return f"read={self.read} scored={self.scored} unchanged={self.unchanged} rejected={self.rejected}"


_NUMBERS: tuple[str, ...] = ("read", "scored", "unchanged", "rejected", "tokens", "device_seconds", "relabelled")
_NUMBERS += ("met_again", "repeats_met_again")


def labelled(labels: LabelCounts) -> int:
    """Return how many reviews were counted."""
    return sum(count for count, _ in labels.values())


def shares_of(labels: LabelCounts) -> dict[str, float]:
    """Return each label's share of the reviews, in the order of the names; nothing where none was counted."""
    total = labelled(labels)
    return {label: count / total for label, (count, _) in sorted(labels.items())} if total else {}


def add_labels(one: LabelCounts, other: LabelCounts) -> LabelCounts:
    """Return the counts of both together."""
    nothing = (0, 0.0)
    both = {label: (one.get(label, nothing), other.get(label, nothing)) for label in {**one, **other}}
    return {label: (a[0] + b[0], a[1] + b[1]) for label, (a, b) in both.items()}
