"""Finishes a run: adds up its shards, compares the sum with the tables, and moves the job's cursor on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import reduce
from operator import add

from review_scoring.errors import UnaccountedError
from review_scoring.request import RunKey, RunRequest
from review_scoring.run.report import RunReport
from review_scoring.warehouse.ledger.counts import Counts
from review_scoring.warehouse.ledger.ledger import Ledger
from review_scoring.warehouse.ledger.shards import BeyondBudget, ShardRecord
from review_scoring.warehouse.schema import SUCCESS
from review_scoring.warehouse.selection.cursor_values import as_utc
from review_scoring.warehouse.selection.scan import Scan
from review_scoring.warehouse.selection.shards import Shard
from review_scoring.warehouse.source.stretches import Position


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
    ended_early = [run for run in found if run.ended_early and run.map_index in plan]
    ended_first = min(ended_early, key=lambda run: run.map_index, default=None)
    _advance_cursor(ledger, plan, ended_first)
    beyond = ledger.shards.beyond_budget(key)
    left = sum(max((plan[run.map_index].planned or 0) - _looked_at(run.counts), 0) for run in ended_early)
    waiting = replace(beyond.waiting, reviews=beyond.waiting.reviews + left)
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
        waiting=waiting,
        waiting_since=_waiting_since(beyond, plan, ended_first) if waiting else None,
        excluded=beyond.excluded,
    )


def _looked_at(counts: Counts) -> int:
    """Return how many of the planned reviews a shard has done or found unchanged."""
    return counts.done + counts.unchanged


def _waiting_since(beyond: BeyondBudget, plan: Mapping[int, Shard], ended_early: ShardRecord | None) -> datetime | None:
    """Return the time of the oldest review that a run leaves; None if unknown.

    :param ended_early: the first shard that ended before its reviews did
    """
    if ended_early is None or plan[ended_early.map_index].scan.is_newest_first:
        return beyond.waiting_since
    stretches, read_to = plan[ended_early.map_index].stretches, ended_early.read_to
    if read_to is None or stretches[read_to.stretch].changed or not isinstance(read_to.value, datetime):
        return None
    return as_utc(read_to.value)


def _advance_cursor(ledger: Ledger, plan: Mapping[int, Shard], ended_early: ShardRecord | None) -> None:
    """Record how far a run has come with its pass over the source.

    :param ended_early: the first shard that ended before its reviews did
    """
    scan: Scan | None = plan[min(plan)].scan
    if ended_early is not None:
        scan = _scan_until(plan, ended_early)
    if scan is None:
        return
    seen, backlog, changes_seen = scan.began
    if scan.changes is not None:
        compared = scan.changes.reached or scan.changes.highest
        ledger.cursor.advance_changes(changes_seen, compared, is_full=scan.changes.is_full)
    if scan.reached is not None:
        after = scan.reached
        ledger.cursor.advance((seen, backlog), after.seen, backlog=after.backlog, is_full_pass=scan.is_full)


def _scan_until(plan: Mapping[int, Shard], ended_early: ShardRecord) -> Scan | None:
    """Return the scan of a run that ends in one of its shards; None if it has done nothing for certain before that."""
    shard = plan[ended_early.map_index]
    before = [each for index, earlier in plan.items() if index < ended_early.map_index for each in earlier.stretches]
    read_to = ended_early.read_to
    if read_to is not None and shard.planned is not None:
        before += shard.stretches[: read_to.stretch]
        return shard.scan.ending(before, shard.stretches[read_to.stretch], Position(None, read_to.value))
    begins = shard.stretches[0]
    return shard.scan.ending(before, begins, begins.after) if before else None


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
