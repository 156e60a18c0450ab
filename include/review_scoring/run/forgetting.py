"""Erases what is stored of given reviews, at once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from review_scoring.errors import ConfigurationError, ErasureRefusedError
from review_scoring.reviews import canonical_id
from review_scoring.run.recorded_job import RecordedJob
from review_scoring.run.report import counted, stored_parts
from review_scoring.warehouse.erasure import Erased, ErasureRequest
from review_scoring.warehouse.source.rows import parse_id

INTEGER = re.compile(r"-?[0-9]+")
"""What an integer looks like: Python's own `int` takes `1_1` and digits of other scripts as well."""


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
        done = "would be erased" if self.is_dry_run else "erased"
        words = [f"{self.job}: {counted(self.asked, 'id')} given. {stored_parts(self.erased)} {done}."]
        if (nothing := self.asked - self.erased.reviews) > 0:
            words.append(
                f"Nothing was stored under {counted(nothing, 'id')}; ids are compared exactly, with case and blanks."
            )
        return " ".join(words)


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
    :param even_if_in_source: erase them although the source still has them, so that they are scored again
    :raises ConfigurationError: if there are no ids, or some cannot be ids of the source
    :raises ErasureRefusedError: if the source still has some of the reviews; its `ids` are theirs
    """
    ids = _canonical(recorded, entered)
    if not ids:
        raise ConfigurationError("no ids of reviews to erase were given")
    existing = recorded.source.existing(ids)
    if existing and not even_if_in_source:
        raise ErasureRefusedError(
            f"{len(existing):,} of {len(ids):,} given ids still exist in {recorded.source.name}, and would be scored "
            "again. Delete these reviews there first; nothing was erased",
            ids=sorted(existing),
        )
    if not dry_run:
        recorded.erasure.erase(ids, request)
    erased = recorded.erasure.find(ids) if dry_run else recorded.erasure.erased_in(request.erased_in)
    return ForgetReport(job=recorded.job.name, asked=len(ids), erased=erased, is_dry_run=dry_run)


def _canonical(recorded: RecordedJob, entered: Sequence[str]) -> list[str]:
    """Return the canonical ids: `007` is 7 where ids are integers, and UUIDs are lower case.

    An id that does not parse is accepted if it is recorded: the column may have had another type, and SQLite keeps any
    value.
    """
    id_type = recorded.source.id_type
    given = [each if id_type == "string" else each.strip() for each in entered if each.strip()]
    found = {each: _parsed(each, id_type) for each in given}
    odd = [each for each, review_id in found.items() if review_id is None]
    storable = [each for each in odd if canonical_id(each) is not None]
    if wrong := len(odd) - len(recorded.ledger.records.of(storable)):
        raise ConfigurationError(
            f"{wrong:,} of {len(found):,} given ids cannot be ids of {recorded.source.name}, whose ids are of "
            f"type {id_type}; nothing was erased"
        )
    return list(dict.fromkeys(review_id or each for each, review_id in found.items()))


def _parsed(text: str, id_type: str) -> str | None:
    if id_type == "integer" and not INTEGER.fullmatch(text):
        return None
    try:
        return canonical_id(parse_id(text, id_type))
    except ValueError:
        return None
