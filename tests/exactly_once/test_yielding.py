"""A rescore and a nightly run side by side: the rescore yields and continues, and both end as if they had run alone."""

from __future__ import annotations

import os
import signal
from multiprocessing.process import BaseProcess

import pytest

from review_scoring.job import Rescore
from review_scoring.warehouse.schema import YIELDED
from tests.exactly_once import worker
from tests.exactly_once.worker import Telemetry, finish, start
from tests.stubs import Warehouse

OLD, NEW = 300, 60


@pytest.fixture
def scored(warehouse: Warehouse) -> Warehouse:
    """Reviews of which most are scored."""
    warehouse.create()
    warehouse.fill(OLD)
    warehouse.score("before")
    warehouse.fill(NEW, first=OLD + 1)
    return warehouse


def rescoring(warehouse: Warehouse, telemetry: Telemetry) -> BaseProcess:
    """Start a rescore, and return when it is held after two commits."""
    telemetry.hold.value = 2
    process = start(warehouse, "again", telemetry, rescore=Rescore.ALL, yields=True)
    worker.wait_for(lambda: telemetry.commits.value >= 2)
    return process


def wanted(warehouse: Warehouse) -> bool:
    return bool(warehouse.run("SELECT requested_by FROM scoring_jobs")[0].requested_by)


def states(warehouse: Warehouse) -> dict[str, str]:
    return {run.dag_run_id: run.state for run in warehouse.shards()}


def test_a_night_overtakes_a_rescore_which_then_goes_on_and_scores_nothing_twice(scored: Warehouse) -> None:
    again = Telemetry.fresh()
    rescore = rescoring(scored, again)
    night = start(scored, "night", Telemetry.fresh())
    worker.wait_for(lambda: wanted(scored))
    again.hold.value = -1
    finish(night)
    finish(rescore)
    assert states(scored) == {"before": "success", "night": "success", "again": "success"}
    done = {run.dag_run_id: run for run in scored.shards()}
    assert done["night"].scored == NEW
    assert done["again"].scored == OLD + NEW
    assert len(scored.scores()) == OLD + NEW


def test_a_rescore_goes_on_after_a_night_that_was_killed_when_its_wish_has_run_out(scored: Warehouse) -> None:
    again, night = Telemetry.fresh(), Telemetry.fresh()
    rescore = rescoring(scored, again)
    night.hold.value = 1
    killed = start(scored, "night", night)
    worker.wait_for(lambda: wanted(scored))
    again.hold.value = -1
    worker.wait_for(lambda: night.commits.value >= 1)
    assert states(scored)["again"] == YIELDED
    assert killed.pid is not None
    os.kill(killed.pid, signal.SIGKILL)
    killed.join()
    long_ago = "2026-01-01 00:00:00.000000"
    of_night = "run_id IN (SELECT id FROM scoring_runs WHERE dag_run_id = 'night')"
    scored.run(f"UPDATE scoring_shards SET lease_until = :at WHERE {of_night}", at=long_ago)
    scored.run("UPDATE scoring_jobs SET requested_until = :at", at=long_ago)
    finish(rescore)
    assert states(scored) == {"before": "success", "night": "abandoned", "again": "success"}
    left = OLD + NEW - len(scored.scores())
    assert 0 < left < NEW
    assert scored.score("next").counts.scored == left


def test_two_rescores_of_a_job_at_once_take_turns_and_each_scores_all(scored: Warehouse) -> None:
    first = Telemetry.fresh()
    held = rescoring(scored, first)
    second = start(scored, "another", told := Telemetry.fresh(), rescore=Rescore.ALL, yields=True)
    worker.wait_for(lambda: told.tries.value >= 2)
    assert (told.commits.value, states(scored)["again"]) == (0, "running")
    first.hold.value = -1
    finish(held)
    finish(second)
    done = {run.dag_run_id: run for run in scored.shards()}
    assert (done["again"].state, done["again"].scored) == ("success", OLD)
    assert (done["another"].state, done["another"].scored) == ("success", OLD)
    assert scored.score("night").counts.scored == NEW
