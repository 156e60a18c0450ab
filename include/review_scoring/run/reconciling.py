"""Reconciles the ledger with the source: finds what is recorded of reviews that left the source, and erases it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from review_scoring.errors import ErasureRefusedError
from review_scoring.job import OnDelete
from review_scoring.run.recorded_job import RecordedJob
from review_scoring.warehouse.erasure import Erased, ErasureRequest

PAGE_ROWS = 10_000
"""Recorded ids that are looked up in the source at once."""


@dataclass(frozen=True, kw_only=True)
class ReconcileReport:
    """What a reconciliation found and did.

    :param recorded: reviews that had a score or a reject
    :param deleted: those of them that are not in the source any more, and what is stored of them
    :param superseded_texts: texts of benchmark sets that are only in an earlier content of the set
    :param erased: what was erased, by all tries; None if nothing was to be
    """

    job: str
    recorded: int
    deleted: Erased
    superseded_texts: int
    erased: Erased | None = None

    @property
    def share(self) -> float:
        """Share of the recorded reviews that are not in the source any more."""
        return self.deleted.reviews / self.recorded if self.recorded else 0.0

    def as_xcom(self) -> dict[str, Any]:
        """Return plain values for XCom, with the paragraph."""
        return {
            "job": self.job,
            "recorded": self.recorded,
            "deleted": self.deleted.reviews,
            **vars(self.deleted),
            "superseded_texts": self.superseded_texts,
            "erased": None if self.erased is None else vars(self.erased),
            "paragraph": self.paragraph,
        }

    @property
    def line(self) -> str:
        """The report in one line."""
        found = f"recorded={self.recorded} deleted={self.deleted.reviews} {self.deleted}"
        erased = 0 if self.erased is None else self.erased.reviews
        return f"{found} superseded_texts={self.superseded_texts} erased={erased}"

    @property
    def paragraph(self) -> str:
        """The report for people. It has numbers and names, never a review."""
        deleted = self.deleted
        found = (
            f"{self.job}: of {self.recorded:,} reviews with a score or a reject, {deleted.reviews:,} are no longer in "
            f"the source ({self.share:.1%}), and {deleted.benchmark_texts + self.superseded_texts:,} texts of "
            "benchmark sets."
        )
        if self.erased is None:
            return f"{found} Nothing was erased."
        erased = self.erased
        return (
            f"{found} Erased: {erased.scores:,} scores, {erased.rejects:,} rejects and {erased.benchmark_texts:,} "
            "texts of benchmark sets."
        )


def reconcile(
    recorded: RecordedJob, request: ErasureRequest, *, on_delete: OnDelete, max_share: float, dry_run: bool = False
) -> ReconcileReport:
    """Find what is recorded of reviews that left the source, and erase it if so asked.

    Everything is found before anything is erased.

    :param max_share: nothing is erased if a larger share of the recorded reviews has left the source
    :param dry_run: erase nothing
    :raises ErasureRefusedError: if the source has no reviews, or lacks more than this share
    """
    erasure = recorded.erasure
    report = _found(recorded)
    if dry_run or on_delete is OnDelete.KEEP:
        return report
    before = erasure.erased_in(request.erased_in)
    limit = int(max_share * (report.recorded + before.scores + before.rejects))
    _refuse(recorded, report, before.scores + before.rejects, limit, max_share)
    _erase(recorded, request, limit - before.scores - before.rejects)
    erasure.erase_superseded(request)
    return ReconcileReport(**{**vars(report), "erased": erasure.erased_in(request.erased_in)})


def _found(recorded: RecordedJob) -> ReconcileReport:
    total, deleted = 0, Erased()
    for page, missing in _pages(recorded):
        total += len(page)
        deleted += recorded.erasure.find(missing)
    superseded = recorded.erasure.find_superseded()
    return ReconcileReport(job=recorded.job.name, recorded=total, deleted=deleted, superseded_texts=superseded)


def _refuse(recorded: RecordedJob, report: ReconcileReport, before: int, limit: int, max_share: float) -> None:
    deleted = report.deleted.reviews
    if not deleted:
        return
    if recorded.source.is_empty():
        raise ErasureRefusedError(
            f"{recorded.source.name} has no reviews, so nothing was erased: a load may have failed or be in progress. "
            "To erase reviews of an empty source, name their ids to `review-scoring forget`"
        )
    if before + deleted > limit:
        raise ErasureRefusedError(
            f"{deleted:,} of {report.recorded:,} reviews with a score or a reject ({report.share:.1%}) are no longer "
            f"in {recorded.source.name}, more than the limit of {max_share:.1%}, so nothing was erased. If they were "
            "deleted on purpose, trigger the DAG with a higher limit (max_deleted_share)"
        )


def _erase(recorded: RecordedJob, request: ErasureRequest, most: int) -> None:
    """Erase what left the source, at most so many reviews: it may have been emptied since they were counted."""
    for _, missing in _pages(recorded):
        if missing and (len(missing) > most or recorded.source.is_empty()):
            raise ErasureRefusedError(
                f"while reviews were being erased, more of them left {recorded.source.name} than the limit allows; it "
                "may be loaded again at this moment. What was erased by mistake is scored again by the next run; run "
                "the reconciliation when the load has ended"
            )
        recorded.erasure.erase(missing, request)
        most -= len(missing)


def _pages(recorded: RecordedJob) -> Iterator[tuple[Sequence[str], Sequence[str]]]:
    """Yield the ids of recorded reviews in pages, each with those that are not in the source."""
    for page in recorded.ledger.records.pages(PAGE_ROWS):
        recorded.stop.check()
        existing = recorded.source.existing(page)
        yield page, [review_id for review_id in page if review_id not in existing]
