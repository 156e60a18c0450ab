"""Which reviews a run has to look at, in chunks: the new ones, the changed ones, or all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from sqlalchemy import ColumnElement, and_, true

from review_scoring.job import Rescore
from review_scoring.reviews import RejectReason, Review, canonical_id, canonical_time, text_hash
from review_scoring.warehouse.ledger.chunk import Chunk, Recorded
from review_scoring.warehouse.ledger.ledger import Ledger
from review_scoring.warehouse.source.review_source import EVERYTHING, KeyRange, NativeId, ReviewSource, SourceRow

ID_PAGE_ROWS = 10_000
"""Ids that are compared with the ledger at once; they are small, unlike texts."""


@dataclass(frozen=True)
class TimeRange:
    """From `since` on and before `until`, both aware; None leaves that end open."""

    since: datetime | None = None
    until: datetime | None = None

    def __contains__(self, moment: datetime) -> bool:
        after = self.since is None or moment >= self.since
        return after and (self.until is None or moment < self.until)

    def as_json(self) -> dict[str, str | None]:
        """Return plain values."""
        return {name: end and end.isoformat() for name, end in vars(self).items()}

    @classmethod
    def from_json(cls, values: Mapping[str, str | None]) -> TimeRange:
        """Read what :meth:`as_json` made."""
        return cls(**{name: None if end is None else datetime.fromisoformat(end) for name, end in values.items()})


@dataclass
class Candidates:
    """One pass over a source. `unrecordable` counts, by reason, the rows met so far whose ids no key can hold.

    :param ledger: None for a job that has nothing recorded yet
    :param keys: only ids in this range
    :param within: only rows that meet this condition; NULL ids are counted by a pass over everything alone
    :param limit: the most reviews that are scored or rejected; None for all
    :param these_runs: reviews recorded by these runs are done, whatever `rescore` says
    :param scored: only reviews that were scored, or first rejected, in this time
    :param revision: model and revision that `Rescore.REVISION` compares with
    """

    source: ReviewSource
    ledger: Ledger | None
    rescore: Rescore = Rescore.NOTHING
    chunk_rows: int = 1000
    limit: int | None = None
    keys: KeyRange = EVERYTHING
    within: ColumnElement[bool] | None = None
    these_runs: Collection[int] = ()
    scored: TimeRange | None = None
    revision: tuple[str, str] | None = None
    unrecordable: Counter[str] = field(default_factory=Counter)

    def chunks(self) -> Iterator[Chunk]:
        """Yield the candidates in the source's order, `chunk_rows` at a time.

        All of them: `limit` holds for those that are scored or rejected, and of changed texts only the hash tells.
        """
        everything = self.keys.after is None and self.within is None and self.scored is None
        if everything and (nulls := self.source.null_ids()):
            self.unrecordable[RejectReason.NULL_ID] = nulls
        yield from self._new() or self._compared()

    def count(self) -> int:
        """Return how many reviews wait, without reading their texts; changed texts are counted before their hash."""
        if (condition := self.condition()) is not None:
            waiting = self.source.count(condition, self.keys)
        else:
            aside = replace(self, unrecordable=Counter())  # the pass that scores counts those rows itself
            waiting = sum(len(wanted) for wanted in aside.wanted())
        return waiting if self.limit is None else min(waiting, self.limit)

    def _new(self) -> Iterator[Chunk] | None:
        """Let the database leave out what is recorded, if source and ledger are in the same one; else None."""
        condition = self.condition()
        if condition is None:
            return None
        pages = self.source.pages(self.chunk_rows, texts=True, where=condition, keys=self.keys)
        return (self._chunk([(row, self._canonical(row)) for row in page], {}) for page in pages)

    def condition(self) -> ColumnElement[bool] | None:
        """Return the SQL condition that a row of the source is a candidate, if there can be one."""
        if self.rescore is not Rescore.NOTHING:
            return None
        within = true() if self.within is None else self.within
        if self.ledger is None:
            return within
        id_as_text = self.source.id_as_text(self.ledger.engine)
        return None if id_as_text is None else and_(within, self.ledger.not_recorded(id_as_text))

    def _compared(self) -> Iterator[Chunk]:
        """Compare pages of ids with the ledger, and fetch the texts of those that are wanted."""
        wanted: dict[NativeId, Recorded | None] = {}
        for more in self.wanted():
            wanted.update(more)
            while len(wanted) >= self.chunk_rows:
                yield self._fetched({id_: wanted.pop(id_) for id_ in list(wanted)[: self.chunk_rows]})
        if wanted:
            yield self._fetched(wanted)

    def wanted(self) -> Iterator[dict[NativeId, Recorded | None]]:
        """Yield, page by page, the ids that are to be looked at, with what is recorded of them."""
        for page in self.source.pages(ID_PAGE_ROWS, texts=False, where=self.within, keys=self.keys):
            rows: dict[str, list[SourceRow]] = {}
            for row in page:
                if (review_id := self._canonical(row)) is not None:
                    rows.setdefault(review_id, []).append(row)
            recorded = self.ledger.recorded(list(rows)) if self.ledger else {}
            yield {
                same[0].id: recorded.get(review_id)
                for review_id, same in rows.items()
                if self._is_wanted(same, recorded.get(review_id))
            }

    def _is_wanted(self, rows: Sequence[SourceRow], recorded: Recorded | None) -> bool:
        """Say whether a review is to be looked at, of which the source has these rows."""
        if recorded is None:
            return self.scored is None
        if recorded.run_id in self.these_runs or (self.scored is not None and recorded.at not in self.scored):
            return False
        if self.rescore is Rescore.REVISION:
            return (recorded.model, recorded.revision) != self.revision
        if self.rescore is Rescore.CHANGED and self.source.updated_at is not None:
            times = [canonical_time(row.updated_at) for row in rows]  # without a time, only the text's hash tells
            return any(time is None or time != recorded.updated_at for time in times)
        return self.rescore is not Rescore.NOTHING

    def _fetched(self, wanted: dict[NativeId, Recorded | None]) -> Chunk:
        order = {id_: n for n, id_ in enumerate(wanted)}
        rows = sorted((row for row in self.source.reviews(list(wanted)) if row.id in order), key=lambda r: order[r.id])
        recorded = {canonical_id(id_): known for id_, known in wanted.items() if known is not None}
        return self._chunk([(row, canonical_id(row.id)) for row in rows], recorded)

    def _canonical(self, row: SourceRow) -> str | None:
        review_id = canonical_id(row.id)
        if review_id is None:
            self.unrecordable[RejectReason.UNUSABLE_ID] += 1
        return review_id

    def _chunk(self, rows: Sequence[tuple[SourceRow, str | None]], recorded: Mapping[str | None, Recorded]) -> Chunk:
        """Make a chunk of rows and their canonical ids.

        Of rows with the same id, the one whose text has the smallest hash is the review: a database gives them in any
        order, and a rerun has to choose the same one.
        """
        reviews: dict[str, Review] = {}
        repeats: Counter[str] = Counter()
        uneven: set[str] = set()
        for row, review_id in rows:
            if review_id is None:
                continue
            before, review = reviews.get(review_id), self.source.review(row, review_id)
            if before is not None:
                repeats[review_id] += 1
                if before.updated_at != review.updated_at:
                    uneven.add(review_id)
            if before is None or text_hash(review.text) < text_hash(before.text):
                reviews[review_id] = review
        return Chunk(list(reviews.values()), repeats, recorded, frozenset(uneven))
