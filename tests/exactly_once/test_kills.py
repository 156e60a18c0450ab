"""Promise 1: kill the worker anywhere; the rerun ends with the table that an undisturbed run gives."""

from __future__ import annotations

import os
import signal
from collections import Counter
from multiprocessing.process import BaseProcess
from typing import Any

import pytest
from sqlalchemy import Engine

from review_scoring.job import Rescore
from review_scoring.request import KeyRange
from review_scoring.warehouse.ledger.counts import Counts
from tests.conftest import PROVE
from tests.exactly_once import worker
from tests.exactly_once.worker import Telemetry, finish, kill_at, moments, start
from tests.stubs import Warehouse

ROWS = 400
KILLS = 100 if PROVE else 10

# SQL that uses none of the run's own counters: every source row is in exactly one of the two tables, or repeats an id.
ACCOUNTED = """
    SELECT (SELECT count(*) FROM reviews) AS source_rows,
           (SELECT count(*) FROM review_scores) AS scored,
           (SELECT count(*) FROM review_rejects) AS rejected,
           (SELECT count(*) FROM reviews r WHERE r.id IS NOT NULL
              AND NOT EXISTS (SELECT 1 FROM review_scores s WHERE s.review_id = CAST(r.id AS CHAR(20)))
              AND NOT EXISTS (SELECT 1 FROM review_rejects s WHERE s.review_id = CAST(r.id AS CHAR(20)))) AS lost,
           (SELECT count(*) FROM review_scores s JOIN review_rejects j ON s.review_id = j.review_id) AS in_both,
           (SELECT count(*) FROM reviews) - (SELECT count(DISTINCT id) FROM reviews) AS without_a_key
"""


@pytest.fixture
def filled(warehouse: Warehouse) -> Warehouse:
    """400 reviews, some of which cannot be scored, one twice, one without an id."""
    warehouse.create("INTEGER")
    warehouse.run("CREATE INDEX reviews_id ON reviews (id)")
    warehouse.fill(ROWS - 6)
    warehouse.insert((1001, None), (1002, "  "), (1003, ""), (1004, "fin"), (77, "encore"), (None, "sans id"))
    warehouse.prepare()
    return warehouse


def differences(one: Any, other: Any) -> list[object]:
    """Return what is in one of two results of `Warehouse.contents` only."""
    return [row for pair in zip(one, other, strict=True) for row in set(pair[0]) ^ set(pair[1])]


def empty(warehouse: Warehouse) -> None:
    """Forget all that was scored."""
    for table in ("review_scores", "review_rejects", "scoring_shards", "scoring_runs"):
        warehouse.run(f"DELETE FROM {table}")


def account(warehouse: Warehouse) -> None:
    """Check the tables against the source, and the runs' counts against the tables."""
    (found,) = warehouse.run(ACCOUNTED)
    assert (found.lost, found.in_both) == (0, 0)
    assert found.source_rows == found.scored + found.rejected + found.without_a_key
    counts = sum((Counts.from_row(run) for run in warehouse.shards()), Counts())
    assert (counts.read, counts.scored, counts.unchanged) == (found.source_rows, found.scored, 0)
    assert counts.rejected == found.rejected + found.without_a_key


def undisturbed(warehouse: Warehouse) -> tuple[object, int]:
    """Return the tables of an undisturbed run, and how many chunks it committed."""
    finish(start(warehouse, "undisturbed", telemetry := Telemetry.fresh()))
    account(warehouse)
    return warehouse.contents(), telemetry.commits.value


