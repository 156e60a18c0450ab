"""Reconciles the ledger with the source: finds what is recorded of reviews that left the source, and erases it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import floor
from typing import Any

from review_scoring.errors import ErasureRefusedError
from review_scoring.job import OnDelete
from review_scoring.run.recorded_job import RecordedJob
from review_scoring.run.report import counted, stored_parts
from review_scoring.warehouse.erasure import Erased, ErasureRequest

PAGE_ROWS = 10_000
"""Recorded ids that are looked up in the source at once."""


@dataclass(frozen=True, kw_only=True)
class ReconcileReport:
    """What a reconciliation found and did.

    :param recorded: reviews that have a score or a reject
    :param found: what is stored of those that are not in the source any more, and superseded texts of benchmark sets
    :param erased: what was erased by all tries of the run, of which earlier ones may have found more; None if nothing
        was to be
    """

    job: str
    recorded: int
    found: Erased
    erased: Erased | None = None

    @property
    def deleted(self) -> int:
        """How many recorded reviews are not in the source any more."""
        return self.found.reviews

    @property
    def share(self) -> float:
        """Their share of the recorded reviews."""
        return self.deleted / self.recorded if self.recorded else 0.0

    def as_xcom(self) -> dict[str, Any]:
        """Return plain values for XCom, with the paragraph."""
        return {
            "job": self.job,
            "recorded": self.recorded,
            "deleted": self.deleted,
            "found": vars(self.found),
            "erased": None if self.erased is None else vars(self.erased),
            "paragraph": self.paragraph,
        }

    @property
    def line(self) -> str:
        """The report in one line."""
        erased = 0 if self.erased is None else self.erased.reviews
        return f"recorded={self.recorded} deleted={self.deleted} {self.found} erased={erased}"

    @property
    def paragraph(self) -> str:
        """The report for people. It has numbers and names, never a review."""
        words = [
            f"{self.job}: {self.deleted:,} of {counted(self.recorded, 'recorded review')} ({self.share:.1%}) are no "
            "longer in the source."
        ]
        if self.found.superseded_texts:
            texts = counted(self.found.superseded_texts, "text")
            words.append(f"{texts} of benchmark sets are only in earlier versions of them.")
        words.append("Nothing was erased." if self.erased is None else f"Erased: {stored_parts(self.erased)}.")
        return " ".join(words)


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
    before = erasure.erased_in(request.erased_in).reviews
    limit = floor(Fraction(str(max_share)) * (report.recorded + before))
    _refuse(recorded, report, before, limit, max_share)
    _erase(recorded, request, limit - before)
    erasure.erase_superseded(request)
    return replace(report, erased=erasure.erased_in(request.erased_in))


def _found(recorded: RecordedJob) -> ReconcileReport:
    total, found = 0, recorded.erasure.find_superseded()
    for page, missing in _pages(recorded):
        total += len(page)
        found += recorded.erasure.find(missing)
    return ReconcileReport(job=recorded.job.name, recorded=total, found=found)


def _refuse(recorded: RecordedJob, report: ReconcileReport, before: int, limit: int, max_share: float) -> None:
    """Refuse an erasure that looks like a mistake.

    :param before: reviews that earlier tries have erased
    :param limit: the most that all tries may erase
    """
    if not report.deleted:
        return
    if recorded.source.is_empty():
        raise ErasureRefusedError(
            f"{recorded.source.name} has no reviews, so nothing was erased: a load may have failed or be in progress. "
            "To erase reviews of an empty source, name their ids to `review-scoring forget`"
        )
    if before + report.deleted > limit:
        earlier = f", and {counted(before, 'review')} were erased by earlier tries of this run" if before else ""
        raise ErasureRefusedError(
            f"{report.deleted:,} of {counted(report.recorded, 'recorded review')} ({report.share:.1%}) are no longer "
            f"in {recorded.source.name}{earlier}: more than the limit of {max_share:.1%}, so nothing was erased. If "
            "they were deleted on purpose, trigger the DAG with a higher limit (max_deleted_share)"
        )


def _erase(recorded: RecordedJob, request: ErasureRequest, allowed: int) -> None:
    """Erase what left the source, at most so many reviews: it may have been emptied since they were counted."""
    for _, missing in _pages(recorded):
        if missing and (len(missing) > allowed or recorded.source.is_empty()):
            done = recorded.erasure.erased_in(request.erased_in)
            raise ErasureRefusedError(
                f"while reviews were being erased, more of them left {recorded.source.name} than the limit allows; it "
                f"may be loaded again at this moment. This run has erased {stored_parts(done)}. The next run that "
                "reads all rows scores again what was erased by mistake; run the reconciliation when the load has ended"
            )
        recorded.erasure.erase(missing, request)
        allowed -= len(missing)


def _pages(recorded: RecordedJob) -> Iterator[tuple[Sequence[str], Sequence[str]]]:
    """Yield the ids of recorded reviews in pages, each with those that are not in the source."""
    for page in recorded.ledger.records.pages(PAGE_ROWS):
        recorded.stop.check()
        existing = recorded.source.existing(page)
        yield page, [review_id for review_id in page if review_id not in existing]
