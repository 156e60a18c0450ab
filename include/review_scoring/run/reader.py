"""Read the next chunk and prepare it, in a thread, while the last one is classified."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any, Protocol

from review_scoring.concurrency.background_thread import BackgroundThread
from review_scoring.concurrency.cancellation import StopFlag
from review_scoring.job import Rescore
from review_scoring.reviews import Prediction, Reject, Review, screen, text_hash
from review_scoring.warehouse.ledger.chunk import Chunk, Outcome


class TextClassifier(Protocol):
    """What the loop needs of a classifier; `inference.classifier.Classifier` is the real one."""

    @property
    def device(self) -> object:
        """What classifies, as `str` tells it."""

    def prepare(self, texts: Sequence[str], *, between_slices: Callable[[], None] = ...) -> Any:
        """Do for texts what can be done while others are classified, in another thread."""

    def token_counts(self, prepared: Any) -> Sequence[int]:
        """Return how many tokens each of the prepared texts has, as far as they are known: the first ones'."""

    def classify(self, prepared: Any, *, between_batches: Callable[[int], None] = ...) -> list[Prediction | Reject]:
        """Return one result for each text that was prepared, in their order."""


@dataclass(frozen=True)
class ReadyChunk:
    """A chunk whose texts wait for the model alone.

    `waiting` are reviews with the hashes of their texts, `prepared` what the classifier made of these texts, and
    `tokens` how long the first of them are; `rejects` have no text that can be classified; `unchanged` have the text
    that was scored already. Of `chunk`, all reviews are in one of the three.
    """

    chunk: Chunk
    waiting: Sequence[tuple[Review, str]]
    prepared: Any
    tokens: Sequence[int]
    rejects: Sequence[Outcome]
    unchanged: Sequence[Review]


class ReadAhead:
    """The chunks of a run, each read, screened, hashed and tokenised while the one before it is classified.

    :param classifier: called for the first text, in the thread; loads the model
    :param limit: the most reviews that are scored or rejected; None for all
    :param rescore: whether a review whose text is the one that was scored is left out
    :param stop: looked at while texts are prepared
    """

    def __init__(
        self,
        chunks: Iterator[Chunk],
        classifier: Callable[[], TextClassifier],
        rescore: Rescore,
        stop: StopFlag,
        limit: int | None = None,
    ) -> None:
        self._chunks = chunks
        self._classifier = classifier
        self._rescore = rescore
        self._stop = stop
        self._left = limit
        self._thread = BackgroundThread("read")

    def next(self) -> Future[ReadyChunk | None]:
        """Begin with the next chunk; None comes behind the last."""
        return self._thread.submit(self._read)

    def close(self) -> None:
        """End the thread, as soon as what it is at is done."""
        self._thread.close()

    def _read(self) -> ReadyChunk | None:
        chunk = None if self._left == 0 else next(self._chunks, None)
        return None if chunk is None else self._ready(chunk)

    def _ready(self, chunk: Chunk) -> ReadyChunk:
        rejects: list[Outcome] = []
        unchanged: list[Review] = []
        waiting: list[tuple[Review, str]] = []
        taken = 0
        for review in chunk.reviews:
            if self._left is not None and len(rejects) + len(waiting) == self._left:
                break
            taken += 1
            digest = text_hash(review.text)
            known = chunk.recorded.get(review.id)
            if self._rescore is Rescore.CHANGED and known is not None and known.text_hash == digest:
                unchanged.append(review)
            elif (reject := screen(review.text)) is not None:
                rejects.append(Outcome(review, digest, reject))
            else:
                waiting.append((review, digest))
        if self._left is not None:
            self._left -= len(rejects) + len(waiting)
        chunk = replace(chunk, reviews=chunk.reviews[:taken])
        prepared = None
        tokens: Sequence[int] = ()
        if waiting:
            texts = [str(review.text) for review, _ in waiting]
            classifier = self._classifier()
            prepared = classifier.prepare(texts, between_slices=self._stop.check)
            tokens = classifier.token_counts(prepared)
        return ReadyChunk(chunk, waiting, prepared, tokens, rejects, unchanged)