@pytest.mark.prove
def test_a_killed_worker_leaves_nothing_that_a_rerun_does_not_make_whole(
    filled: Warehouse, capsys: pytest.CaptureFixture[str]
) -> None:
    expected, chunks = undisturbed(filled)
    killed: list[Telemetry] = []
    for number, progress in enumerate(moments(KILLS, chunks, seed=20260101)):
        killed.append(killed_at(filled, f"night {number}", progress))
        finish(start(filled, f"night {number}", Telemetry.fresh()))
        assert differences(filled.contents(), expected) == [], f"after kill {number}: {killed[-1].position()}"
        account(filled)
    committed = sum(telemetry.commits.value > 0 for telemetry in killed)
    stages = Counter(worker.STAGES[telemetry.stage.value] for telemetry in killed)
    with capsys.disabled():
        print(f"\n{filled.engine.dialect.name}: {len(killed)} kills within {chunks} chunks, {committed} after a commit")
        print("  " + ", ".join(f"{count} while {stage}" for stage, count in stages.most_common()))
        print("  chunks committed before each: " + " ".join(str(telemetry.commits.value) for telemetry in killed))
    assert committed * 2 >= KILLS, "most kills came before the first commit, and tried little"


def test_a_kill_at_each_commit_of_a_budget_ends_as_an_undisturbed_run_does(filled: Warehouse) -> None:
    def run(run_id: str, telemetry: Telemetry) -> BaseProcess:
        return start(filled, run_id, telemetry, limit=100)

    finish(run("undisturbed", telemetry := Telemetry.fresh()))
    expected, commits = filled.contents(), telemetry.commits.value
    (undisturbed_run,) = filled.runs()
    assert (undisturbed_run.scored + undisturbed_run.rejected, undisturbed_run.waiting) == (101, ROWS - 101)
    for committed in range(commits):
        empty(filled)
        telemetry = Telemetry.fresh()
        telemetry.hold.value = committed
        process = run("night", telemetry)
        worker.wait_for(lambda now=telemetry, n=committed: now.began.value and now.commits.value >= n)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        finish(run("night", Telemetry.fresh()))
        assert differences(filled.contents(), expected) == [], f"killed after {committed} commits"
        (again,) = filled.runs()
        assert (again.scored, again.rejected, again.waiting) == (
            undisturbed_run.scored,
            undisturbed_run.rejected,
            undisturbed_run.waiting,
        )


