"""Plans a run as shards, within its budget."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from review_scoring.job import Rescore
from review_scoring.request import RunRequest
from review_scoring.reviews import canonical_id
from review_scoring.run.preflight import PreparedJob
from review_scoring.run.source_cost import Planned, charges
from review_scoring.warehouse.ledger.counts import Tally
from review_scoring.warehouse.ledger.ledger import Ledger
from review_scoring.warehouse.ledger.shards import BeyondBudget
from review_scoring.warehouse.selection.candidates import Candidates
from review_scoring.warehouse.selection.cursor import next_scan
from review_scoring.warehouse.selection.cursor_values import before_start, start_of
from review_scoring.warehouse.selection.scan import FULL_SCAN, Scan
from review_scoring.warehouse.selection.shards import OneShard, Shard, ShardLimits, has_one_writer, split
from review_scoring.warehouse.selection.waiting import Waiting, count_in_time, find_oldest, find_waiting
from review_scoring.warehouse.source.cost import cost_of, statements_of
from review_scoring.warehouse.source.stretches import WHOLE, Stretch

MOST_REVIEWS_PER_SECOND = 2_000
"""Assumed top speed of a task; a budget of minutes is planned with it."""


def plan_run(prepared: PreparedJob, request: RunRequest, limits: ShardLimits, scan: Scan | None = None) -> list[Shard]:
    """Split a run into shards, within its budget. Those of an earlier plan of the run are abandoned.

    A run that looks for all new reviews makes a pass by the job's cursor; `finish_run` records how far it came. Unless
    it yields, rescores of the job yield to it from now on.

    :param scan: which rows of the source the run reads; those that the job's cursor selects if None
    """
    ledger = prepared.ledger
    whole = plan_one_shard(prepared, request, scan)
    if ledger is None:  # a job that has nothing recorded, of which nothing may be written
        return [whole]
    if not request.yields:
        ledger.preemption.request(request.key)
    ledger.shards.abandon(request.key)  # before they are counted, so that they do nothing more
    before = ledger.shards.of(request.key)
    done = {max(shard.map_index, 0): shard.counts.before_another_try().done for shard in before}
    candidates = whole.candidates(prepared.source, ledger, request)
    candidates = replace(candidates, done_by=frozenset(shard.id for shard in before))
    left = _budget_left(request, limits, candidates, sum(done.values()))
    waiting = find_waiting(replace(candidates, limit=left))
    scan = _scan_until(whole.scan, candidates.stretches, waiting)
    may_leave_some = waiting.more or request.budget.minutes is not None
    since = find_oldest(candidates, waiting.end) if may_leave_some else None
    is_limited = waiting.end is not None or request.budget.reviews is not None
    waiting = _with_usable_end(waiting, candidates)
    shards = split(replace(candidates, limit=left if is_limited else None), waiting, limits, done)
    more = _estimated(prepared, request, ledger, waiting)
    ledger.shards.plan(request, len(shards), BeyondBudget(more, _count_excluded(prepared, candidates), since))
    return [replace(shard, scan=scan, deadline=whole.deadline) for shard in shards]


def plan_one_shard(prepared: PreparedJob, request: RunRequest, scan: Scan | None = None) -> Shard:
    """Return all of a run as one shard, which its limit ends; the parameters are those of :func:`plan_run`.

    :raises ConfigurationError: if `start_after` is no value of its column
    """
    selection = request.selection
    start_of(prepared.source, selection.start_after)
    if not selection.is_of_all_new:
        scan = FULL_SCAN
    elif scan is None:
        scan = next_scan(prepared.job, prepared.source, prepared.ledger, selection)
    stretches: tuple[Stretch, ...] = (WHOLE,)
    if selection.rescore is Rescore.REJECTS:
        stretches = (Stretch(of_rejects=True),)
    elif not selection.is_rescore and selection.scored is None:
        stretches = scan.stretches(prepared.source, selection)
    minutes = request.budget.minutes
    return Shard(
        selection=selection,
        budget=request.budget,
        limit=request.budget.reviews,
        scan=scan,
        stretches=stretches,
        counts_null_ids=scan.is_full and selection.reads_null_ids,
        deadline=None if minutes is None else datetime.now(UTC) + timedelta(minutes=minutes),
    )


def plan_dry_run(prepared: PreparedJob, request: RunRequest, planned: Planned) -> tuple[Shard, Planned]:
    """Plan a dry run as one shard, and note what planning costs at a source that charges for statements."""
    engine = prepared.source.engine
    with statements_of(engine) as ran:
        shard = plan_one_shard(prepared, request)
        if charges(prepared):
            _count_excluded(prepared, shard.candidates(prepared.source, prepared.ledger, request))
    return shard, replace(planned, planning=cost_of(engine, ran)) if charges(prepared) else planned


def plan_alone(prepared: PreparedJob, request: RunRequest) -> Shard:
    """Plan a run that one task scores by itself. Another try goes on with the scan and the minutes of the first."""
    if request.key.map_index >= 0:  # mapped without a plan: each task looks at everything
        shard = plan_one_shard(prepared, request)
        return replace(shard, scan=shard.scan.completed(shard.stretches)) if request.is_complete else shard
    shards = prepared.existing_ledger.shards
    earlier = shards.scan_of(request.key) if request.selection.is_of_all_new else None
    shard = plan_run(prepared, request, OneShard(), None if earlier is None else Scan.from_text(earlier))[0]
    tries = [each for each in shards.of(request.key) if each.map_index == request.key.map_index]
    if tries and request.budget.minutes is not None:
        shard = replace(shard, deadline=tries[0].started_at + timedelta(minutes=request.budget.minutes))
    return shard


def _budget_left(request: RunRequest, limits: ShardLimits, candidates: Candidates, done: int) -> int:
    """Return how many reviews a run may still take, after its earlier tries have done some."""
    budget = request.budget
    found = [] if budget.reviews is None else [budget.reviews]
    if budget.minutes is not None:
        found.append(budget.minutes * 60 * MOST_REVIEWS_PER_SECOND * limits.most)
    if not request.selection.is_rescore:
        found.append(limits.most_reviews(one_writer=has_one_writer(candidates)))
    return max(min(found, default=sys.maxsize) - done, 0)


def _with_usable_end(waiting: Waiting, candidates: Candidates) -> Waiting:
    """Return what waits, without its end where the limit alone has to end the run."""
    if waiting.end is None:
        return waiting
    rows_are_reviews = not candidates.request.selection.is_rescore and candidates.source.id_is_unique
    position = waiting.end.position
    # An id that no key can hold cannot travel; SQLite keeps ids of any type, whatever the column declares.
    is_raw = candidates.source.engine.dialect.name == "sqlite" and position.value is None
    travels = canonical_id(position.id) is not None and not is_raw
    return waiting if rows_are_reviews and travels else replace(waiting, end=None)


def _scan_until(scan: Scan, stretches: Sequence[Stretch], waiting: Waiting) -> Scan:
    """Return the scan of a run that ends where its budget does."""
    if waiting.end is not None:
        index = waiting.end.stretch
        return scan.ending(stretches[:index], stretches[index], waiting.end.position)
    return replace(scan, changes=None) if waiting.more else scan.completed(stretches)


def _estimated(prepared: PreparedJob, request: RunRequest, ledger: Ledger, waiting: Waiting) -> Tally:
    """Return how many reviews wait beyond a run's budget: estimated, where counting them would take too long."""
    selection = request.selection
    rows = None
    if not waiting.more.is_exact and selection.is_of_all_new and selection.start_after is None:
        rows = prepared.source.estimated_rows()
    if rows is None:
        return waiting.more
    more = max(rows - ledger.shards.recorded() - waiting.covered, 0)
    rounded = more - more % 10 ** max(len(str(more)) - 2, 0)  # down to two digits, since it is an estimate
    return Tally(max(waiting.more.reviews, rounded), is_exact=False)


def _count_excluded(prepared: PreparedJob, candidates: Candidates) -> Tally | None:
    """Count the reviews that the job's `start_after` excludes; None without one."""
    selection = candidates.request.selection
    older = None if selection.is_rescore else before_start(prepared.source, selection.start_after)
    return None if older is None else count_in_time(replace(candidates, stretches=(older,)))
