"""The loop: reads, classifies and commits chunk after chunk, and yields to a requesting run between two chunks.

While one chunk is classified, the next is prepared and the last committed.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

from review_scoring.concurrency.cancellation import StopFlag
from review_scoring.errors import YieldedError
from review_scoring.inference.progress import Progress
from review_scoring.request import RunRequest
from review_scoring.reviews import Prediction, RejectReason
from review_scoring.run.classifier import LazyClassifier, TextClassifier
from review_scoring.run.commits import Commits
from review_scoring.run.finishing import finish_one_shard
from review_scoring.run.heartbeat import Heartbeat
from review_scoring.run.planning import plan_alone
from review_scoring.run.preflight import PreparedJob
from review_scoring.run.reader import Reader, ReadyChunk
from review_scoring.run.report import RunReport
from review_scoring.warehouse.ledger.chunk import Chunk, ChunkResult, Outcome, Recorded
from review_scoring.warehouse.ledger.counts import Counts
from review_scoring.warehouse.ledger.ledger import Ledger
from review_scoring.warehouse.schema import FAILED, YIELDED
from review_scoring.warehouse.selection.candidates import Candidates
from review_scoring.warehouse.selection.shards import Shard
from review_scoring.warehouse.source.ranges import overlap

log = logging.getLogger(__name__)


def score_run(
    prepared: PreparedJob, request: RunRequest, load_classifier: Callable[[], TextClassifier], stop: StopFlag
) -> RunReport:
    """Score all of a run as one shard, and return what was done. Otherwise as :func:`score_shard`."""
    shard = plan_alone(prepared, request)
    report = score_shard(prepared, request, shard, load_classifier, stop)
    finished = finish_one_shard(prepared.existing_ledger, request, shard)
    return replace(report, waiting=finished.waiting, waiting_since=finished.waiting_since, excluded=finished.excluded)


def score_shard(
    prepared: PreparedJob,
    request: RunRequest,
    shard: Shard,
    load_classifier: Callable[[], TextClassifier],
    stop: StopFlag,
) -> RunReport:
    """Score one shard of a run, and return what was done: counts over all its tries, and the speed of this one.

    :param request: what the run is asked to do; of selection and budget, the shard's are taken
    :param load_classifier: called once, in the thread that reads, when there is a text to classify
    :param stop: checked between batches; what was committed stays. A run that fails sets it, to end its threads
    :raises JobBusyError: if another run holds the job
    :raises ScoringInterruptedError: if the run is cancelled
    """
    started = time.monotonic()
    ledger = prepared.existing_ledger
    request = replace(request, selection=shard.selection, budget=shard.budget)
    ranges_overlap = partial(overlap, prepared.source)
    scan = shard.scan.as_text() if request.selection.is_of_all_new else None
    lease = ledger.leases.take(
        request,
        scan=scan,
        is_planned=shard.planned is not None,
        overlap=ranges_overlap,
        reads_nothing=partial(_reads_nothing, shard),
    )
    classifier = LazyClassifier(load_classifier, stop)
    with closing(Commits(ledger, lease, stop)) as commits:
        try:
            limit = None if shard.limit is None else max(shard.limit - lease.counts.done, 0)
            candidates = replace(
                shard.candidates(prepared.source, ledger, request),
                limit=limit,
                done_by=frozenset(each.id for each in ledger.shards.of(request.key)),
            )
            with ExitStack() as threads:
                heartbeat = threads.enter_context(closing(Heartbeat(commits.renew)))
                progress = threads.enter_context(closing(_progress(shard, candidates, lease.counts)))
                reader = threads.enter_context(closing(Reader(candidates, classifier, stop)))
                loop = _Loop(
                    request=request,
                    ledger=ledger,
                    classifier=classifier,
                    commits=commits,
                    heartbeat=heartbeat,
                    progress=progress,
                    stop=stop,
                    shard=shard,
                    checks_siblings=request.key.map_index >= 0 and any(each.by_cursor for each in shard.stretches),
                )
                is_complete = loop.run(reader)
            commits.end(ended_early=not is_complete)
        except BaseException as error:
            stop.set()
            commits.abandon(YIELDED if isinstance(error, YieldedError) else FAILED)
            raise
        counts = commits.lease.counts
    log.info("%s", counts)
    return RunReport(
        job=prepared.job.name,
        counts=counts,
        model=request.model,
        revision=request.revision,
        device=classifier.device,
        seconds=round(time.monotonic() - started, 3),
        reviews_per_second=round(counts.speed_since(lease.counts), 1),
        is_rescore=request.selection.is_rescore,
    )


@dataclass(frozen=True)
class _Loop:
    """The loop over the chunks of a shard."""

    request: RunRequest
    ledger: Ledger
    classifier: LazyClassifier
    commits: Commits
    heartbeat: Heartbeat
    progress: Progress
    stop: StopFlag
    shard: Shard
    checks_siblings: bool

    def run(self, reader: Reader) -> bool:
        """Score chunks until the deadline or the limit, and return whether these were all.

        The last commit may still be on its way at the end.
        """
        self._yield_if_requested()  # before the model is loaded in vain
        if self._is_over():
            return False
        for ready in reader:
            if self._is_over():
                return False
            self._between_batches(0)
            self._yield_if_requested()
            self.commits.add(self._classify(ready))
        return not reader.ended_at_limit

    def _classify(self, ready: ReadyChunk) -> ChunkResult:
        """Turn a chunk into what is to be committed."""
        chunk, outcomes, seconds = ready.chunk, list(ready.rejects), 0.0
        self.progress.begin_chunk(len(chunk.reviews), len(ready.waiting), ready.tokens)
        if ready.waiting:
            started = time.monotonic()
            results = self.classifier.get().classify(ready.prepared, between_batches=self._between_batches)
            seconds = time.monotonic() - started
            outcomes += [Outcome(*each, result) for each, result in zip(ready.waiting, results, strict=True)]
        again = [review for review in ready.unchanged if chunk.is_met_again(review)]
        return ChunkResult(
            outcomes,
            ready.unchanged,
            unkeyed=_unkeyed(chunk),
            device=self.classifier.device or "",
            device_seconds=seconds,
            relabelled=sum(_is_relabelled(outcome, chunk.recorded.get(outcome.review.id)) for outcome in outcomes),
            retimed=[review for review in ready.unchanged if review.updated_at != chunk.recorded[review.id].updated_at],
            met_again=len(again),
            repeats_met_again=chunk.repeats_of(again),
            checks_siblings=self.checks_siblings,
            read_to=chunk.read_to,
        )

    def _is_over(self) -> bool:
        if not _is_late(self.shard):
            return False
        log.info("the run has used up its minutes; the reviews that are left wait for the next run")
        return True

    def _yield_if_requested(self) -> None:
        """End here, with everything committed, if another run requests the job."""
        if self.request.yields and self.ledger.preemption.is_requested():
            self.commits.flush()
            raise YieldedError(
                "a run with new reviews requests the job; this rescore keeps its commits and continues later"
            )

    def _between_batches(self, done_of_chunk: int) -> None:
        """Check whether to stop and whether the lease still holds, and log how far the run is."""
        self.stop.check()
        self.heartbeat.check()
        counts = self.commits.lease.counts
        committed = counts.read - self.commits.before.read
        self.progress.tick(committed + done_of_chunk, committed, counts.rejected, done_of_chunk=done_of_chunk)


def _is_late(shard: Shard) -> bool:
    """Return whether the minutes of a shard that has rows to read are used up."""
    return bool(shard.stretches) and shard.deadline is not None and datetime.now(UTC) >= shard.deadline


def _reads_nothing(shard: Shard, done: Counts) -> bool:
    """Return whether no budget is left to another try of a shard."""
    return _is_late(shard) or (shard.limit is not None and done.done >= shard.limit)


def _progress(shard: Shard, candidates: Candidates, done: Counts) -> Progress:
    """Return the progress of a shard: planning has counted what waits in it, otherwise it is counted now."""
    if shard.planned is None:
        return Progress(candidates.count, limit=candidates.limit)
    waiting = max(shard.planned - done.read, 0)
    return Progress(lambda: waiting)


def _unkeyed(chunk: Chunk) -> dict[str, int]:
    repeats = {str(RejectReason.DUPLICATE_ID): chunk.duplicates} if chunk.duplicates else {}
    return {**chunk.unkeyed, **repeats}


def _is_relabelled(outcome: Outcome, before: Recorded | None) -> bool:
    return (
        before is not None
        and before.label is not None
        and isinstance(outcome.result, Prediction)
        and outcome.result.label != before.label
    )
