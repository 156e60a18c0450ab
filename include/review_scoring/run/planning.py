"""Plans a run as shards, and finishes it: adds its shards up and compares the sum with the tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import add

from review_scoring.errors import UnaccountedError
from review_scoring.request import RunKey, RunRequest
from review_scoring.run.preflight import PreparedJob
from review_scoring.run.report import RunReport
from review_scoring.warehouse.ledger.counts import Counts
from review_scoring.warehouse.ledger.ledger import Ledger
from review_scoring.warehouse.ledger.shards import ShardRecord
from review_scoring.warehouse.schema import SUCCESS
from review_scoring.warehouse.selection.candidates import Candidates
from review_scoring.warehouse.selection.cursor import FULL_SCAN, Scan, next_scan
from review_scoring.warehouse.selection.shards import Shard, ShardLimits, split


def plan_run(prepared: PreparedJob, request: RunRequest, limits: ShardLimits) -> list[Shard]:
    """Split a run into shards. If it is planned again, shards of the earlier plan that this one lacks are abandoned.

    A run that looks for all new reviews makes a pass by the job's cursor; :func:`finish_run` records its end. Unless
    it yields, rescores of the job yield to it from now on.
    """
    ledger = prepared.ledger
    if ledger is None:  # a job that has nothing recorded, of which nothing may be written
        return [plan_one_shard(prepared, request)]
    if not request.yields:
        ledger.preemption.request(request.key)
    before = ledger.shards.of(request.key)
    candidates = Candidates(
        prepared.source,
        ledger,
        request,
        _scan_of(prepared, request),
        limit=request.budget.reviews,
        done_by=frozenset(run.id for run in before),
    )
    shards = split(candidates, limits, {run.map_index: run.counts.before_another_try().done for run in before})
    ledger.shards.plan(request, len(shards))
    return shards


def plan_one_shard(prepared: PreparedJob, request: RunRequest, scan: Scan | None = None) -> Shard:
    """Plan a run as one shard.

    :param scan: which rows of the source the run reads; those that the job's cursor selects if None
    """
    return Shard(
        selection=request.selection,
        budget=request.budget,
        limit=request.budget.reviews,
        scan=_scan_of(prepared, request) if scan is None else scan,
    )


def plan_or_resume(prepared: PreparedJob, request: RunRequest) -> Shard:
    """Plan a run as one shard, with the scan that an earlier try of the same run has begun, if there is one."""
    earlier = prepared.existing_ledger.shards.scan_of(request.key) if request.is_complete else None
    return plan_one_shard(prepared, request, None if earlier is None else Scan.from_text(earlier))


def finish_run(ledger: Ledger, key: RunKey, shards: Sequence[Shard]) -> RunReport:
    """Add up a run's shards, compare the sum with the tables, and move the job's cursor on.

    :param key: the task that scored them, with any map index
    :param shards: the plan; the shard at each place was scored by the task with that map index
    :raises UnaccountedError: if a shard is not done, or the tables do not hold what the shards have counted
    """
    report = _finish(ledger, key, dict(enumerate(shards)), ledger.shards.of(key))
    ledger.shards.finish(key, succeeded=True)
    ledger.preemption.withdraw(key)
    return report


def finish_one_shard(ledger: Ledger, request: RunRequest, shard: Shard) -> RunReport:
    """Finish a run that one task has scored by itself, as :func:`finish_run` does."""
    key = request.key
    found = ledger.shards.of(key)
    mine = [run for run in found if run.map_index == key.map_index]
    report = _finish(ledger, key, {key.map_index: shard}, mine)
    if all(run.state == SUCCESS for run in found):  # otherwise another task, mapped without a plan, is not done
        ledger.shards.finish(key, succeeded=True)
    if not request.yields:  # otherwise the request is that of another task of the DAG run
        ledger.preemption.withdraw(key)
    return report


def _finish(ledger: Ledger, key: RunKey, plan: Mapping[int, Shard], found: Sequence[ShardRecord]) -> RunReport:
    done = {run.map_index for run in found if run.state == SUCCESS}
    if missing := [f"{index} ({shard})" for index, shard in plan.items() if index not in done]:
        ledger.shards.finish(key, succeeded=False)
        raise UnaccountedError(
            f"of the {len(plan)} shard(s) of {key.task_id} of {key.dag_run_id}, these are not done: "
            f"{', '.join(missing)}; clear them in Airflow: they continue where they stopped"
        )
    counts = reduce(add, (run.counts for run in found), Counts())
    _compare_with_tables(ledger, key, found, counts)
    first = next(iter(plan.values()))
    if first.scan.highest is not None:
        ledger.cursor.advance(first.scan.highest, is_full_pass=first.scan.is_full)
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
    )


def _scan_of(prepared: PreparedJob, request: RunRequest) -> Scan:
    """Return which rows of the source a run looks at: those that the cursor selects if it looks for all new reviews.

    The same for a dry run, which then finds what the run would.
    """
    if prepared.ledger is None or not request.is_complete:
        return FULL_SCAN
    return next_scan(prepared.job, prepared.source, prepared.ledger.cursor.state)


def _compare_with_tables(ledger: Ledger, key: RunKey, found: Sequence[ShardRecord], counts: Counts) -> None:
    """Compare the counts with the rows in the tables. Another run may have replaced some of them since, no more."""
    kept = ledger.shards.rows_of([shard.id for shard in found])
    keyed = counts.rejected - sum(counts.unkeyed.values())
    replaced = counts.scored + keyed - kept.scored - kept.rejected
    wrong = kept.scored > counts.scored or kept.rejected > keyed or replaced < 0
    if wrong or replaced > ledger.shards.done_by_others(found):
        ledger.shards.finish(key, succeeded=False)
        raise UnaccountedError(
            f"rows unaccounted for: the shards have counted {counts}, {sum(counts.unkeyed.values())} of the rejects "
            f"without a key, the tables contain {kept.scored} of their scores and {kept.rejected} of their rejects; "
            "check whether something else has changed the tables during the run"
        )
