"""The loop: read, classify, commit. While one chunk is classified, the next is read and the last committed."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol, TypeVar

from review_scoring.errors import ConfigurationError, GaveWayError
from review_scoring.job import Rescore, ScoringJob
from review_scoring.models.folder import ModelFolder
from review_scoring.progress import Progress
from review_scoring.reviews import Prediction, Reject, Review, screen, text_hash
from review_scoring.stop import POLL_S, StopFlag
from review_scoring.warehouse import runs
from review_scoring.warehouse.candidates import Candidates
from review_scoring.warehouse.chunk import Chunk, ChunkResult, Outcome, Recorded
from review_scoring.warehouse.counts import Counts
from review_scoring.warehouse.cursor import Pass, next_pass
from review_scoring.warehouse.ledger import Ledger
from review_scoring.warehouse.runs import Lease, RunKey
from review_scoring.warehouse.shards import Shard
from review_scoring.warehouse.source import EVERYTHING, ReviewSource

log = logging.getLogger(__name__)
T = TypeVar("T")

RENEW_S = 20.0
"""Seconds between two signs of life of a run whose chunk takes long."""

LAST_COMMIT_S = 3.0
"""Seconds that a run which is told to stop gives its last commit."""

MAX_CHUNK_ROWS = 20_000


class TextClassifier(Protocol):
    """What the loop needs of a classifier; `inference.classifier.Classifier` is the real one."""

    @property
    def device(self) -> object:
        """What classifies, as `str` tells it."""

    def classify(
        self, texts: Sequence[str], *, between_batches: Callable[[int], None] = ...
    ) -> list[Prediction | Reject]:
        """Return one result for each text, in their order."""


@dataclass(frozen=True, kw_only=True)
class ScoringOptions:
    """How one run scores.

    :param chunk_rows: reviews that one transaction commits; a worker that dies loses the work on one chunk
    :param limit: score this many reviews at most; None for all that wait
    :param rescore: which reviews that are done already are looked at again
    :param yields: give way, between two chunks, to a run that wants the job and does not yield itself
    :param wait_s: seconds to wait for another run of the same job to end
    """

    chunk_rows: int = 1000
    limit: int | None = None
    rescore: Rescore = Rescore.NOTHING
    yields: bool = False
    wait_s: float = 0.0

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not 1 <= self.chunk_rows <= MAX_CHUNK_ROWS:
            raise ConfigurationError(f"chunk_rows is {self.chunk_rows}; it must be from 1 to {MAX_CHUNK_ROWS}")
        if self.limit is not None and self.limit < 1:
            raise ConfigurationError(f"limit is {self.limit}; it must be at least 1, or None for all")


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """What a run did: its counts over all its tries, and the speed of this one (reviews per second, start to end)."""

    counts: Counts
    run: int
    model: str
    revision: str
    device: str | None
    seconds: float
    reviews_per_second: float


def score_reviews(
    *,
    job: ScoringJob,
    source: ReviewSource,
    ledger: Ledger,
    key: RunKey,
    model: ModelFolder,
    load_classifier: Callable[[], TextClassifier],
    options: ScoringOptions,
    stop: StopFlag,
    shard: Shard | None = None,
) -> RunSummary:
    """Score what waits, and return what was done.

    :param load_classifier: called once, when there is a text to classify
    :param stop: looked at between batches; what was committed stays. A run that fails sets it, to end its threads
    :param shard: the part of the run that is done here; None for all of it
    :raises JobBusyError: if another run holds the job
    :raises ScoringInterruptedError: if told to stop
    """
    started = time.monotonic()
    shard = shard or Shard(limit=options.limit)
    lease = ledger.begin(
        key,
        model.name,
        model.revision,
        keys=shard.keys,
        overlap=source.overlap,
        unchanged_again=options.rescore is Rescore.CHANGED and source.updated_at is None,
        yields=options.yields,
        is_rescore=options.rescore is not Rescore.NOTHING,
        limit=shard.limit if options.limit is None else options.limit,
        wait_s=options.wait_s,
    )
    run = _Run(ledger, lease, load_classifier, options, stop)
    try:
        done = lease.counts.scored + lease.counts.rejected
        left = None if shard.limit is None else max(shard.limit - done, 0)
        drives = shard.scan is None and shard.keys == EVERYTHING and left is None and options.rescore is Rescore.NOTHING
        scan = next_pass(job, source, ledger) if drives else shard.scan or Pass()
        candidates = Candidates(
            source,
            ledger,
            options.rescore,
            options.chunk_rows,
            limit=left,
            keys=shard.keys,
            within=scan.condition(source),
            these_runs={each.id for each in ledger.shards_of(key)},
            scored=shard.scored,
            revision=(model.name, model.revision),
        )
        run.score(candidates)
        counts = ledger.end(run.lease, runs.SUCCESS, candidates.unrecordable, scan=scan if drives else None)
    except BaseException as error:
        run.give_up(runs.GAVE_WAY if isinstance(error, GaveWayError) else runs.FAILED)
        raise
    finally:
        run.close()
    if shard.scan is None and not options.yields:
        ledger.no_longer_want(key)  # of a run in shards, its sum does that
    seconds = time.monotonic() - started
    log.info("%s", counts)
    return RunSummary(
        counts=counts,
        run=lease.run_id,
        model=model.name,
        revision=model.revision,
        device=run.device,
        seconds=round(seconds, 3),
        reviews_per_second=round((counts.read - lease.counts.read) / seconds, 1),
    )


class _Run:
    """One run at work: the chunk that is being classified, and the commit that is on its way."""

    def __init__(
        self,
        ledger: Ledger,
        lease: Lease,
        load_classifier: Callable[[], TextClassifier],
        options: ScoringOptions,
        stop: StopFlag,
    ) -> None:
        self.lease = lease
        self.device: str | None = None
        self._before = lease.counts
        self._ledger = ledger
        self._load_classifier = load_classifier
        self._classifier: TextClassifier | None = None
        self._options = options
        self._stop = stop
        self._progress: Progress | None = None
        self._reader = ThreadPoolExecutor(1, "read")
        self._writer = ThreadPoolExecutor(1, "commit")
        self._writing: Future[None] | None = None
        self._sign_of_life: Future[None] | None = None
        self._over = threading.Event()
        threading.Thread(target=self._stay_alive, name="lease", daemon=True).start()

    def score(self, candidates: Candidates) -> None:
        """Score all candidates; at the end everything is committed."""
        self._progress = Progress(candidates.count, limit=candidates.limit)
        for chunk in self._read_ahead(candidates.chunks()):
            self._between_batches(0)
            self._give_way()
            result = self._classify(chunk)
            self._finish_writing()
            self._writing = self._writer.submit(self._commit, result)
        self._finish_writing()
        self._stop.check()

    def give_up(self, state: str) -> None:
        """Let the last commit end, and give the lease back, so that the next run need not wait for it to run out."""
        self._stop.set()
        self._over.set()
        ending = self._writer.submit(self._ledger.end, self.lease, state)  # behind the commit that is on its way
        try:
            ending.result(timeout=LAST_COMMIT_S)
        except Exception as error:  # noqa: BLE001 the first error is the one to raise; this one is only told
            log.warning("the run's end could not be written (%s); its lease runs out by itself", type(error).__name__)

    def close(self) -> None:
        """End the threads, as soon as what they are at is done."""
        self._over.set()
        if self._progress is not None:
            self._progress.close()
        self._reader.shutdown(wait=False, cancel_futures=True)
        self._writer.shutdown(wait=False, cancel_futures=True)

    def _read_ahead(self, chunks: Iterator[Chunk]) -> Iterator[Chunk]:
        reading = self._reader.submit(next, chunks, None)
        while (chunk := self._wait(reading)) is not None:
            reading = self._reader.submit(next, chunks, None)
            if chunk.reviews:
                yield chunk

    def _classify(self, chunk: Chunk) -> ChunkResult:
        """Turn a chunk into what is to be committed."""
        outcomes: list[Outcome] = []
        unchanged: list[Review] = []
        waiting: list[tuple[Review, str, str]] = []
        for review in chunk.reviews:
            digest = text_hash(review.text)
            known = chunk.recorded.get(review.id)
            if self._options.rescore is Rescore.CHANGED and known is not None and known.text_hash == digest:
                unchanged.append(review)
            elif (reject := screen(review.text)) is not None:
                outcomes.append(Outcome(review, digest, reject))
            else:
                waiting.append((review, digest, str(review.text)))
        seconds = 0.0
        if waiting:
            classifier = self._loaded()
            started = time.monotonic()
            results = classifier.classify([text for _, _, text in waiting], between_batches=self._between_batches)
            seconds = time.monotonic() - started
            outcomes += [Outcome(r, digest, result) for (r, digest, _), result in zip(waiting, results, strict=True)]
        relabelled = sum(_relabelled(outcome, chunk.recorded.get(outcome.review.id)) for outcome in outcomes)
        return ChunkResult(outcomes, unchanged, chunk.duplicates, self.device or "", seconds, relabelled)

    def _give_way(self) -> None:
        """End here, with everything committed, if another run wants the job."""
        if self._options.yields and self._ledger.is_wanted():
            self._finish_writing()
            raise GaveWayError(
                "a run with new reviews wants the job; what was committed stays, and the rest comes later"
            )

    def _loaded(self) -> TextClassifier:
        if self._classifier is None:
            self._stop.check()
            self._classifier = self._load_classifier()
            self.device = str(self._classifier.device)
        return self._classifier

    def _between_batches(self, done_of_chunk: int) -> None:
        """Look whether to stop and whether the lease still holds, and tell how far the run is."""
        self._stop.check()
        if self._sign_of_life is not None and self._sign_of_life.done():
            self._sign_of_life.result()
        if self._progress is not None:
            committed = self.lease.counts.read - self._before.read
            self._progress.tick(committed + done_of_chunk, committed, self.lease.counts.rejected)

    def _stay_alive(self) -> None:
        """Give a sign of life every now and then, whatever the run is at: reading, loading a model, classifying."""
        while not self._over.wait(RENEW_S):
            with suppress(RuntimeError):  # the run ended at this very moment, and takes no more work
                self._sign_of_life = self._writer.submit(lambda: self._ledger.renew(self.lease))

    def _commit(self, result: ChunkResult) -> None:
        self.lease = self._ledger.commit(self.lease, result)

    def _finish_writing(self) -> None:
        if self._writing is not None:
            self._wait(self._writing)
            self._writing = None

    def _wait(self, future: Future[T]) -> T:
        """Wait for another thread, but not when told to stop."""
        while not future.done():
            wait([future], timeout=POLL_S)
            self._stop.check()
        return future.result()


def _relabelled(outcome: Outcome, before: Recorded | None) -> bool:
    return (
        before is not None
        and before.label is not None
        and isinstance(outcome.result, Prediction)
        and outcome.result.label != before.label
    )
