"""Erases what is stored of given reviews, at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from review_scoring.errors import ConfigurationError, ErasureRefusedError
from review_scoring.reviews import canonical_id
from review_scoring.run.recorded_job import RecordedJob
from review_scoring.warehouse.erasure import Erased, ErasureRequest
from review_scoring.warehouse.source.rows import parse_id

SHOWN = 5
"""Ids that an error lists."""


@dataclass(frozen=True, kw_only=True)
class ForgetReport:
    """What was erased of given reviews.

    :param asked: number of different ids
    :param erased: what was stored of them, in all tries; or, in a dry run, what would be erased
    """

    job: str
    asked: int
    erased: Erased
    is_dry_run: bool = False

    def as_xcom(self) -> dict[str, Any]:
        """Return plain values for XCom, with the paragraph."""
        values = {"job": self.job, "asked": self.asked, "dry_run": self.is_dry_run}
        return {**values, **vars(self.erased), "paragraph": self.paragraph}

    @property
    def paragraph(self) -> str:
        """The report for people. It has no ids."""
        erased = self.erased
        return (
            f"{self.job}: {self.asked:,} {'id' if self.asked == 1 else 'ids'} given; "
            f"{'would erase' if self.is_dry_run else 'erased'} {erased.scores:,} scores, {erased.rejects:,} rejects "
            f"and {erased.benchmark_texts:,} texts of benchmark sets, of {erased.reviews:,} reviews."
        )


def forget(
    recorded: RecordedJob,
    entered: Sequence[str],
    request: ErasureRequest,
    *,
    even_if_in_source: bool = False,
    dry_run: bool = False,
) -> ForgetReport:
    """Erase scores, rejects and texts in benchmark sets of the reviews with these ids.

    :param entered: ids as a person writes them
    :param even_if_in_source: erase them although the source still has them, so that the next run scores them again
    :raises ConfigurationError: if there are no ids, or some cannot be ids of the source
    :raises ErasureRefusedError: if the source still has some of the reviews
    """
    ids = list(dict.fromkeys(_canonical(recorded, entered)))
    if not ids:
        raise ConfigurationError("no ids of reviews to erase were given")
    existing = recorded.source.existing(ids)
    if existing and not even_if_in_source:
        some = ", ".join(sorted(existing)[:SHOWN]) + (", …" if len(existing) > SHOWN else "")
        raise ErasureRefusedError(
            f"{len(existing):,} of {len(ids):,} reviews are still in {recorded.source.name} ({some}), and the next run "
            "would score them again. Delete them there first; nothing was erased"
        )
    if not dry_run:
        recorded.erasure.erase(ids, request)
    erased = recorded.erasure.find(ids) if dry_run else recorded.erasure.erased_in(request.erased_in)
    return ForgetReport(job=recorded.job.name, asked=len(ids), erased=erased, is_dry_run=dry_run)


def _canonical(recorded: RecordedJob, entered: Sequence[str]) -> Iterator[str]:
    """Yield the canonical ids: `007` is 7 where ids are integers, and UUIDs are lower case."""
    id_type, wrong = recorded.source.id_type, 0
    for each in entered:
        text = each if id_type == "string" else each.strip()
        if not text.strip():
            continue
        try:
            found = canonical_id(parse_id(text, id_type))
        except ValueError:
            found = None
        if found is None:
            wrong += 1
        else:
            yield found
    if wrong:
        raise ConfigurationError(
            f"{wrong:,} of the given ids cannot be ids of {recorded.source.name}, whose ids are of type {id_type}; "
            "nothing was erased"
        )
