"""Reads, screens and tokenises the next chunk in a thread, while the last one is classified."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any

from review_scoring.concurrency.background_thread import BackgroundThread, wait_for
from review_scoring.concurrency.cancellation import StopFlag
from review_scoring.job import Rescore
from review_scoring.request import MAX_CHUNK_ROWS
from review_scoring.reviews import Review, screen, text_hash
from review_scoring.run.classifier import LazyClassifier
from review_scoring.warehouse.ledger.chunk import Chunk, Outcome
from review_scoring.warehouse.selection.candidates import Candidates

IDS_ON_THEIR_WAY = 5 * MAX_CHUNK_ROWS
"""Ids that are remembered: of the chunks that may not be committed yet, and of those that were looked up with them."""


@dataclass(frozen=True)
class ReadyChunk:
    """A chunk whose texts wait for the model alone. Each review of `chunk` is in one of the last three.

    :param prepared: the texts of `waiting`, as the classifier prepared them
    :param tokens: how many tokens the first of these texts have
    :param waiting: reviews to classify, with the hashes of their texts
    :param rejects: reviews whose texts cannot be classified
    :param unchanged: reviews whose text is the one that was scored
    """

    chunk: Chunk
    prepared: Any
    tokens: Sequence[int]
    waiting: Sequence[tuple[Review, bytes]]
    rejects: Sequence[Outcome]
    unchanged: Sequence[Review]


class Reader:
    """The chunks of a run. While one is worked on, a thread reads and prepares the next.

    `ended_at_limit` is set if reviews were left when the limit was used up.

    :param candidates: what to read, with the most reviews that are scored or rejected
    :param classifier: loaded for the first text, in the thread
    :param stop: checked while texts are prepared
    """

    def __init__(self, candidates: Candidates, classifier: LazyClassifier, stop: StopFlag) -> None:
        self._chunks = candidates.chunks()
        self._keeps_unchanged = candidates.request.selection.rescore in {Rescore.NOTHING, Rescore.CHANGED}
        self._left = candidates.limit
        self._in_order = any(stretch.by_cursor for stretch in candidates.stretches)
        self._on_their_way: deque[str] = deque(maxlen=IDS_ON_THEIR_WAY)
        self._met: set[str] = set()
        self.ended_at_limit = False
        self._classifier = classifier
        self._stop = stop
        self._thread = BackgroundThread("read")

    def __iter__(self) -> Iterator[ReadyChunk]:
        """Yield the chunks.

        :raises ScoringInterruptedError: if the run is cancelled
        """
        reading = self._next()
        while (ready := wait_for(reading, self._stop)) is not None:
            reading = self._next()
            if ready.chunk.reviews or ready.chunk.unkeyed:
                yield ready

    def close(self) -> None:
        """End the thread as soon as its current work is done."""
        self._thread.close()

    def _next(self) -> Future[ReadyChunk | None]:
        return self._thread.submit(self._read)

    def _read(self) -> ReadyChunk | None:
        if self._left == 0:
            self._note_what_is_left()
            return None
        chunk = next(self._chunks, None)
        return None if chunk is None else self._ready(self._without_those_met(chunk))

    def _note_what_is_left(self) -> None:
        """Find out whether planned reviews are left: others that came late have taken their places."""
        if self._in_order and not self.ended_at_limit:
            more = next(self._chunks, None)
            self.ended_at_limit = more is not None and bool(more.reviews)

    def _without_those_met(self, chunk: Chunk) -> Chunk:
        """Leave out reviews that were read shortly before: their cursor has changed, and they stand elsewhere now.

        What is committed is not read again, but the last chunks are still on their way.
        """
        if not self._in_order:
            return chunk
        reviews = [review for review in chunk.reviews if review.id not in self._met]
        for review in reviews:
            if len(self._on_their_way) == IDS_ON_THEIR_WAY:
                self._met.discard(self._on_their_way[0])
            self._on_their_way.append(review.id)
            self._met.add(review.id)
        return replace(chunk, reviews=reviews)

    def _ready(self, chunk: Chunk) -> ReadyChunk:
        rejects: list[Outcome] = []
        unchanged: list[Review] = []
        waiting: list[tuple[Review, bytes]] = []
        taken = 0
        for review in chunk.reviews:
            if self._left is not None and len(rejects) + len(waiting) == self._left:
                self.ended_at_limit = True
                break
            taken += 1
            digest = text_hash(review.text)
            known = chunk.recorded.get(review.id)
            if self._keeps_unchanged and known is not None and known.text_hash == digest:
                unchanged.append(review)
            elif (reject := screen(review.text)) is not None:
                rejects.append(Outcome(review, digest, reject))
            else:
                waiting.append((review, digest))
        if self._left is not None:
            self._left -= len(rejects) + len(waiting)
        prepared, tokens = self._prepared([str(review.text) for review, _ in waiting])
        if taken < len(chunk.reviews):
            chunk = replace(chunk, reviews=chunk.reviews[:taken], read_to=None)
        return ReadyChunk(chunk, prepared, tokens, waiting, rejects, unchanged)

    def _prepared(self, texts: Sequence[str]) -> tuple[Any, Sequence[int]]:
        if not texts:
            return None, ()
        classifier = self._classifier.get()
        prepared = classifier.prepare(texts, between_slices=self._stop.check)
        return prepared, classifier.token_counts(prepared)
