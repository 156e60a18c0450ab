"""Plans a run as shards, and finishes it: adds its shards up and compares the sum with the tables."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import reduce
from operator import add

from review_scoring.errors import UnaccountedError
from review_scoring.job import Order, Rescore
from review_scoring.request import Budget, RunKey, RunRequest
from review_scoring.run.preflight import PreparedJob
from review_scoring.run.report import RunReport
from review_scoring.warehouse.ledger.counts import Counts, Tally
from review_scoring.warehouse.ledger.ledger import Ledger
from review_scoring.warehouse.ledger.shards import BeyondBudget, ShardRecord
from review_scoring.warehouse.schema import SUCCESS
from review_scoring.warehouse.selection.candidates import Candidates
from review_scoring.warehouse.selection.cursor import next_scan
from review_scoring.warehouse.selection.cursor_values import before_start
from review_scoring.warehouse.selection.scan import FULL_SCAN, Scan
from review_scoring.warehouse.selection.shards import OneShard, Shard, ShardLimits, has_one_writer, split
from review_scoring.warehouse.selection.waiting import Waiting, count_in_time, find_waiting
from review_scoring.warehouse.source.stretches import WHOLE, Stretch

FASTEST = 2_000
"""Reviews per second that no task exceeds: for how many a budget of minutes is planned."""


def plan_run(prepared: PreparedJob, request: RunRequest, limits: ShardLimits, scan: Scan | None = None) -> list[Shard]:
    """Split a run into shards, as far as its budget reaches. Those of an earlier plan of the run are abandoned.

    A run that looks for all new reviews makes a pass by the job's cursor; :func:`finish_run` records how far it came.
    Unless it yields, rescores of the job yield to it from now on.

    :param scan: which rows of the source the run reads; those that the job's cursor selects if None
    """
    ledger = prepared.ledger
    if ledger is None:  # a job that has nothing recorded, of which nothing may be written
        return [plan_one_shard(prepared, request)]
    if not request.yields:
        ledger.preemption.request(request.key)
    before = ledger.shards.of(request.key)
    done = {max(shard.map_index, 0): shard.counts.before_another_try().done for shard in before}
    whole = plan_one_shard(prepared, request, scan)
    done_by = frozenset(shard.id for shard in before)
    candidates = replace(whole.candidates(prepared.source, ledger, request), done_by=done_by)
    most = limits.most_reviews(one_writer=has_one_writer(candidates))
    left = max(min(_affordable(request.budget, limits), most) - sum(done.values()), 0)
    waiting = find_waiting(replace(candidates, limit=left))
    scan = _scan_until(whole.scan, candidates.stretches, waiting)
    is_limited = waiting.end is not None or request.budget.reviews is not None
    if request.selection.is_rescore or not prepared.source.id_is_unique:
        # Rows were numbered, of which some are unchanged or repeat an id: the limit alone ends the run.
        waiting = replace(waiting, end=None)
    shards = split(replace(candidates, limit=left if is_limited else None), waiting, limits, done)
    more = _estimated(prepared, ledger, waiting)
    left_over = BeyondBudget(more, _count_excluded(prepared, candidates))
    ledger.shards.plan(request, len(shards), left_over)
    return [replace(shard, scan=scan, deadline=whole.deadline) for shard in shards]


def plan_one_shard(prepared: PreparedJob, request: RunRequest, scan: Scan | None = None) -> Shard:
    """Return all of a run as one shard, which its limit ends; the parameters are those of :func:`plan_run`."""
    selection = request.selection
    if prepared.ledger is None or not selection.is_of_all_new:
        scan = FULL_SCAN
    elif scan is None:
        scan = next_scan(prepared.job, prepared.source, prepared.ledger, selection.order)
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


def plan_alone(prepared: PreparedJob, request: RunRequest) -> Shard:
    """Plan a run that one task scores by itself, with the scan that an earlier try of it has begun, if there is one."""
    if request.key.map_index >= 0:  # mapped without a plan: each task looks at everything
        return plan_one_shard(prepared, request)
    earlier = prepared.existing_ledger.shards.scan_of(request.key) if request.selection.is_of_all_new else None
    scan = None if earlier is None else Scan.from_text(earlier)
    return plan_run(prepared, request, OneShard(), scan)[0]


def _affordable(budget: Budget, limits: ShardLimits) -> int:
    """Return how many reviews a budget allows for at most."""
    found = [] if budget.reviews is None else [budget.reviews]
    if budget.minutes is not None:
        found.append(budget.minutes * 60 * FASTEST * limits.most)
    return min(found, default=sys.maxsize)


def _scan_until(scan: Scan, stretches: Sequence[Stretch], waiting: Waiting) -> Scan:
    """Return the scan of a run that ends where its budget does."""
    if waiting.end is not None:
        index = waiting.end.stretch
        return scan.ending(stretches[:index], stretches[index], waiting.end.position)
    return replace(scan, highest=None, changes=None) if waiting.more else scan


def _estimated(prepared: PreparedJob, ledger: Ledger, waiting: Waiting) -> Tally:
    """Return how many reviews wait beyond a run's budget: estimated, where counting them would take too long."""
    rows = None if waiting.more.is_exact or prepared.job.start_after is not None else prepared.source.estimated_rows()
    if rows is None:
        return waiting.more
    more = max(rows - ledger.shards.recorded() - waiting.covered, 0)
    rounded = more - more % 10 ** max(len(str(more)) - 2, 0)  # down to two digits, since it is an estimate
    return Tally(max(waiting.more.reviews, rounded), is_exact=False)