def test_a_worker_that_is_killed_again_and_again_gets_there(filled: Warehouse) -> None:
    expected, chunks = undisturbed(filled)
    empty(filled)
    for progress in moments(6, chunks // 2, seed=7):
        kill_at(start(filled, "night", telemetry := Telemetry.fresh()), telemetry, progress)
    finish(start(filled, "night", Telemetry.fresh()))
    assert differences(filled.contents(), expected) == []
    account(filled)


def killed_at(warehouse: Warehouse, run_id: str, progress: float) -> Telemetry:
    """Kill a run on an empty ledger at some progress; a run that had ended by then is done again."""
    for _ in range(20):
        empty(warehouse)
        telemetry = Telemetry.fresh()
        if kill_at(start(warehouse, run_id, telemetry), telemetry, progress):
            return telemetry
    raise AssertionError(f"no run was still at work after {progress:.2f} chunks")


def test_two_runs_at_the_same_time_classify_each_review_once(filled: Warehouse) -> None:
    expected, _ = undisturbed(filled)
    empty(filled)
    filled.run("DELETE FROM reviews WHERE id IS NULL")  # each pass would count it
    told = [Telemetry.fresh(), Telemetry.fresh()]
    for process in [start(filled, f"run {n}", telemetry, batch_s=0.05) for n, telemetry in enumerate(told)]:
        finish(process)
    assert differences(filled.contents(), expected) == []
    assert sum(telemetry.texts.value for telemetry in told) == ROWS - 5
    account(filled)


def test_two_runs_over_overlapping_ranges_classify_each_review_once(filled: Warehouse) -> None:
    expected, _ = undisturbed(filled)
    empty(filled)
    filled.run("DELETE FROM reviews WHERE id IS NULL")  # each pass would count it
    told = [(Telemetry.fresh(), KeyRange(upto=250)), (Telemetry.fresh(), KeyRange(upto=1004))]
    for process in [start(filled, f"run {n}", t, batch_s=0.05, keys=keys) for n, (t, keys) in enumerate(told)]:
        finish(process)
    assert differences(filled.contents(), expected) == []
    assert sum(telemetry.texts.value for telemetry, _ in told) == ROWS - 5
    account(filled)


def test_ranges_that_do_not_overlap_are_scored_side_by_side_on_postgresql(postgres_engine: Engine) -> None:
    warehouse = Warehouse(postgres_engine)
    warehouse.create()
    warehouse.fill(100)
    warehouse.prepare()
    ranges = (KeyRange(upto=50), KeyRange(after=50))
    both = [start(warehouse, f"run {n}", Telemetry.fresh(), batch_s=0.5, keys=keys) for n, keys in enumerate(ranges)]
    worker.wait_for(lambda: len(warehouse.run("SELECT 1 FROM scoring_shards WHERE state = 'running'")) == 2)
    for process in both:
        finish(process)
    assert len(warehouse.scores()) == 100


def test_a_killed_runs_work_is_taken_over_by_another_when_its_lease_has_run_out(filled: Warehouse) -> None:
    expected, chunks = undisturbed(filled)
    empty(filled)
    kill_at(start(filled, "killed", telemetry := Telemetry.fresh()), telemetry, chunks / 2)
    filled.run("UPDATE scoring_shards SET lease_until = '2026-01-01 00:00:00.000000'")
    finish(start(filled, "another", Telemetry.fresh()))
    assert differences(filled.contents(), expected) == []
    assert {row.dag_run_id: row.state for row in filled.shards()} == {"killed": "abandoned", "another": "success"}
    assert {row.dag_run_id: row.state for row in filled.runs()} == {"killed": "failed", "another": "success"}


def test_a_worker_that_is_paused_while_another_takes_over_writes_nothing_more(filled: Warehouse) -> None:
    expected, _ = undisturbed(filled)
    empty(filled)
    telemetry = Telemetry.fresh()
    paused = start(filled, "paused", telemetry, batch_s=0.05)
    worker.wait_for(lambda: telemetry.commits.value >= 2)
    assert paused.pid is not None
    os.kill(paused.pid, signal.SIGSTOP)
    if filled.engine.dialect.name == "sqlite":
        # A paused worker may hold SQLite's one write lock; then nobody can take over, which is safe as well.
        os.kill(paused.pid, signal.SIGCONT)
        finish(paused)
        assert differences(filled.contents(), expected) == []
        return
    filled.run("UPDATE scoring_shards SET lease_until = '2026-01-01 00:00:00.000000'")
    finish(start(filled, "another", Telemetry.fresh()))
    before = filled.run("SELECT review_id, shard_id FROM review_scores ORDER BY review_id")
    os.kill(paused.pid, signal.SIGCONT)
    paused.join(60)
    assert paused.exitcode == 1, "a worker that lost its lease must fail"
    assert filled.run("SELECT review_id, shard_id FROM review_scores ORDER BY review_id") == before
    assert differences(filled.contents(), expected) == []


def test_a_rescore_of_all_that_is_killed_scores_each_review_once_per_try_that_committed_it(filled: Warehouse) -> None:
    expected, chunks = undisturbed(filled)
    for n, progress in enumerate(moments(3, chunks, seed=7)):
        telemetry = Telemetry.fresh()
        kill_at(start(filled, "again", telemetry, rescore=Rescore.ALL), telemetry, progress)
        print(f"kill {n}: {telemetry.position()}")
    finish(start(filled, "again", telemetry := Telemetry.fresh(), rescore=Rescore.ALL))
    assert differences(filled.contents(), expected) == []
    (shard,) = (row for row in filled.shards() if row.dag_run_id == "again")
    written = filled.run("SELECT count(*) FROM review_scores WHERE shard_id = :shard", shard=shard.id)
    assert written[0][0] == shard.scored
