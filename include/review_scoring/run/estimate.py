"""Estimates a dry run: how many reviews and tokens wait, and how long classifying them would take."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice

from review_scoring.concurrency.cancellation import StopFlag
from review_scoring.reviews import RejectReason, Review, screen
from review_scoring.run.classifier import TokenCounter
from review_scoring.run.report import DryRunReport, source_cost
from review_scoring.run.source_cost import Read
from review_scoring.warehouse.ledger.counts import NONE, Tally
from review_scoring.warehouse.ledger.shards import PastSpeed
from review_scoring.warehouse.selection.candidates import Candidates
from review_scoring.warehouse.selection.waiting import count_in_time
from review_scoring.warehouse.source.cost import Cost, statements_of

SAMPLE_REVIEWS = 1000
"""Reviews of the sample that is tokenised; all of them if no more wait."""

UNKNOWN_SPEED = 100.0
"""Reviews per second that are assumed of a job without runs, where its budget has minutes only."""

TIMED_REVIEWS = 64
"""Reviews of the sample that are classified, to measure the speed."""


@dataclass(frozen=True)
class Estimate:
    """What a run would take on this worker.

    :param waiting: reviews that the run would read: those that wait, within its budget
    :param tokens: exact if every review was in the sample
    :param more: reviews that wait beyond the budget
    :param past: the speed of the job's last run; None if it had none
    :param cost: of the run at the source; None where statements have no price
    :param ends_by_minutes: the budget ends the run after some minutes, so that what it reads is a guess
    """

    waiting: int
    unscorable: int
    tokens: int
    exact: bool
    tokens_per_second: float
    more: Tally = NONE
    past: PastSpeed | None = None
    cost: Cost | None = None
    ends_by_minutes: bool = False

    @property
    def seconds(self) -> float:
        """Seconds that classifying would take, at the speed that was measured now."""
        return self.tokens / self.tokens_per_second if self.tokens_per_second else 0.0

    def report(self, job: str) -> DryRunReport:
        """Return what a dry run of a job reports: seconds at the speed of its last run, if it had one."""
        past = self.past
        return DryRunReport(
            job=job,
            waiting=self.waiting + self.more.reviews,
            waiting_is_exact=self.more.is_exact,
            reviews=self.waiting,
            tokens=self.tokens,
            seconds=round(self.seconds if past is None else self.tokens / past.tokens_per_second),
            rescore_seconds=None
            if past is None
            else round(past.recorded * past.tokens_per_review / past.tokens_per_second),
            source_statements=None if self.cost is None else self.cost.statements,
            source_bytes=None if self.cost is None else self.cost.bytes_read or None,
            source_is_limit=self.more.is_exact and not self.ends_by_minutes,
        )

    def __str__(self) -> str:
        about = "" if self.exact else "about "
        beyond = f"{str(self.more)[:1].upper()}{str(self.more)[1:]} more wait beyond the budget. " if self.more else ""
        cost = "" if self.cost is None else f"{source_cost(self.report(''))} "
        return (
            f"dry run: {self.waiting:,} reviews wait, {about}{self.tokens:,} tokens; "
            f"{about}{self.unscorable:,} of them cannot be scored; "
            f"classifying would take about {self.seconds:,.0f} s at {self.tokens_per_second:,.0f} tokens/s. "
            f"{beyond}{cost}Nothing was written."
        )


def estimate(
    candidates: Candidates, classifier: TokenCounter, stop: StopFlag, cost: Callable[[Read], Cost] | None = None
) -> Estimate:
    """Count what waits, tokenise a random sample of it, and measure the model's speed on a part of the sample.

    Texts are read one chunk at a time; only the sample is kept (Vitter's algorithm R, ACM TOMS 11(1), 1985).

    :param cost: returns what a run costs at the source, for one that charges for statements
    """
    past = None if candidates.ledger is None else candidates.ledger.shards.past_speed()
    candidates = replace(candidates, limit=_affordable(candidates, past))
    chosen = random.Random(0)  # noqa: S311 a sample, not a secret; the same one each time
    sample: list[object] = []
    waiting = 0
    unkeyed: set[str] = set()
    with statements_of(candidates.source.engine) as reading:
        for review in islice(_reviews(candidates, stop, unkeyed), candidates.limit):
            waiting += 1
            if len(sample) < SAMPLE_REVIEWS:
                sample.append(review.text)
            elif (place := chosen.randrange(waiting)) < SAMPLE_REVIEWS:
                sample[place] = review.text
    with statements_of(candidates.source.engine) as counting:
        more = _beyond(candidates, waiting)
    is_idle = not waiting and RejectReason.UNUSABLE_ID not in unkeyed
    read = Read(reading=reading, counting=counting, waiting=waiting, is_idle=is_idle)
    texts = [text for text in sample if isinstance(text, str) and screen(text) is None]
    share = waiting / len(sample) if sample else 0.0
    timed = chosen.sample(texts, min(TIMED_REVIEWS, len(texts)))
    classifier.classify(timed[:8])  # the first batch of a fresh model is slower than any other
    started = time.monotonic()
    classifier.classify(timed, between_batches=lambda _: stop.check())
    seconds = time.monotonic() - started
    return Estimate(
        waiting=waiting,
        unscorable=round((len(sample) - len(texts)) * share),
        tokens=round(classifier.count_tokens(texts) * share),
        exact=waiting == len(sample),
        tokens_per_second=classifier.count_tokens(timed) / seconds if timed else 0.0,
        more=more,
        past=past,
        cost=None if cost is None else cost(read),
        ends_by_minutes=candidates.request.budget.minutes is not None,
    )


def _affordable(candidates: Candidates, past: PastSpeed | None) -> int | None:
    """Return how many reviews the run's budget allows for; minutes are taken for reviews by the speed of the past."""
    minutes, limit = candidates.request.budget.minutes, candidates.limit
    if minutes is None:
        return limit
    per_second = past.tokens_per_second / past.tokens_per_review if past else UNKNOWN_SPEED
    in_time = max(round(60 * minutes * per_second), 1)
    return in_time if limit is None else min(limit, in_time)


def _beyond(candidates: Candidates, waiting: int) -> Tally:
    """Return how many reviews wait beyond the budget."""
    if candidates.limit is None or waiting < candidates.limit:
        return NONE
    found = count_in_time(candidates)
    return replace(found, reviews=max(found.reviews - waiting, 0))


def _reviews(candidates: Candidates, stop: StopFlag, unkeyed: set[str]) -> Iterator[Review]:
    for chunk in candidates.chunks():
        stop.check()
        unkeyed.update(chunk.unkeyed)
        yield from chunk.reviews
