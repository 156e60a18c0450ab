"""A run is checked against the ledger: verdicts are kept, and a rescore has none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from review_scoring.check_settings import Checks
from review_scoring.errors import ConfigurationError
from review_scoring.job import Rescore
from review_scoring.request import RunKey
from review_scoring.run.checking import CheckReport, check_run
from review_scoring.warehouse.evaluations.past_evaluations import details
from review_scoring.warehouse.ledger.verdicts import Verdict, verdicts_in
from tests.evaluation.synthetic import Bench, ScriptedClassifier
from tests.stubs import MODEL, Warehouse, predicted

KEY = RunKey("dag", "score", "1")


def test_a_run_of_empty_texts_fails_and_its_verdicts_are_kept(warehouse: Warehouse) -> None:
    warehouse.create()
    warehouse.insert(*((n, "") for n in range(200)))
    warehouse.score("1")
    ledger = warehouse.prepare().existing_ledger
    report = check_run(ledger, Checks(), KEY)
    assert report is not None
    assert [each.name for each in report.failed] == ["rejects"]
    assert report.paragraph == (
        "Checks: 1 failed, 7 skipped. rejects failed: 200 of 200 reviews were rejected (100.0%; the limit is 50.0%): "
        "200 empty_text."
    )
    assert verdicts_in(warehouse.runs()[0].checks) == tuple(report.verdicts)
    again = check_run(ledger, Checks(rejects="warn"), KEY)
    assert again is not None
    assert again.failed == []
    assert verdicts_in(warehouse.runs()[0].checks)[0].state == "warned", "a second judgement replaces the first"


def test_a_rescore_is_not_checked(warehouse: Warehouse) -> None:
    warehouse.create()
    warehouse.fill(40)
    warehouse.score("1", Rescore.ALL)
    assert check_run(warehouse.prepare().existing_ledger, Checks(), KEY) is None
    assert warehouse.runs()[0].checks is None


def test_a_task_that_scored_nothing_is_named(warehouse: Warehouse) -> None:
    warehouse.create()
    warehouse.score("1")
    with pytest.raises(
        ConfigurationError, match=r"task 'other' of 1 has no run of job 'films'; is score_task_id right"
    ):
        check_run(warehouse.prepare().existing_ledger, Checks(), replace(KEY, task_id="other"))


def test_a_paragraph_counts_states_and_quotes_what_is_not_plausible() -> None:
    states = ("passed", "warned", "failed", "skipped", "passed")
    report = CheckReport([Verdict(f"check{n}", state, 1.0, 2.0, f"Text {n}.") for n, state in enumerate(states)])
    assert report.paragraph == (
        "Checks: 1 failed, 1 warned, 2 passed, 1 skipped. check2 failed: Text 2. check1 warned: Text 1."
    )
    assert CheckReport([]).paragraph == "Checks: all off."


def test_the_newest_evaluation_of_the_same_revision_lets_expect_an_accuracy(warehouse: Warehouse) -> None:
    warehouse.create()
    warehouse.fill(200)
    warehouse.score("1")
    ledger = warehouse.prepare().existing_ledger
    bench, classifier = Bench.on(warehouse.engine), ScriptedClassifier(lambda text: predicted(text).probabilities)
    bench.evaluate(bench.load(name="older", content="b"), classifier=classifier)
    loaded = bench.load()
    bench.evaluate(loaded, model=replace(MODEL, revision="1" * 64), classifier=classifier)
    assert "on older had" in accuracy(check_run(ledger, Checks(), KEY)).text, "another revision's does not count"
    found = bench.evaluate(loaded, classifier=classifier)
    verdict = accuracy(check_run(ledger, Checks(), KEY))
    assert verdict.state == "passed"
    assert f"; evaluation {found.id} on films had {found.accuracy:.1%}; the limit is" in verdict.text
    with warehouse.engine.connect() as connection:
        bins = details(connection, warehouse.tables, evaluation=found.id).metrics["calibration"]["bins"]
    scores = [row.score for row in warehouse.scores().values()]
    inside = [sum(low["from"] < each <= low["to"] for each in scores) for low in bins]
    inside[0] += sum(each <= 0.5 for each in scores)
    expected = sum(n * (each["accuracy"] or 0) for n, each in zip(inside, bins, strict=True))
    known = sum(n for n, each in zip(inside, bins, strict=True) if each["reviews"])
    assert verdict.figure == pytest.approx(expected / known)


def accuracy(report: CheckReport | None) -> Verdict:
    assert report is not None
    return next(each for each in report.verdicts if each.name == "accuracy")
