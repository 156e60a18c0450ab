"""The loop: read, classify, commit. While one chunk is classified, the next is prepared and the last committed."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from review_scoring.concurrency.background_thread import BackgroundThread
from review_scoring.concurrency.cancellation import POLL_S, StopFlag
from review_scoring.errors import ConfigurationError, GaveWayError
from review_scoring.inference.progress import Progress
from review_scoring.job import Rescore, ScoringJob
from review_scoring.models.folder import ModelFolder
from review_scoring.reviews import Prediction
from review_scoring.run.reader import ReadAhead, ReadyChunk, TextClassifier
from review_scoring.warehouse.ledger import leases as runs
from review_scoring.warehouse.ledger.chunk import ChunkResult, Outcome, Recorded
from review_scoring.warehouse.ledger.counts import Counts
from review_scoring.warehouse.ledger.leases import Lease, RunKey
from review_scoring.warehouse.ledger.ledger import Ledger
from review_scoring.warehouse.selection.candidates import Candidates
from review_scoring.warehouse.selection.cursor import Pass, next_pass
from review_scoring.warehouse.selection.shards import Shard
from review_scoring.warehouse.source.review_source import ReviewSource

log = logging.getLogger(__name__)
T = TypeVar("T")

RENEW_S = 20.0
"""Seconds between two signs of life of a run whose chunk takes long."""

LAST_COMMIT_S = 3.0
"""Seconds that a run which is told to stop gives its last commit."""

MAX_CHUNK_ROWS = 20_000


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
    """What a run did: its counts over all its tries, and the speed of this one.

    `reviews_per_second` is of classifying alone: loading the model would make a small run look slow.
    """

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

    :param load_classifier: called once, in the thread that reads, when there is a text to classify
    :param stop: looked at between batches; what was committed stays. A run that fails sets it, to end its threads
    :param shard: the part of the run that is done here; None for all of it
    :raises JobBusyError: if another run holds the job
    :raises ScoringInterruptedError: if told to stop
    """
    started = time.monotonic()
    shard = shard or Shard(limit=options.limit)
    drives = shard == Shard() and options.rescore is Rescore.NOTHING
    scan = _own_pass(job, source, ledger, key) if drives else shard.scan or Pass()
    lease = ledger.begin(
        key,
        model.name,
        model.revision,
        keys=shard.keys,
        overlap=source.overlap,
        yields=options.yields,
        is_rescore=options.rescore is not Rescore.NOTHING,
        limit=shard.limit if options.limit is None else options.limit,
        scan=scan.as_text() if drives else None,
        wait_s=options.wait_s,
    )
    run = _Run(ledger, lease, load_classifier, options, stop)
    try:
        done = lease.counts.done
        left = None if shard.limit is None else max(shard.limit - done, 0)
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
        reviews_per_second=round(counts.speed_since(lease.counts), 1),
    )


def _own_pass(job: ScoringJob, source: ReviewSource, ledger: Ledger, key: RunKey) -> Pass:
    """Return the pass of a run that no plan has cut: another try of it makes the same one."""
    earlier = (run.scan for run in ledger.shards_of(key) if run.map_index == key.map_index)
    kept = next(earlier, None)
    return next_pass(job, source, ledger.cursor) if kept is None else Pass.from_text(kept)


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
        self._reader: ReadAhead | None = None
        self._writer = BackgroundThread("commit")
        self._writing: Future[None] | None = None
        self._sign_of_life: Future[None] | None = None
        self._over = threading.Event()
        threading.Thread(target=self._stay_alive, name="lease", daemon=True).start()

    def score(self, candidates: Candidates) -> None:
        """Score all candidates; at the end everything is committed."""
        self._give_way()  # before the model is loaded in vain
        self._progress = Progress(candidates.count, limit=candidates.limit)
        self._reader = ReadAhead(candidates.chunks(), self._loaded, self._options.rescore, self._stop, candidates.limit)
        for ready in self._read_ahead(self._reader):
            self._between_batches(0)
            self._give_way()
            result = self._classify(ready)
            self._finish_writing()
            self._writing = self._writer.submit(partial(self._commit, result))
        self._finish_writing()
        self._stop.check()

    def give_up(self, state: str) -> None:
        """Let the last commit end, and give the lease back, so that the next run need not wait for it to run out."""
        self._stop.set()
        self._over.set()
        ending = self._writer.submit(
            lambda: self._ledger.end(self.lease, state)
        )  # behind the commit that is on its way
        try:
            ending.result(timeout=LAST_COMMIT_S)
        except Exception as error:  # noqa: BLE001 the first error is the one to raise; this one is only told
            log.warning("the run's end could not be written (%s); its lease runs out by itself", type(error).__name__)

    def close(self) -> None:
        """End the threads, as soon as what they are at is done."""
        self._over.set()
        if self._progress is not None:
            self._progress.close()
        if self._reader is not None:
            self._reader.close()
        self._writer.close()

    def _read_ahead(self, reader: ReadAhead) -> Iterator[ReadyChunk]:
        reading = reader.next()
        while (ready := self._wait(reading)) is not None:
            reading = reader.next()
            if ready.chunk.reviews:
                yield ready

    def _classify(self, ready: ReadyChunk) -> ChunkResult:
        """Turn a chunk into what is to be committed."""
        outcomes = list(ready.rejects)
        seconds = 0.0
        if self._progress is not None:
            self._progress.begin_chunk(len(ready.chunk.reviews), len(ready.waiting), ready.tokens)
        if ready.waiting:
            started = time.monotonic()
            results = self._loaded().classify(ready.prepared, between_batches=self._between_batches)
            seconds = time.monotonic() - started
            outcomes += [Outcome(*each, result) for each, result in zip(ready.waiting, results, strict=True)]
        recorded = ready.chunk.recorded
        relabelled = sum(_relabelled(outcome, recorded.get(outcome.review.id)) for outcome in outcomes)
        again = [review for review in ready.unchanged if ready.chunk.is_met_again(review)]
        return ChunkResult(
            outcomes,
            ready.unchanged,
            ready.chunk.duplicates,
            self.device or "",
            seconds,
            relabelled,
            retimed=[review for review in ready.unchanged if review.updated_at != recorded[review.id].updated_at],
            met_again=len(again),
            repeats_met_again=ready.chunk.repeats_of(again),
        )

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
            self._progress.tick(
                committed + done_of_chunk, committed, self.lease.counts.rejected, done_of_chunk=done_of_chunk
            )

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
