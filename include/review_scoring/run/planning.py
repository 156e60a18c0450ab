"""A run in shards: planned before they are scored, added up and checked against the tables afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

from review_scoring.errors import UnaccountedError
from review_scoring.job import Rescore
from review_scoring.run.preflight import Prepared
from review_scoring.warehouse.ledger import leases as runs
from review_scoring.warehouse.ledger.counts import Counts
from review_scoring.warehouse.ledger.leases import RunKey
from review_scoring.warehouse.ledger.ledger import Ledger
from review_scoring.warehouse.ledger.shard_runs import ShardRun
from review_scoring.warehouse.selection.candidates import Candidates, TimeRange
from review_scoring.warehouse.selection.cursor import Pass, next_pass
from review_scoring.warehouse.selection.shards import Cut, Shard, plan_shards
from review_scoring.warehouse.source.review_source import EVERYTHING, KeyRange


@dataclass(frozen=True, kw_only=True)
class RunTotal:
    """All shards of a run together. `seconds` are from the first one's start to the last one's end."""

    counts: Counts
    shards: int
    model: str
    revision: str
    device: str | None
    seconds: float

    @property
    def reviews_per_second(self) -> float:
        """How many reviews one task classified per second."""
        return self.counts.speed


def plan_run(
    prepared: Prepared,
    key: RunKey,
    cut: Cut,
    *,
    limit: int | None = None,
    rescore: Rescore = Rescore.NOTHING,
    keys: KeyRange = EVERYTHING,
    scored: TimeRange | None = None,
    yields: bool = False,
) -> list[Shard]:
    """Cut a run into shards. If it is planned anew, shards of the earlier plan that this one lacks are given up.

    A run that looks at all new reviews makes a pass by the job's cursor; its end is for :func:`add_up` to note.

    :param key: the task that scores them, with any map index
    :param limit: most reviews that the run scores or rejects
    :param keys: only ids in this range
    :param scored: only reviews that were scored in this time
    :param yields: False for a run to which rescores of the job give way from now on
    """
    source, ledger = prepared.source, prepared.ledger
    if ledger is None:  # a job that has nothing recorded, of which nothing may be written
        return [Shard(keys, limit)]
    if not yields:
        ledger.want(key)
    scan = pass_of_run(prepared, limit=limit, rescore=rescore, keys=keys, scored=scored)
    before = ledger.shards_of(key)
    candidates = Candidates(
        source,
        ledger,
        rescore,
        limit=limit,
        within=scan.condition(source),
        keys=keys,
        these_runs={run.id for run in before},
        scored=scored,
        revision=(prepared.model.name, prepared.model.revision),
    )
    kept = {run.map_index: run.counts.before_another_try() for run in before}
    done = {index: counts.done for index, counts in kept.items()}
    shards = plan_shards(candidates, cut, scan, done)
    if any(run.map_index >= len(shards) for run in before):
        ledger.drop_shards(key, len(shards))
    return shards


def pass_of_run(
    prepared: Prepared, *, limit: int | None, rescore: Rescore, keys: KeyRange, scored: TimeRange | None
) -> Pass:
    """Return which rows of the source a run looks at: where it looks for all that is new, what the cursor says.

    The same for a dry run, which then finds what the run would.
    """
    complete = limit is None and rescore is Rescore.NOTHING and keys == EVERYTHING and scored is None
    if prepared.ledger is None or not complete:
        return Pass()
    return next_pass(prepared.job, prepared.source, prepared.ledger.cursor)


def add_up(ledger: Ledger, key: RunKey, shards: Sequence[Shard]) -> RunTotal:
    """Add up a run's shards, hold the sum against the tables, and move the job's cursor on.

    :param key: the task that scored them, with any map index
    :raises UnaccountedError: if a shard is not done, or the tables do not hold what the shards have counted
    """
    found = ledger.shards_of(key)
    done = {run.map_index for run in found if run.state == runs.SUCCESS}
    missing = [f"{index} ({shard})" for index, shard in enumerate(shards) if index not in done]
    if missing:
        raise UnaccountedError(
            f"of the {len(shards)} shards of {key.task_id} of {key.run_id}, these are not done: {', '.join(missing)}; "
            f"clear them in Airflow, and {key.task_id} goes on where they stopped"
        )
    counts = reduce(add, (run.counts for run in found), Counts())
    _check(ledger, found, counts)
    ledger.no_longer_want(key)
    ledger.end_pass(shards[0].scan or Pass())
    started = min(run.started_at for run in found)
    ended = max(run.ended_at or run.started_at for run in found)
    last = max(found, key=lambda run: run.ended_at or run.started_at)
    return RunTotal(
        counts=counts,
        shards=len(shards),
        model=last.model,
        revision=last.revision,
        device=next((run.device for run in found if run.device), None),
        seconds=round((ended - started).total_seconds(), 3),
    )


def _check(ledger: Ledger, found: Sequence[ShardRun], counts: Counts) -> None:
    """Compare the counts with the rows in the tables. Another run may have replaced some of them since, no more."""
    kept = ledger.rows_of([run.id for run in found])
    keyed = counts.rejected - sum(counts.unkeyed.values())
    replaced = counts.scored + keyed - kept.scored - kept.rejected
    wrong = kept.scored > counts.scored or kept.rejected > keyed or replaced < 0
    if wrong or replaced > ledger.done_beside(found):
        raise UnaccountedError(
            f"rows unaccounted for: the shards have counted {counts}, {sum(counts.unkeyed.values())} of the rejects "
            f"without a key, and the tables hold {kept.scored} scores and {kept.rejected} rejects of theirs; did "
            "somebody change the tables while the run was at work?"
        )
