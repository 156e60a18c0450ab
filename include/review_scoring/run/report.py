"""The report of a run or a dry run: for XCom, as one line for logs and scripts, as a paragraph for Slack or mail."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from review_scoring.warehouse.ledger.counts import Counts


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """What a run, or one shard of it, did.

    :param counts: over all tries
    :param device: what classified; None where nothing had to be classified
    :param seconds: from the first shard's start to the last one's end; of a task, its own
    :param reviews_per_second: what one task classified per second. Reading, writing and loading the model do not count,
        which would make a small run look slow
    :param is_rescore: whether reviews that had a score were scored again
    """

    job: str
    counts: Counts
    model: str
    revision: str
    device: str | None
    seconds: float
    reviews_per_second: float
    shards: int = 1
    is_rescore: bool = False

    def as_xcom(self) -> dict[str, Any]:
        """Return plain values, small enough for XCom, with the line and the paragraph."""
        counts = self.counts
        relabelled = {"relabelled": counts.relabelled} if self.is_rescore else {}
        return {
            "job": self.job,
            "read": counts.read,
            "scored": counts.scored,
            "unchanged": counts.unchanged,
            "rejected": counts.rejected,
            "labels": {label: count for label, (count, _) in counts.labels.items()},
            **relabelled,
            "tokens": counts.tokens,
            "shards": self.shards,
            "model": self.model,
            "revision": self.revision,
            "device": self.device,
            "seconds": self.seconds,
            "reviews_per_second": self.reviews_per_second,
            "paragraph": self.paragraph,
        }

    @property
    def line(self) -> str:
        """The counts in one line, such as `read=419 scored=416 unchanged=0 rejected=3`."""
        return f"{self.counts} relabelled={self.counts.relabelled}" if self.is_rescore else str(self.counts)

    @property
    def paragraph(self) -> str:
        """The report for Slack, mail and the like. It has numbers and names, never a review."""
        counts = self.counts
        if not counts.read:
            return f"{self.job}: nothing was new, so nothing was scored."
        parts = [f"{counts.scored:,} scored{self._shares()}"]
        if self.is_rescore and counts.relabelled:
            parts.append(f"{counts.relabelled:,} of them with another label than before")
        if counts.rejected:
            parts.append(f"{counts.rejected:,} rejected")
        if counts.unchanged:
            parts.append(f"{counts.unchanged:,} unchanged")
        device = f" on {self.device}" if self.device else ""
        return (
            f"{self.job}: {_reviews(counts.read)} read, {', '.join(parts)}. It took {self.seconds:,.0f} s "
            f"({self.reviews_per_second:,.1f} reviews per second while classifying) with {self.model}{device}."
        )

    def _shares(self) -> str:
        labels = {label: count for label, (count, _) in self.counts.labels.items()}
        total = sum(labels.values())
        shares = ", ".join(f"{count / total:.0%} {label}" for label, count in sorted(labels.items())) if total else ""
        return f" ({shares})" if shares else ""


@dataclass(frozen=True, kw_only=True)
class DryRunReport:
    """What a run would take.

    :param waiting: reviews that wait
    :param tokens: of all of them
    :param seconds: that classifying would take on this worker
    """

    job: str
    waiting: int
    tokens: int
    seconds: int

    def as_xcom(self) -> dict[str, Any]:
        """Return plain values for XCom, with the paragraph."""
        return {"dry_run": True, **asdict(self), "paragraph": self.paragraph}

    @classmethod
    def from_xcom(cls, values: Mapping[str, Any]) -> DryRunReport | None:
        """Read the values that :meth:`as_xcom` returned; None for those of a run that was no dry run."""
        return cls(**{name: values[name] for name in cls.__dataclass_fields__}) if values.get("dry_run") else None

    @property
    def line(self) -> str:
        """The report in one line."""
        return f"dry run: waiting={self.waiting} tokens={self.tokens} seconds={self.seconds}"

    @property
    def paragraph(self) -> str:
        """The report for people."""
        return (
            f"{self.job}: {_reviews(self.waiting)} waiting, {self.tokens:,} tokens, about "
            f"{self.seconds:,} s to classify. This was a dry run; nothing was written."
        )


def _reviews(count: int) -> str:
    return "1 review" if count == 1 else f"{count:,} reviews"
