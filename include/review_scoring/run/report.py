"""The report of a run or a dry run: for XCom, as one line for logs and scripts, as a paragraph for Slack or mail.

The reports of erasures and of retention stand with them, and use the words at the end of this module.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from review_scoring.warehouse.erasure import Erased
from review_scoring.warehouse.ledger.counts import NONE, Counts, Tally


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """What a run, or one shard of it, did.

    :param counts: over all tries
    :param device: what classified; None where nothing had to be classified
    :param seconds: from the first shard's start to the last one's end; of a task, its own
    :param reviews_per_second: what one task classified per second. Reading, writing and loading the model do not count,
        which would make a small run look slow
    :param is_rescore: whether reviews that had a score were scored again
    :param waiting: reviews that wait for the next run, beyond the budget of this one
    :param waiting_since: the time of the oldest of these, by the job's cursor column; None if unknown
    :param excluded: reviews that the job's `start_after` excludes; None without one
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
    waiting: Tally = NONE
    waiting_since: datetime | None = None
    excluded: Tally | None = None

    def as_xcom(self) -> dict[str, Any]:
        """Return plain values, small enough for XCom, with the paragraph; `written` is the number of rows."""
        counts = self.counts
        relabelled = {"relabelled": counts.relabelled} if self._has_relabelled else {}
        return {
            "job": self.job,
            "read": counts.read,
            "scored": counts.scored,
            "unchanged": counts.unchanged,
            "rejected": counts.rejected,
            "labels": {label: count for label, (count, _) in counts.labels.items()},
            **relabelled,
            "written": counts.done,
            "waiting": self.waiting.reviews,
            "waiting_is_exact": self.waiting.is_exact,
            **({} if self.waiting_since is None else {"waiting_since": self.waiting_since.isoformat()}),
            **({} if self.excluded is None else {"excluded": self.excluded.reviews}),
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
        more = [f"relabelled={self.counts.relabelled}"] if self._has_relabelled else []
        more += [f"waiting={self.waiting.reviews}"] if self.waiting else []
        more += [f"excluded={self.excluded.reviews}"] if self.excluded else []
        return " ".join([str(self.counts), *more])

    @property
    def paragraph(self) -> str:
        """The report for Slack, mail and the like. It has numbers and names, never a review."""
        counts = self.counts
        if not counts.read:
            return f"{self.job}: nothing was new, so nothing was scored.{self._left()}"
        parts = [f"{counts.scored:,} scored{self._shares()}"]
        if counts.relabelled:
            parts.append(f"{counts.relabelled:,} of them with another label than before")
        if counts.rejected:
            parts.append(f"{counts.rejected:,} rejected")
        if counts.unchanged:
            parts.append(f"{counts.unchanged:,} unchanged")
        device = f" on {self.device}" if self.device else ""
        return (
            f"{self.job}: {_reviews(counts.read)} read, {', '.join(parts)}. It took {self.seconds:,.0f} s "
            f"({self.reviews_per_second:,.1f} reviews per second while classifying) with {self.model}{device}."
            f"{self._left()}"
        )

    @property
    def _has_relabelled(self) -> bool:
        return self.is_rescore or self.counts.relabelled > 0

    def _left(self) -> str:
        """Return what the run left, in sentences."""
        left = ""
        if self.waiting:
            left = f" {_sentence(self.waiting)} waiting"
            if runs := -(-self.waiting.reviews // self.counts.done) if self.counts.done else 0:
                left += f", for {'about' if self.waiting.is_exact else 'more than'} {_runs(runs)} of this size"
            left += "."
        if self.excluded:
            left += f" {_sentence(self.excluded)} excluded by start_after."
        return left

    def _shares(self) -> str:
        labels = {label: count for label, (count, _) in self.counts.labels.items()}
        total = sum(labels.values())
        shares = ", ".join(f"{count / total:.0%} {label}" for label, count in sorted(labels.items())) if total else ""
        return f" ({shares})" if shares else ""


@dataclass(frozen=True, kw_only=True)
class DryRunReport:
    """What a run would take.

    :param waiting: reviews that wait
    :param waiting_is_exact: whether these were all counted; otherwise there are at least so many
    :param reviews: those that the run would read, within its budget
    :param tokens: of these
    :param seconds: that one task would classify these: at the speed of the job's last run, or as measured on this
        worker if it had none
    :param rescore_seconds: that one task would classify all reviews again that were scored; None for a job without runs
    :param source_statements: that the run executes at the source; None where statements have no price
    :param source_bytes: that these read, as the warehouse estimates it; None if unknown
    :param source_is_limit: whether the run executes no more statements than these; otherwise they are a guess
    """

    job: str
    waiting: int
    reviews: int
    tokens: int
    seconds: int
    waiting_is_exact: bool = True
    rescore_seconds: int | None = None
    source_statements: int | None = None
    source_bytes: int | None = None
    source_is_limit: bool = True

    @property
    def runs(self) -> int:
        """How many runs of this size it takes to score all that wait."""
        return -(-self.waiting // self.reviews) if self.reviews else 0

    def as_xcom(self) -> dict[str, Any]:
        """Return plain values for XCom, with the paragraph."""
        values = asdict(self)
        if self.source_statements is None:
            values = {name: value for name, value in values.items() if not name.startswith("source_")}
        return {"dry_run": True, **values, "runs": self.runs, "paragraph": self.paragraph}

    @classmethod
    def from_xcom(cls, values: Mapping[str, Any]) -> DryRunReport | None:
        """Read the values that :meth:`as_xcom` returned; None for those of a run that was no dry run."""
        if not values.get("dry_run"):
            return None
        return cls(**{name: values[name] for name in cls.__dataclass_fields__ if name in values})

    @property
    def line(self) -> str:
        """The report in one line."""
        sizes = f"waiting={self.waiting} reviews={self.reviews} tokens={self.tokens}"
        cost = "" if self.source_statements is None else f" statements={self.source_statements}"
        cost += "" if self.source_bytes is None else f" bytes={self.source_bytes}"
        return f"dry run: {sizes} seconds={self.seconds} runs={self.runs}{cost}"

    @property
    def paragraph(self) -> str:
        """The report for people."""
        waiting = Tally(self.waiting, self.waiting_is_exact)
        words = [f"{self.job}: {_sentence(waiting)} waiting."]
        words.append(
            f"This run would read {self.reviews:,}: {self.tokens:,} tokens, {_duration(self.seconds)} to classify."
        )
        if self.source_statements is not None:
            words.append(source_cost(self))
        if self.runs > 1:
            every = _duration(self.seconds * self.runs)
            words.append(
                f"All of them take {'' if self.waiting_is_exact else 'more than '}{self.runs:,} runs, {every}."
            )
        if self.rescore_seconds:
            words.append(f"Scoring all scored reviews again would take {_duration(self.rescore_seconds)}.")
        return " ".join([*words, "This was a dry run; nothing was written."])


def source_cost(report: DryRunReport) -> str:
    """Return what a run costs at its source, as a sentence."""
    about = "up to" if report.source_is_limit else "about"
    read = "" if report.source_bytes is None else f", which read about {_size(report.source_bytes)}"
    return f"It takes {about} {counted(report.source_statements or 0, 'statement')} at the source{read}."


def _size(size: int) -> str:
    """Return a number of bytes in the unit in which a warehouse charges for them."""
    for unit, bytes_ in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6)):
        if size >= bytes_:
            return f"{size / bytes_:,.1f} {unit}"
    return f"{size / 1000:,.0f} kB"


def _duration(seconds: int) -> str:
    """Return a duration in the unit in which people think of it."""
    for unit, size in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"about {seconds / size:,.0f} {unit}"
    return f"about {seconds:,} s"


def _sentence(tally: Tally) -> str:
    verb = "review is" if tally.reviews == 1 else "reviews are"
    return f"{str(tally).capitalize()} {verb}"


def _runs(count: int) -> str:
    return "1 more run" if count == 1 else f"{count:,} more runs"


def _reviews(count: int) -> str:
    return "1 review" if count == 1 else f"{count:,} reviews"


def stored_parts(erased: Erased) -> str:
    """Return what was erased, in words."""
    parts = [counted(erased.scores, "score"), counted(erased.rejects, "reject")]
    texts = counted(erased.benchmark_texts + erased.superseded_texts, "text")
    return f"{', '.join(parts)} and {texts} of benchmark sets"


def counted(number: int, what: str) -> str:
    """Return a number with its noun, such as `1 score` or `1,000 scores`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"