def _count_excluded(prepared: PreparedJob, candidates: Candidates) -> Tally | None:
    """Count the reviews that the job's `start_after` excludes; None without one."""
    older = before_start(prepared.source, candidates.request.selection.start_after)
    return None if older is None else count_in_time(replace(candidates, stretches=(older,)))


def finish_run(ledger: Ledger, key: RunKey, shards: Sequence[Shard]) -> RunReport:
    """Add up a run's shards, compare the sum with the tables, and move the job's cursor on.

    :param key: the task that scored them, with any map index
    :param shards: the plan; the shard at each place was scored by the task with that map index
    :raises UnaccountedError: if a shard is not done, or the tables do not hold what the shards have counted
    """
    try:
        report = _finish(ledger, key, dict(enumerate(shards)), ledger.shards.of(key))
    except UnaccountedError:
        ledger.shards.finish(key, succeeded=False)
        raise
    ledger.shards.finish(key, succeeded=True)
    ledger.preemption.withdraw(key)
    return report


def finish_one_shard(ledger: Ledger, request: RunRequest, shard: Shard) -> RunReport:
    """Finish a run that one task has scored by itself, as :func:`finish_run` does.

    If the task is mapped without a plan, its shard alone is compared, and fails alone: its siblings go on.
    """
    key = request.key
    mine = [run for run in ledger.shards.of(key) if run.map_index == key.map_index]
    try:
        report = _finish(ledger, key, {key.map_index: shard}, mine)
    except UnaccountedError:
        ledger.shards.fail(key)
        raise
    ledger.shards.finish(key, succeeded=True)
    if not request.yields:  # otherwise the request is that of another task of the DAG run
        ledger.preemption.withdraw(key)
    return report


def _finish(ledger: Ledger, key: RunKey, plan: Mapping[int, Shard], found: Sequence[ShardRecord]) -> RunReport:
    done = {run.map_index for run in found if run.state == SUCCESS}
    if missing := [f"{index} ({shard})" for index, shard in plan.items() if index not in done]:
        raise UnaccountedError(
            f"of the {len(plan)} shard(s) of {key.task_id} of {key.dag_run_id}, these are not done: "
            f"{', '.join(missing)}; clear them in Airflow: they continue where they stopped"
        )
    counts = reduce(add, (run.counts for run in found), Counts())
    _compare_with_tables(ledger, found, counts)
    out_of_time = [run for run in found if run.out_of_time and run.map_index in plan]
    _advance_cursor(ledger, plan, min((run.map_index for run in out_of_time), default=None))
    beyond = ledger.shards.beyond_budget(key)
    left = sum(max((plan[run.map_index].planned or 0) - run.counts.done, 0) for run in out_of_time)
    first = next(iter(plan.values()))
    started = min(run.started_at for run in found)
    ended = max(run.ended_at or run.started_at for run in found)
    last = max(found, key=lambda run: run.ended_at or run.started_at)
    return RunReport(
        job=ledger.job.name,
        counts=counts,
        shards=len(plan),
        model=last.model,
        revision=last.revision,
        device=next((run.device for run in found if run.device), None),
        seconds=round((ended - started).total_seconds(), 3),
        reviews_per_second=round(counts.speed, 1),
        is_rescore=first.selection.is_rescore,
        waiting=replace(beyond.waiting, reviews=beyond.waiting.reviews + left),
        excluded=beyond.excluded,
    )


def _advance_cursor(ledger: Ledger, plan: Mapping[int, Shard], out_of_time: int | None) -> None:
    """Record how far a run has come with its pass over the source.

    :param out_of_time: the first shard that ended before its reviews did
    """
    first = min(plan)
    if out_of_time == first:
        return
    scan = plan[first].scan
    if out_of_time is not None:
        before = [stretch for index, shard in plan.items() if index < out_of_time for stretch in shard.stretches]
        begins = plan[out_of_time].stretches[0]
        scan = scan.ending(before, begins, begins.after)
    if scan.changes is not None:
        ledger.cursor.advance_changes(scan.changes.reached or scan.changes.highest, is_full=scan.changes.is_full)
    if scan.highest is None:
        return
    if plan[first].selection.order is Order.NEWEST:
        ledger.cursor.advance(scan.highest, backlog=scan.reached, is_full_pass=scan.is_full)
    else:
        ledger.cursor.advance(scan.reached or scan.highest, backlog=None, is_full_pass=scan.is_full)


def _compare_with_tables(ledger: Ledger, found: Sequence[ShardRecord], counts: Counts) -> None:
    """Compare the counts with the rows in the tables. Another run may have replaced some of them since, no more."""
    kept = ledger.shards.rows_of([shard.id for shard in found])
    keyed = counts.rejected - sum(counts.unkeyed.values())
    replaced = counts.scored + keyed - kept.scored - kept.rejected
    wrong = kept.scored > counts.scored or kept.rejected > keyed or replaced < 0
    if wrong or replaced > ledger.shards.done_by_others(found):
        raise UnaccountedError(
            f"rows unaccounted for: the shards have counted {counts}, {sum(counts.unkeyed.values())} of the rejects "
            f"without a key, the tables contain {kept.scored} of their scores and {kept.rejected} of their rejects; "
            "check whether something else has changed the tables during the run"
        )
