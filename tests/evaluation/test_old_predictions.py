"""Predictions of old evaluations go, except those that a new evaluation may still be compared with."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import product
from typing import Any

import pytest
from sqlalchemy import Engine, delete, func, select, update

from review_scoring.models.folder import ModelFolder
from review_scoring.request import RunKey
from review_scoring.warehouse.engine import writing
from review_scoring.warehouse.evaluations import old_predictions
from review_scoring.warehouse.evaluations.past_evaluations import details
from review_scoring.warehouse.evaluations.promotions import Promotion
from tests.conftest import seeds
from tests.evaluation.synthetic import REVIEWS, Bench
from tests.stubs import MODEL, Warehouse

OTHER = replace(MODEL, revision="1" * 64)
WRONG = [f"r{n:03}" for n in range(40)]


@pytest.fixture
def bench(engine: Engine) -> Bench:
    return Bench.on(engine)


def age(bench: Bench, days: int) -> None:
    """Move all evaluations into the past."""
    runs = bench.store.tables.benchmark_runs
    with writing(bench.store.engine).begin() as connection:
        for row in connection.execute(select(runs.c.id, runs.c.ended_at)).all():
            ended = row.ended_at - timedelta(days=days)
            connection.execute(update(runs).where(runs.c.id == row.id).values(ended_at=ended))


def kept(bench: Bench) -> list[int]:
    """Return the evaluations that have predictions."""
    of_run = bench.store.tables.benchmark_predictions.c.benchmark_run_id
    with bench.store.engine.connect() as connection:
        return list(connection.scalars(select(of_run).distinct().order_by(of_run)))


def test_predictions_of_old_evaluations_go_and_the_evaluations_stay(bench: Bench) -> None:
    loaded = bench.load()
    ids = [bench.evaluate(loaded).id for _ in range(4)]
    age(bench, 100)
    ids += [bench.evaluate(loaded).id for _ in range(2)]
    assert bench.store.remove_old_predictions(90, dry_run=True) == 300
    assert kept(bench) == ids
    assert bench.store.remove_old_predictions(90) == 300
    assert kept(bench) == ids[3:], "two recent ones, and the one that the first of them was compared with"
    tables = bench.store.tables
    with bench.store.engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(tables.benchmark_runs)) == 6
        assert details(connection, tables, evaluation=ids[0]).classes
    assert bench.store.remove_old_predictions(90) == 0


def test_the_evaluation_that_a_promotion_rests_on_keeps_its_predictions(warehouse: Warehouse) -> None:
    warehouse.create()
    job = warehouse.prepare().existing_ledger.job
    bench = Bench.on(warehouse.engine)
    loaded = bench.load()
    first, *others = [bench.evaluate(loaded).id for _ in range(4)]
    bench.store.promote(
        job.id,
        Promotion(
            model="stub",
            revision=MODEL.revision,
            benchmark_run_id=first,
            promoted_by="admin",
            reason="as good",
            dag_id="promote_model",
            dag_run_id="run",
        ),
    )
    age(bench, 100)
    assert bench.store.remove_old_predictions(90, dry_run=True) == 100
    bench.store.remove_old_predictions(90)
    assert kept(bench) == [first, *others[1:]]
    with writing(bench.store.engine).begin() as connection:  # promoted after it was looked up
        assert not old_predictions.remove_some(connection, bench.store.tables, evaluation=first)
    assert first in kept(bench)


def test_a_model_that_got_worse_is_noticed_after_its_old_predictions_are_gone(bench: Bench) -> None:
    loaded = bench.load()
    for _ in range(3):
        bench.evaluate(loaded)
    bench.evaluate(loaded, model=OTHER)
    age(bench, 100)
    assert bench.store.remove_old_predictions(90) == 100
    worse = bench.evaluate(loaded, WRONG)
    assert worse.last_run_verdict == "worse"
    assert not worse.passed
    age(bench, 100)
    bench.store.remove_old_predictions(90)
    again = bench.evaluate(loaded, WRONG)
    assert again.last_run_verdict == "worse", "compared with the newest one that passed"


def test_a_task_that_is_cleared_is_compared_with_the_evaluation_before_its_own(bench: Bench) -> None:
    loaded = bench.load()
    bench.evaluate(loaded)
    age(bench, 100)
    bench.evaluate(loaded, run_id="cleared")
    age(bench, 100)
    bench.store.remove_old_predictions(90)
    assert bench.evaluate(loaded, WRONG, run_id="cleared").last_run_verdict == "worse"


def test_an_evaluation_whose_predecessor_has_no_predictions_is_a_first_run(bench: Bench) -> None:
    loaded = bench.load()
    bench.evaluate(loaded)
    with writing(bench.store.engine).begin() as connection:
        connection.execute(delete(bench.store.tables.benchmark_predictions))
    found = bench.evaluate(loaded, WRONG)
    assert found.last_run_verdict == "first run"
    assert found.passed


@pytest.mark.parametrize("seed", seeds(1, 3))
def test_whatever_a_new_evaluation_is_compared_with_keeps_its_predictions(sqlite_engine: Engine, seed: int) -> None:
    bench = Bench.on(sqlite_engine)
    chosen = random.Random(seed)  # noqa: S311 not a secret
    sets = [bench.load(REVIEWS[:4], content="a"), bench.load(REVIEWS[:3], content="b")]
    sets.append(bench.load(REVIEWS[:4], name="others", content="c"))
    models = [MODEL, OTHER]
    limits = (None, None, None, 2)
    tasks = [f"run {n}" for n in range(12)]
    for _ in range(60):
        bench.evaluate(
            chosen.choice(sets), model=chosen.choice(models), limit=chosen.choice(limits), run_id=chosen.choice(tasks)
        )
        decide(bench, passed=chosen.random() < 0.5)
        age(bench, 1)
    age(bench, 100)

    def previous() -> Iterator[int]:
        """Return the evaluation to compare with, for each evaluation that may come."""
        unknown: ModelFolder = replace(MODEL, revision="9" * 64)
        for loaded, limit, model, task in product(sets, set(limits), [*models, unknown], [*tasks, "new"]):
            asked: dict[str, Any] = {"model": model.name, "revision": model.revision, "row_limit": limit}
            key = RunKey("benchmark_models", "evaluate_model", task, 0)
            found = bench.store.previous(set_id=loaded.id, key=key, **asked)
            if found is not None:
                yield found.id

    before, evaluations = list(previous()), kept(bench)
    assert bench.store.remove_old_predictions(90) > 0
    assert list(previous()) == before
    assert set(before) <= set(kept(bench)) < set(evaluations)


def decide(bench: Bench, *, passed: bool) -> None:
    """Let the newest evaluation pass or not."""
    runs = bench.store.tables.benchmark_runs
    with writing(bench.store.engine).begin() as connection:
        newest = connection.scalar(select(func.max(runs.c.id)))
        connection.execute(update(runs).where(runs.c.id == newest).values(passed=passed))


def test_one_transaction_removes_a_bounded_number_of_predictions(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(old_predictions, "MOST_ROWS", 30)
    loaded = bench.load()
    ids = [bench.evaluate(loaded).id for _ in range(3)]
    age(bench, 100)
    with writing(bench.store.engine).begin() as connection:
        assert old_predictions.remove_some(connection, bench.store.tables, evaluation=ids[0])
    assert len(bench.store.predictions(ids[0])) == 70
    assert bench.store.remove_old_predictions(90) == 70, "a removal that was cut short goes on"
    assert kept(bench) == ids[1:]
