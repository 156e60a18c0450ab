"""Evaluations in the warehouse: what is recorded, and which evaluation the next one is compared with."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, insert, select, text
from sqlalchemy.exc import OperationalError

from review_scoring.errors import BenchmarkError, DeviceError, ScoringInterruptedError
from review_scoring.evaluation.champion import require_benchmark
from review_scoring.evaluation.predictions import first_rows
from review_scoring.models.catalogue import find_entry
from review_scoring.reviews import Reject, RejectReason
from review_scoring.warehouse.engine import writing
from review_scoring.warehouse.evaluations import benchmark_store
from review_scoring.warehouse.evaluations.new_evaluation import write_evaluation
from review_scoring.warehouse.evaluations.records import LabelledReview
from tests.evaluation.synthetic import REVIEWS, Bench, ScriptedClassifier
from tests.stubs import MODEL

FEW = [f"r{n:03}" for n in range(10)]
MANY = [f"r{n:03}" for n in range(40)]


@pytest.fixture
def bench(engine: Engine) -> Bench:
    """An empty warehouse."""
    return Bench.on(engine)


def right(text: str, but: Sequence[str] = ()) -> str:
    """Return the label of one of `REVIEWS` by its text, or the wrong label for the ids in `but`."""
    n = int(text.rsplit(" ", 1)[1])
    return "pos" if n % 2 != (f"r{n:03}" in but) else "neg"


def rows(bench: Bench, table: str) -> list[Any]:
    each = getattr(bench.store.tables, table)
    with bench.store.engine.connect() as connection:
        return list(connection.execute(select(each).order_by(*each.primary_key)).all())


def test_an_evaluation_is_kept_with_its_figures_and_every_prediction(bench: Bench) -> None:
    line = bench.evaluate(bench.load(), FEW)
    (run,) = rows(bench, "benchmark_runs")
    assert (run.accuracy, run.reviews, run.model, run.revision) == (0.9, 100, MODEL.name, MODEL.revision)
    assert (run.reference_verdict, run.last_run_verdict, run.passed) == ("no reference", "first run", True)
    assert line.id == run.id
    metrics = json.loads(run.metrics)
    assert metrics["confusion"] == {"neg": {"neg": 45, "pos": 5}, "pos": {"neg": 5, "pos": 45}}
    classes = rows(bench, "benchmark_class_metrics")
    assert {row.label for row in classes} == {"neg", "pos", "macro avg", "weighted avg"}
    predictions = rows(bench, "benchmark_predictions")
    assert len(predictions) == 100
    assert [row.review_id for row in predictions if row.expected != row.predicted] == FEW


def test_the_same_model_twice_is_unchanged_a_better_one_better_and_a_worse_one_is_stopped(bench: Bench) -> None:
    loaded = bench.load()
    lines = [bench.evaluate(loaded, wrong) for wrong in (FEW, FEW, [], MANY, MANY, FEW)]
    told = [(line.last_run_verdict, line.passed) for line in lines]
    assert told == [
        ("first run", True),
        ("unchanged", True),
        ("better", True),
        ("worse", False),
        ("worse", False),  # again: what did not pass is no measure for the next
        ("worse", False),
    ]
    runs = rows(bench, "benchmark_runs")
    assert [run.compared_with for run in runs] == [None, *(runs[n].id for n in (0, 1, 2, 2, 2))]
    assert lines[3].explanation.endswith("of 100 reviews 40 became wrong and 0 right (p = 1.8e-12, level 0.01)")


def test_a_model_whose_labels_are_swapped_does_not_pass_its_first_evaluation(bench: Bench) -> None:
    line = bench.evaluate(bench.load(), [review.id for review in REVIEWS[:73]])
    assert (line.accuracy, line.reference_verdict, line.last_run_verdict) == (
        0.27,
        "no reference",
        "first run",
    )
    assert line.passed is False
    assert "accuracy 0.2700 is below 0.5000, the accuracy of always predicting" in line.explanation
    (run,) = rows(bench, "benchmark_runs")
    assert json.loads(run.metrics)["chance"]["below"] is True


def test_a_model_in_use_is_not_worse_because_a_better_revision_was_evaluated(bench: Bench) -> None:
    loaded = bench.load()
    better = replace(MODEL, revision="1" * 64)
    first = bench.evaluate(loaded, MANY)
    assert bench.evaluate(loaded, [], model=better).last_run_verdict == "better"
    again = bench.evaluate(loaded, MANY)
    assert (again.last_run_verdict, again.passed) == ("unchanged", True)
    assert f"since evaluation {first.id} of" in again.explanation
    require_benchmark(bench.store, MODEL, "films")


def test_the_reviews_that_changed_can_be_read_with_the_statement_of_the_docs(bench: Bench) -> None:
    loaded = bench.load()
    bench.evaluate(loaded, ["r001", "r002"])
    classifier = ScriptedClassifier(
        lambda text: Reject(RejectReason.NOT_FINITE, "") if text.endswith(" 4") else right(text, but=["r002"])
    )
    second = bench.evaluate(loaded, classifier=classifier).id
    docs = (Path(__file__).parents[2] / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    (statement,) = re.findall(r"```sql\n(SELECT latest.*?)```", docs, re.DOTALL)
    with bench.store.engine.connect() as connection:
        found = connection.execute(text(statement.replace("r.id = 12", f"r.id = {second}"))).all()
    assert sorted(map(tuple, found)) == [("r001", "pos", "neg", "pos"), ("r004", "neg", "neg", None)]


def test_a_set_that_changed_under_its_name_is_recorded(bench: Bench) -> None:
    first = bench.load()
    bench.evaluate(first, FEW)
    again = bench.load()
    assert (again.id, again.is_new, again.changed) == (first.id, False, False)
    other = bench.load([replace(REVIEWS[0], text="another text"), *REVIEWS[1:]], content="b")
    assert (other.is_new, other.changed) == (True, True)
    sets = rows(bench, "benchmark_sets")
    assert [(row.content_hash[0], row.replaces_id) for row in sets] == [("a", None), ("b", first.id)]
    back = bench.load()
    assert (back.id, back.is_new, back.changed) == (first.id, False, True)
    assert bench.evaluate(back, FEW).last_run_verdict == "unchanged"


def test_a_set_that_changed_is_compared_on_the_reviews_that_both_have(bench: Bench) -> None:
    first = bench.evaluate(bench.load(), FEW).id
    relabelled = [replace(review, label={"neg": "pos", "pos": "neg"}[review.label]) for review in REVIEWS[:5]]
    more = [LabelledReview(f"s{n}", f"one more review {n}", "neg") for n in range(50)]
    grown = bench.load([*relabelled, *REVIEWS[5:], *more], content="b")
    for _ in range(2):  # again: trying once more does not make a worse model pass
        line = bench.evaluate(grown, MANY)
        assert (line.last_run_verdict, line.passed) == ("worse", False)
        assert f"since evaluation {first} of" in line.explanation
        assert "compared on the reviews that both have, with the same text and label" in line.explanation
        assert "of 95 reviews 30 became wrong and 0 right" in line.explanation
    good = bench.evaluate(grown, FEW)
    assert good.last_run_verdict == "unchanged"
    assert "the set has changed" not in bench.evaluate(grown, FEW).explanation
    other = bench.evaluate(bench.load(more, content="c"), FEW)
    assert other.last_run_verdict == "unchanged"
    unrelated = [replace(review, id=f"t{review.id}") for review in more]
    assert bench.evaluate(bench.load(unrelated, content="d"), FEW).last_run_verdict == "first run"


def test_reviews_whose_text_changed_are_not_compared(bench: Bench) -> None:
    empty = [replace(review, text="") for review in REVIEWS[:20]]
    bench.evaluate(bench.load([*empty, *REVIEWS[20:]]), FEW)
    rewritten = [replace(review, text=f"{review.text} or another") for review in REVIEWS[50:]]
    line = bench.evaluate(bench.load([*REVIEWS[:50], *rewritten], content="b"), [r.id for r in rewritten])
    assert (line.last_run_verdict, line.passed) == ("unchanged", True)
    assert "of 30 reviews 0 became wrong and 0 right" in line.explanation
    others = [replace(review, text=f"{review.text} altogether") for review in REVIEWS]
    assert bench.evaluate(bench.load(others, content="c"), MANY).last_run_verdict == "first run"


def test_a_run_that_is_cleared_leaves_the_approval_of_an_earlier_revision(bench: Bench) -> None:
    loaded = bench.load()
    bench.evaluate(loaded, FEW, run_id="weekly")
    bench.evaluate(loaded, FEW, run_id="weekly", model=replace(MODEL, revision="1" * 64))
    require_benchmark(bench.store, MODEL, "films")
    assert len(rows(bench, "benchmark_runs")) == 2


def test_a_retried_task_replaces_what_it_had_written(bench: Bench) -> None:
    loaded = bench.load()
    bench.evaluate(loaded, FEW, run_id="the run")
    bench.evaluate(loaded, MANY, run_id="the run")
    (run,) = rows(bench, "benchmark_runs")
    assert (run.accuracy, run.last_run_verdict) == (0.6, "first run")
    assert len(rows(bench, "benchmark_predictions")) == 100
    assert len(rows(bench, "benchmark_class_metrics")) == 4


def test_a_retried_task_leaves_what_a_promotion_or_another_evaluation_names(bench: Bench) -> None:
    loaded = bench.load()
    compared = bench.evaluate(loaded, FEW, run_id="the run").id
    bench.evaluate(loaded, FEW, run_id="another")
    promoted = bench.evaluate(loaded, FEW, run_id="the run").id
    jobs, promotions = bench.store.tables.jobs, bench.store.tables.promotions
    now = bench.store.now()
    with writing(bench.store.engine).begin() as connection:
        job = connection.execute(
            insert(jobs).values(name="films", source="s", id_type="integer", created_at=now)
        ).inserted_primary_key
        assert job is not None
        choice = {"model": MODEL.name, "revision": MODEL.revision, "promoted_by": "ada", "reason": "why"}
        connection.execute(
            insert(promotions).values(
                job_id=job[0], benchmark_run_id=promoted, promoted_at=now, dag_id="d", dag_run_id="r", **choice
            )
        )
    last = bench.evaluate(loaded, FEW, run_id="the run").id
    kept = [run.id for run in rows(bench, "benchmark_runs") if run.dag_run_id == "the run"]
    assert kept == [compared, promoted, last]
    assert len(bench.store.predictions(promoted)) == 100


def test_a_limited_evaluation_takes_the_same_reviews_each_time_and_is_compared_with_its_like(bench: Bench) -> None:
    loaded = bench.load()
    bench.evaluate(loaded, FEW)
    limited = bench.evaluate(loaded, FEW, limit=30)
    assert (limited.reviews, limited.last_run_verdict) == (30, "first run")
    assert bench.evaluate(loaded, FEW, limit=30).last_run_verdict == "unchanged"
    labels = [review.label for review in first_rows(REVIEWS, 30)]
    assert 8 < labels.count("neg") < 22


def test_in_between_is_counted_and_compared_by_the_more_probable_side(bench: Bench) -> None:
    def says(text: str) -> list[float]:
        n = int(text.rsplit(" ", 1)[1])
        return [0.1, 0.6, 0.3] if n < 20 else ([0.1, 0.1, 0.8] if n % 2 else [0.8, 0.1, 0.1])

    classifier = ScriptedClassifier(says, labels=("neg", "neu", "pos"))
    line = bench.evaluate(bench.load(), classifier=classifier)
    assert (line.in_between, line.accuracy) == (20, 0.9)  # of the twenty, ten are pos
    first = rows(bench, "benchmark_predictions")[0]
    assert (first.label, first.predicted, first.expected) == ("neu", "pos", "neg")


def test_texts_that_no_model_can_score_are_left_out_and_a_models_own_rejects_count_as_wrong(bench: Bench) -> None:
    reviews = [*REVIEWS, LabelledReview("s1", "", "pos"), LabelledReview("s2", None, "neg")]

    def says(text: str) -> str | Reject:
        n = int(text.rsplit(" ", 1)[1])
        return Reject(RejectReason.NOT_FINITE, "") if n < 4 else ("pos" if n % 2 else "neg")

    line = bench.evaluate(bench.load(reviews), classifier=ScriptedClassifier(says))
    assert (line.reviews, line.rejected, line.accuracy) == (100, 2, 0.96)
    metrics = json.loads(rows(bench, "benchmark_runs")[0].metrics)
    assert metrics["rejects"] == {"empty_text": 1, "null_text": 1, "not_finite": 4}
    reasons = [row.reject_reason for row in rows(bench, "benchmark_predictions") if row.predicted is None]
    assert sorted(reasons) == ["empty_text", "not_finite", "not_finite", "not_finite", "not_finite", "null_text"]


def test_an_evaluation_on_a_device_with_too_little_memory_is_not_recorded(bench: Bench) -> None:
    def says(text: str) -> str | Reject:
        return Reject(RejectReason.OUT_OF_MEMORY, "9 tokens do not fit") if text.endswith("9") else right(text)

    with pytest.raises(DeviceError, match=r"10 of 100 reviews got no score .* \(out_of_memory: 9 tokens do not fit\)"):
        bench.evaluate(bench.load(), classifier=ScriptedClassifier(says))
    assert rows(bench, "benchmark_runs") == []


def test_a_model_without_the_two_labels_is_refused(bench: Bench) -> None:
    classifier = ScriptedClassifier(lambda text: "good", labels=("good", "bad"))
    with pytest.raises(BenchmarkError, match="labels are good, bad, and models are compared on neg and pos"):
        bench.evaluate(bench.load(), classifier=classifier)


def test_a_set_without_any_text_is_refused(bench: Bench) -> None:
    empty = [replace(review, text=" ") for review in REVIEWS]
    with pytest.raises(BenchmarkError, match="none of the 100 reviews has a text"):
        bench.evaluate(bench.load(empty))


def test_a_model_below_what_is_published_of_it_does_not_pass(bench: Bench) -> None:
    entry = find_entry("allocine-xlm-roberta-base").model_copy(update={"figures_set": "films"})
    line = bench.evaluate(bench.load(), MANY, entry=entry)
    assert (line.reference_verdict, line.passed) == ("below", False)
    assert line.explanation.startswith("accuracy 0.6000 on 100 reviews is below the published 0.96915 (on 20,000 ")
    assert bench.evaluate(bench.load(), [], entry=entry).reference_verdict == "cannot tell"


def test_an_evaluation_that_is_stopped_leaves_nothing(bench: Bench) -> None:
    def stopped(text: str) -> str:
        raise ScoringInterruptedError(f"cancelled at a text of {len(text)} characters")

    with pytest.raises(ScoringInterruptedError):
        bench.evaluate(bench.load(), classifier=ScriptedClassifier(stopped))
    assert rows(bench, "benchmark_runs") == []


def test_a_connection_that_is_lost_at_the_end_does_not_cost_the_evaluation(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost: list[int] = []

    def losing_one(*arguments: Any, **values: Any) -> int:
        if not lost:
            lost.append(1)
            raise OperationalError("INSERT", {}, ConnectionError(), connection_invalidated=True)
        return write_evaluation(*arguments, **values)

    monkeypatch.setattr(benchmark_store, "write_evaluation", losing_one)
    bench.evaluate(bench.load(), FEW)
    assert lost
    assert len(rows(bench, "benchmark_runs")) == 1
