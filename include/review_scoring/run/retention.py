"""Retention: removes what the tables keep of old runs and old evaluations, and reports what was removed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from review_scoring.run.report import counted
from review_scoring.settings import FEWEST_RUN_DAYS, as_days
from review_scoring.warehouse.evaluations.benchmark_store import BenchmarkStore
from review_scoring.warehouse.ledger.ledger import Ledger
from review_scoring.warehouse.ledger.old_runs import RemovedRuns


@dataclass(frozen=True, kw_only=True)
class Retention:
    """For how many days after its end something is kept; 0 keeps it for ever.

    :param runs: the records of runs
    :param predictions: the predictions of evaluations
    :raises ConfigurationError: for a number of days that is negative, or too small for the charts and checks
    """

    runs: int = 0
    predictions: int = 0

    def __post_init__(self) -> None:
        """Check the numbers."""
        as_days(self.runs, "keep_runs_days", fewest=FEWEST_RUN_DAYS)
        as_days(self.predictions, "keep_predictions_days")

    def __bool__(self) -> bool:
        return self.runs > 0 or self.predictions > 0


@dataclass(frozen=True, kw_only=True)
class RetentionReport:
    """What retention removed, or would remove.

    :param runs: rows of `scoring_runs`
    :param shards: rows of `scoring_shards`, of these runs
    :param predictions: rows of `benchmark_predictions`, of all evaluations in the tables of the job
    """

    job: str
    retention: Retention
    runs: int
    shards: int
    predictions: int
    is_dry_run: bool = False

    def as_xcom(self) -> dict[str, Any]:
        """Return plain values for XCom, with the paragraph."""
        return {
            "job": self.job,
            "dry_run": self.is_dry_run,
            "keep_runs_days": self.retention.runs,
            "keep_predictions_days": self.retention.predictions,
            "runs": self.runs,
            "shards": self.shards,
            "predictions": self.predictions,
            "paragraph": self.paragraph,
        }

    @property
    def line(self) -> str:
        """The counts in one line, such as `runs=12 shards=48 predictions=1367`."""
        counts = f"runs={self.runs} shards={self.shards} predictions={self.predictions}"
        return f"dry run: {counts}" if self.is_dry_run else counts

    @property
    def paragraph(self) -> str:
        """The report for Slack, mail and the like."""
        parts = []
        if self.retention.runs:
            ended = f"ended more than {self.retention.runs:,} days ago"
            parts.append(f"{counted(self.runs, 'run')} with {counted(self.shards, 'shard')} that {ended}")
        if self.retention.predictions:
            ended = f"ended more than {self.retention.predictions:,} days ago"
            parts.append(f"{counted(self.predictions, 'prediction')} of evaluations that {ended}")
        done = "would be removed. This was a dry run; nothing was removed." if self.is_dry_run else "removed."
        return f"{self.job}: {' and '.join(parts) or 'nothing'} {done}"


def apply_retention(
    ledger: Ledger, store: BenchmarkStore, retention: Retention, *, dry_run: bool = False
) -> RetentionReport:
    """Remove what has been kept for longer than it has to be, and return what was removed.

    May be cancelled and called again at any time: see :meth:`OldRuns.remove` and :mod:`old_predictions`, which say
    what is never removed.

    :param store: the benchmark store in the same tables
    :param dry_run: count, and remove nothing
    :raises ScoringInterruptedError: if it is cancelled
    """
    removed, predictions = RemovedRuns(0, 0), 0
    if retention.runs:
        removed = ledger.old_runs.remove(retention.runs, dry_run=dry_run)
    if retention.predictions:
        predictions = store.remove_old_predictions(retention.predictions, dry_run=dry_run)
    return RetentionReport(
        job=ledger.job.name,
        retention=retention,
        runs=removed.runs,
        shards=removed.shards,
        predictions=predictions,
        is_dry_run=dry_run,
    )
