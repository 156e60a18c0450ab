"""Candidates: finds the reviews of a run (new, changed or rescored), and picks one of several rows with the same id."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from itertools import islice
from typing import TypeAlias

from sqlalchemy import ColumnElement, true

from review_scoring.job import Rescore
from review_scoring.request import NativeId, RunRequest
from review_scoring.reviews import RejectReason, Review, canonical_id, canonical_time, text_hash
from review_scoring.warehouse.dialects import dialect_of
from review_scoring.warehouse.ledger.chunk import Chunk, Recorded
from review_scoring.warehouse.ledger.ledger import Ledger
from review_scoring.warehouse.source.review_source import ReviewSource
from review_scoring.warehouse.source.rows import SourceRow, parse_id
from review_scoring.warehouse.source.stretches import WHOLE, Position, ReadTo, Stretch

Wanted: TypeAlias = dict[NativeId, tuple[Position, Recorded | None]]
"""Ids of reviews that are to be looked at, with where they stand, and what is recorded of them."""


@dataclass(frozen=True)
class Candidates:
    """The reviews of a source that a run, or one shard of it, looks at.

    :param ledger: None for a job without any records
    :param request: what the run is asked to do; its selection is what this task works on
    :param stretches: the rows of the source that are looked at, one after the other
    :param counts_null_ids: whether rows without an id are counted
    :param limit: the most reviews that are scored or rejected; None for all
    :param done_by: ids of shards whose reviews are done, whatever is rescored
    """

    source: ReviewSource
    ledger: Ledger | None
    request: RunRequest
    stretches: tuple[Stretch, ...] = (WHOLE,)
    counts_null_ids: bool = True
    limit: int | None = None
    done_by: frozenset[int] = frozenset()

    def chunks(self) -> Iterator[Chunk]:
        """Yield the candidates in the source's order, `chunk_rows` at a time.

        All of them: `limit` holds for those that are scored or rejected, and only the hash shows whether a text has
        changed. The last chunk may have no reviews, and only a count of rows whose ids no key can hold.
        """
        unkeyed: Counter[str] = Counter()
        if self.counts_null_ids and (nulls := self.source.null_ids()):
            unkeyed[RejectReason.NULL_ID] = nulls
        for index, stretch in enumerate(self.stretches):
            for chunk, last in self._chunks_of(stretch, unkeyed):
                yield replace(chunk, unkeyed=dict(unkeyed), read_to=_read_to(index, last))
                unkeyed.clear()
        if unkeyed:
            yield Chunk([], unkeyed=dict(unkeyed))

    def count(self) -> int:
        """Return how many reviews wait, without reading texts: reviews that may have changed are counted."""
        waiting = sum(self.counts())
        return waiting if self.limit is None else min(waiting, self.limit)

    def counts(self) -> Iterator[int]:
        """Yield, part by part, how many reviews wait, whatever the limit."""
        keys = self.request.selection.keys
        for stretch in self.stretches:
            if (condition := self.condition(stretch)) is None:
                yield from (len(wanted) for wanted in self.wanted(stretch))
            else:
                yield from self.source.by_windows(partial(self.source.count, condition, keys), stretch, keys)

    def condition(self, stretch: Stretch) -> ColumnElement[bool] | None:
        """Return the SQL condition that a row of a stretch is a candidate, if there can be one."""
        if self.request.selection.is_rescore or stretch.changed:
            return None
        if self.ledger is None:  # a warehouse is read by its large pages of ids all the same
            return None if dialect_of(self.source.engine).text_rows else true()
        id_as_text = self.source.id_as_text(self.ledger.engine)
        return None if id_as_text is None else self.ledger.records.missing(id_as_text)

    def wanted(self, stretch: Stretch, unkeyed: Counter[str] | None = None) -> Iterator[Wanted]:
        """Yield, page by page, the ids that are to be looked at, with what is recorded of them.

        :param unkeyed: counts the rows whose ids no key can hold
        """
        if stretch.of_rejects:
            yield from self._rejects(stretch)
            return
        keys, rows_of_page = self.request.selection.keys, dialect_of(self.source.engine).id_page_rows
        for page in self.source.pages(rows_of_page, texts=False, keys=keys, stretch=stretch):
            rows: dict[str, list[SourceRow]] = {}
            for row, review_id in _with_canonical_ids(page.rows, unkeyed):
                rows.setdefault(review_id, []).append(row)
            recorded = self.ledger.records.of(list(rows)) if self.ledger else {}
            yield {
                same[0].id: (stretch.position(same[0]), recorded.get(review_id))
                for review_id, same in rows.items()
                if self._is_wanted(same, recorded.get(review_id), stretch)
            }

    def _rejects(self, stretch: Stretch) -> Iterator[Wanted]:
        """Yield the rejects of a stretch, without a look at the source."""
        after, upto = (None if end is None else canonical_id(end.id) for end in (stretch.after, stretch.upto))
        if self.ledger is None:
            return
        rows_of_page = dialect_of(self.ledger.engine).id_page_rows
        while True:
            page = self.ledger.records.rejects(rows_of_page, self.request.selection.reject_reason, after, upto)
            native = {review_id: parse_id(review_id, self.source.id_type) for review_id in page}
            yield {
                native[review_id]: (Position(native[review_id]), recorded)
                for review_id, recorded in page.items()
                if self._is_wanted([], recorded, stretch)
            }
            if len(page) < rows_of_page:
                return
            after = list(page)[-1]

    def _chunks_of(self, stretch: Stretch, unkeyed: Counter[str]) -> Iterator[tuple[Chunk, Position | None]]:
        """Yield the chunks of a stretch, each with the position of the last row that was looked at for it."""
        counted = None if stretch.changed else unkeyed  # otherwise both stretches of a row would count it
        condition = self.condition(stretch)
        return self._compared(stretch, counted) if condition is None else self._new(condition, stretch, unkeyed)

    def _new(
        self, condition: ColumnElement[bool], stretch: Stretch, unkeyed: Counter[str]
    ) -> Iterator[tuple[Chunk, Position | None]]:
        """Have the database leave out recorded reviews: source and ledger are in the same one."""
        keys, rows = self.request.selection.keys, self.request.chunk_rows
        for page in self.source.pages(rows, texts=True, where=condition, keys=keys, stretch=stretch):
            yield self._chunk(_with_canonical_ids(page.rows, unkeyed), {}), page.last

    def _compared(self, stretch: Stretch, unkeyed: Counter[str] | None) -> Iterator[tuple[Chunk, Position | None]]:
        """Compare pages of ids with the ledger, and fetch the texts of those that are wanted: some chunks at a time."""
        wanted: Wanted = {}
        most = dialect_of(self.source.engine).text_rows
        rows = max(self.request.chunk_rows, most if self.limit is None else min(most, self.limit))
        for more in self.wanted(stretch, unkeyed):
            wanted.update(more)
            while len(wanted) >= rows:
                yield from self._fetched({id_: wanted.pop(id_) for id_ in list(islice(wanted, rows))}, stretch)
        if wanted:
            yield from self._fetched(wanted, stretch)

    def _is_wanted(self, rows: Sequence[SourceRow], recorded: Recorded | None, stretch: Stretch) -> bool:
        """Return whether the run looks at a review, of which the source has these rows."""
        selection = self.request.selection
        rescore = Rescore.CHANGED if stretch.changed else selection.rescore
        if recorded is None:
            return rescore is Rescore.NOTHING
        if recorded.shard_id in self.done_by or (selection.scored is not None and recorded.at not in selection.scored):
            return False
        if rescore is Rescore.REVISION:
            return (recorded.model, recorded.revision) != (self.request.model, self.request.revision)
        if stretch.changed:  # rows without a time would use up the budget of every run
            return any(canonical_time(row.updated_at) != recorded.updated_at for row in rows)
        if rescore is Rescore.CHANGED and self.source.updated_at is not None:
            times = [
                canonical_time(row.updated_at) for row in rows
            ]  # without a time, only the text's hash shows a change
            return any(time is None or time != recorded.updated_at for time in times)
        return rescore is not Rescore.NOTHING

    def _fetched(self, wanted: Wanted, stretch: Stretch) -> Iterator[tuple[Chunk, Position]]:
        """Fetch the texts of reviews, and yield them in chunks.

        A warehouse has no index on ids, and would read the texts of all rows: the range of the cursor tells it which
        partitions may have them. Of rows with the same id, those in that range count, as for the page of ids.
        """
        found: dict[NativeId, list[SourceRow]] = {}
        is_in_partitions = dialect_of(self.source.engine).text_rows and not (stretch.changed or stretch.of_rejects)
        within = stretch.unbounded if is_in_partitions else WHOLE
        for row in self.source.reviews(list(wanted), within):
            found.setdefault(row.id, []).append(row)
        for start in range(0, len(wanted), self.request.chunk_rows):
            ids = list(islice(wanted, start, start + self.request.chunk_rows))
            rows = [row for id_ in ids for row in found.pop(id_, [])]
            recorded = {canonical_id(id_): known for id_ in ids if (known := wanted[id_][1]) is not None}
            last, _ = wanted[ids[-1]]
            yield self._chunk(_with_canonical_ids(rows, None), recorded), last

    def _chunk(self, rows: Sequence[tuple[SourceRow, str]], recorded: Mapping[str | None, Recorded]) -> Chunk:
        """Make a chunk of rows and their canonical ids.

        Of rows with the same id, the one whose text has the smallest hash is scored: a database returns them in any
        order, and a rerun has to choose the same one.
        """
        reviews: dict[str, Review] = {}
        repeats: Counter[str] = Counter()
        uneven: set[str] = set()
        for row, review_id in rows:
            before, review = reviews.get(review_id), self.source.review(row, review_id)
            if before is not None:
                repeats[review_id] += 1
                if before.updated_at != review.updated_at:
                    uneven.add(review_id)
            if before is None or text_hash(review.text) < text_hash(before.text):
                reviews[review_id] = review
        return Chunk(list(reviews.values()), repeats, recorded, frozenset(uneven))


def _read_to(stretch: int, last: Position | None) -> ReadTo | None:
    """Return how far a chunk reads; None where that cannot be kept: SQLite has values of any type in a column."""
    if last is None or not isinstance(last.value, int | datetime | None):
        return None
    return ReadTo(stretch, last.value)


def _with_canonical_ids(rows: Sequence[SourceRow], unkeyed: Counter[str] | None) -> list[tuple[SourceRow, str]]:
    """Return the rows with their canonical ids, without those that have none, which are counted."""
    pairs = [(row, canonical_id(row.id)) for row in rows]
    keyed = [(row, review_id) for row, review_id in pairs if review_id is not None]
    if unkeyed is not None and len(keyed) < len(pairs):
        unkeyed[RejectReason.UNUSABLE_ID] += len(pairs) - len(keyed)
    return keyed
