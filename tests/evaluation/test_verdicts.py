"""Verdicts keep their significance level, and detect the changes that they are made for."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest, fisher_exact

from review_scoring.evaluation.gate import failures, paragraph_of, passes
from review_scoring.evaluation.published import Reference, references_of
from review_scoring.evaluation.result import EvaluationResult, SkippedModel, results_from_xcom
from review_scoring.evaluation.verdicts import (
    CHANCE_LEVEL,
    LAST_RUN_LEVEL,
    LEVEL,
    POWER,
    LastRunVerdict,
    ReferenceVerdict,
    against_chance,
    against_last_run,
    against_reference,
    power,
)
from review_scoring.models.catalogue import find_entry
from review_scoring.warehouse.evaluations.records import LabelledPrediction
from tests.evaluation.synthetic import quick_metrics

TIMES = 1000
XLM, BERT = (find_entry(f"allocine-{name}") for name in ("xlm-roberta-base", "bert-multilingual"))


def published(right: int, reviews: int = 20_000) -> Reference:
    return Reference(
        metric="accuracy", label=None, printed=f"{right / reviews:.5f}", reviews=reviews, lowest=right, highest=right
    )


def evaluation(right: int, reviews: int) -> tuple[dict[str, int], dict[str, int]]:
    """Return counts of an evaluation with this many correct predictions, half of the reviews of each class."""
    support = {"neg": reviews // 2, "pos": reviews - reviews // 2}
    neg = min(right // 2, support["neg"])
    return {"neg": neg, "pos": right - neg}, support


def verdict(right: int, reviews: int, *references: Reference) -> ReferenceVerdict:
    return against_reference(quick_metrics(*evaluation(right, reviews)), references).verdict


@pytest.mark.parametrize("reviews", [1367, 20_000])
def test_in_a_thousand_evaluations_of_a_model_as_good_as_published_alarms_are_as_rare_as_the_level(
    reviews: int,
) -> None:
    chance = np.random.default_rng(reviews)
    told = [
        verdict(int(chance.binomial(reviews, 0.95)), reviews, published(int(chance.binomial(20_000, 0.95))))
        for _ in range(TIMES)
    ]
    for alarm in (ReferenceVerdict.BELOW, ReferenceVerdict.ABOVE):
        rate = binomtest(told.count(alarm), TIMES, LEVEL)
        print(f"{reviews} reviews: {alarm} in {told.count(alarm)} of {TIMES} evaluations, level {LEVEL}")
        assert rate.pvalue > 0.001


def test_comparing_each_class_as_well_does_not_raise_more_alarms_than_the_level() -> None:
    chance = np.random.default_rng(3)
    support = {"neg": 690, "pos": 677}
    alarms = 0
    for _ in range(TIMES):
        published_right = {"neg": int(chance.binomial(10_294, 0.96)), "pos": int(chance.binomial(9_706, 0.95))}
        references = [
            published(sum(published_right.values())),
            replace(published(published_right["neg"], 10_294), metric="recall", label="neg"),
            replace(published(published_right["pos"], 9_706), metric="recall", label="pos"),
        ]
        right = {"neg": int(chance.binomial(690, 0.96)), "pos": int(chance.binomial(677, 0.95))}
        alarms += against_reference(quick_metrics(right, support), references).verdict is ReferenceVerdict.BELOW
    print(f"three figures: below in {alarms} of {TIMES} evaluations, level {LEVEL}")
    assert binomtest(alarms, TIMES, LEVEL, alternative="greater").pvalue > 0.001


def test_in_a_thousand_re_evaluations_with_random_changes_alarms_are_as_rare_as_the_level() -> None:
    chance = np.random.default_rng(11)
    told = []
    for _ in range(TIMES):
        before = {f"{n}": row(n, right=bool(right)) for n, right in enumerate(chance.random(300) < 0.5)}
        flipped = set(np.flatnonzero(chance.random(300) < 0.3))
        now = [row(n, right=is_right(before[f"{n}"]) != (n in flipped)) for n in range(300)]
        told.append(against_last_run(before, now).verdict)
    alarms = TIMES - told.count(LastRunVerdict.UNCHANGED)
    print(f"random changes: better or worse in {alarms} of {TIMES} re-evaluations, level {LAST_RUN_LEVEL}")
    assert binomtest(alarms, TIMES, LAST_RUN_LEVEL).pvalue > 0.001


def test_a_sample_of_1367_cannot_contradict_a_published_figure_by_half_a_point() -> None:
    half_a_point_less = round(1367 * (0.95 - 0.005))
    found = against_reference(quick_metrics(*evaluation(half_a_point_less, 1367)), [published(19_000)])
    assert found.verdict is ReferenceVerdict.CANNOT_TELL
    assert "1 point worse would be detected in only" in found.explanation


def test_twenty_thousand_reviews_are_enough_for_a_verdict() -> None:
    assert verdict(19_000, 20_000, published(19_000)) is ReferenceVerdict.MATCHES
    assert verdict(18_800, 20_000, published(19_000)) is ReferenceVerdict.BELOW
    assert verdict(19_200, 20_000, published(19_000)) is ReferenceVerdict.ABOVE


def test_a_drop_of_several_points_is_found_in_a_small_sample_too() -> None:
    found = against_reference(quick_metrics(*evaluation(round(0.91 * 1367), 1367)), [published(19_000)])
    assert found.verdict is ReferenceVerdict.BELOW
    assert (
        "accuracy 0.9100 on 1,367 reviews is below the published 0.95000 (on 20,000 reviews) by at least 4.0 points"
        in (found.explanation)
    )


def test_a_figure_printed_with_two_digits_is_contradicted_only_by_what_no_rounding_explains() -> None:
    references = references_of(BERT, "allocine")
    # Its table allows 0.9534 to 0.9549 for the printed 0.95: an evaluation of 0.9534 is no loss.
    right = {"neg": 9_859, "pos": references[0].lowest - 9_859}
    found = against_reference(quick_metrics(right, {"neg": 10_294, "pos": 9_706}), references)
    assert found.verdict is ReferenceVerdict.MATCHES
    assert "0.9534 to 0.9549" in found.explanation


def test_a_model_that_lost_one_class_is_found_although_its_accuracy_stayed() -> None:
    references = references_of(BERT, "allocine")
    right = {"neg": 10_294 - 200, "pos": references[0].lowest - (10_294 - 200)}
    found = against_reference(quick_metrics(right, {"neg": 10_294, "pos": 9_706}), references)
    assert found.verdict is ReferenceVerdict.BELOW
    assert found.explanation.startswith("recall of pos 0.9")


def test_the_power_grows_with_the_reviews_and_equals_that_of_a_simulation() -> None:
    reference = published(19_383)
    powers = [power(n, reference, LEVEL) for n in (1367, 5_000, 20_000)]
    assert powers == sorted(powers)
    assert powers[0] < POWER < powers[2]
    chance = np.random.default_rng(1)
    noticed = sum(
        verdict(int(chance.binomial(5_000, 0.96915 - 0.01)), 5_000, published(int(right))) is ReferenceVerdict.BELOW
        for right in chance.binomial(20_000, 0.96915, size=TIMES)
    )
    assert binomtest(noticed, TIMES, powers[1]).pvalue > 0.001


def test_a_small_published_sample_limits_what_is_noticed_however_many_reviews_there_are_here() -> None:
    reference = published(1243, 1367)
    powers = [power(n, reference, LEVEL) for n in (1367, 5_000, 20_000)]
    assert powers == sorted(powers)
    chance = np.random.default_rng(5)
    noticed = sum(
        verdict(int(chance.binomial(20_000, 1243 / 1367 - 0.01)), 20_000, published(int(right), 1367))
        is ReferenceVerdict.BELOW
        for right in chance.binomial(1367, 1243 / 1367, size=TIMES)
    )
    assert binomtest(noticed, TIMES, powers[2]).pvalue > 0.001
    found = against_reference(quick_metrics(*evaluation(18_100, 20_000)), [reference])
    assert found.verdict is ReferenceVerdict.CANNOT_TELL
    assert "so few reviews (20,000 here, 1,367 published) a model that is" in found.explanation


def test_the_test_is_fishers() -> None:
    """The p value of the explanation equals that of scipy."""
    found = against_reference(quick_metrics(*evaluation(1250, 1367)), [published(19_000)]).explanation
    theirs = fisher_exact([[1250, 1367 - 1250], [19_000, 1_000]], alternative="less").pvalue
    assert f"(p = {theirs:.2g}, level 0.01)" in found


def test_figures_of_another_set_are_not_compared() -> None:
    assert references_of(XLM, "sample") == ()
    assert verdict(10, 100) is ReferenceVerdict.NO_REFERENCE


def test_the_same_twice_is_unchanged_and_a_few_changes_are_no_news() -> None:
    before = {f"{n}": row(n, right=n % 4 != 0) for n in range(400)}
    assert against_last_run(before, before.values()).verdict is LastRunVerdict.UNCHANGED
    now = [row(n, right=n % 4 != 0 and n >= 5) for n in range(400)]
    found = against_last_run(before, now)
    assert found.verdict is LastRunVerdict.UNCHANGED
    assert list(found.became_wrong) == ["1", "2", "3"]
    assert list(found.became_right) == []


@pytest.mark.parametrize(
    ("wrong", "right", "told"),
    [
        (7, 0, LastRunVerdict.UNCHANGED),  # p = 0.0156
        (8, 0, LastRunVerdict.WORSE),  # p = 0.0078
        (0, 7, LastRunVerdict.UNCHANGED),
        (0, 8, LastRunVerdict.BETTER),
        (15, 4, LastRunVerdict.UNCHANGED),  # p = 0.019
        (17, 4, LastRunVerdict.WORSE),  # p = 0.0072
    ],
)
def test_the_test_against_the_last_run_is_mcnemars_exact_one_two_sided_at_its_level(
    wrong: int, right: int, told: LastRunVerdict
) -> None:
    before = {f"{n}": row(n, right=n >= right) for n in range(100)}
    now = [row(n, right=n < right or n >= right + wrong) for n in range(100)]
    found = against_last_run(before, now)
    assert (len(found.became_wrong), len(found.became_right)) == (wrong, right)
    tail = sum(math.comb(wrong + right, n) for n in range(min(wrong, right) + 1)) / 2 ** (wrong + right)
    assert found.p == pytest.approx(2 * tail)
    assert found.verdict is told


def test_a_better_one_is_better_and_a_worse_one_worse() -> None:
    weak = {f"{n}": row(n, right=n % 4 != 0) for n in range(400)}
    strong = {f"{n}": row(n, right=n % 20 != 0) for n in range(400)}
    assert against_last_run(weak, strong.values()).verdict is LastRunVerdict.BETTER
    found = against_last_run(strong, weak.values(), name="evaluation 7")
    assert found.verdict is LastRunVerdict.WORSE
    assert found.explanation.startswith(
        "accuracy fell by 20.0 points since evaluation 7: of 400 reviews 80 became wrong and 0 right (p = "
    )


@pytest.mark.parametrize(
    ("right", "support", "below"),
    [
        ({"neg": 13, "pos": 14}, {"neg": 50, "pos": 50}, True),  # swapped labels of a model that gets 73 % right
        ({"neg": 0, "pos": 20}, {"neg": 80, "pos": 20}, True),  # always the smaller class
        (
            {"neg": 60, "pos": 10},
            {"neg": 80, "pos": 20},
            False,
        ),  # 70 % on 80 : 20: with 100 reviews, not significantly below 80 %
        ({"neg": 600, "pos": 100}, {"neg": 800, "pos": 200}, True),
        ({"neg": 80, "pos": 0}, {"neg": 80, "pos": 20}, False),  # always the larger class
        ({"neg": 4, "pos": 5}, {"neg": 10, "pos": 10}, False),
        ({"neg": 45, "pos": 45}, {"neg": 50, "pos": 50}, False),
    ],
)
def test_a_model_worse_than_naming_the_larger_class_is_below_chance(
    right: dict[str, int], support: dict[str, int], below: bool
) -> None:
    found = against_chance(quick_metrics(right, support))
    assert found.below is below
    assert (
        f"below {max(support.values()) / sum(support.values()):.4f}, the accuracy of always predicting"
        in found.explanation
    )


def test_a_guessing_model_is_below_chance_no_more_often_than_the_level() -> None:
    draw = np.random.default_rng(0)
    alarms = 0
    for _ in range(TIMES):
        pos = int(draw.binomial(50, 0.5))  # it guesses: as often right as wrong on each class
        right = {"neg": int(draw.binomial(50, 0.5)), "pos": pos}
        alarms += against_chance(quick_metrics(right, {"neg": 50, "pos": 50})).below
    assert alarms <= 2 * CHANCE_LEVEL * TIMES


def test_the_gate_lets_pass_all_but_below_and_worse() -> None:
    stopped = {
        (one, other)
        for one in ReferenceVerdict
        for other in LastRunVerdict
        if not passes(one, other, below_chance=False)
    }
    assert not any(passes(one, other, below_chance=True) for one in ReferenceVerdict for other in LastRunVerdict)
    assert stopped == {
        *((ReferenceVerdict.BELOW, each) for each in LastRunVerdict),
        *((each, LastRunVerdict.WORSE) for each in ReferenceVerdict),
    }


XCOM = {
    "evaluation": 7,
    "set": "s",
    "in_between": 0,
    "interval": [0.85, 0.94],
    "explanation": "",
    "model": "m",
    "revision": "r" * 64,
    "reviews": 200,
    "rejected": 0,
    "accuracy": 0.9,
    "macro_f1": 0.9,
    "loss": 0.3,
    "samples_per_second": 130.0,
    "tokens_per_second": 9000.0,
    "device": "cpu",
    "precision": "float32",
    "reference_verdict": "no reference",
    "last_run_verdict": "first run",
    "passed": True,
}


def test_results_keep_their_keys_on_the_way_through_xcom() -> None:
    skipped = {"model": "n", "skipped": "not imported"}
    sent = json.loads(json.dumps([each.as_xcom() for each in results_from_xcom([XCOM, skipped])]))
    assert sent == [XCOM, skipped]
    assert results_from_xcom(sent) == results_from_xcom([XCOM, skipped])


def test_a_run_in_which_nothing_was_evaluated_or_a_task_failed_does_not_pass() -> None:
    good = EvaluationResult.from_xcom(XCOM)
    bad = replace(good, passed=False, explanation="accuracy fell")
    skipped = SkippedModel("n", "not imported")
    assert failures([good, skipped], 2) == []
    assert failures([good, bad], 2) == ["m at revision rrrrrrrrrrrr on set 's': accuracy fell"]
    assert failures([good], 2) == ["1 of 2 evaluations failed; see the logs of their tasks"]
    assert failures([skipped], 1) == ["no model was evaluated: not imported"]


def test_a_paragraph_names_the_models_that_passed_or_what_failed() -> None:
    good = EvaluationResult.from_xcom(XCOM)
    skipped = SkippedModel("n", "not imported")
    assert paragraph_of([good, skipped, replace(good, model="o")], []) == "Evaluated on s, and passed: m, o."
    assert paragraph_of([good], ["m fell", "o fell"]) == "The evaluation has failed: m fell; o fell."


def row(n: int, *, right: bool) -> LabelledPrediction:
    return LabelledPrediction(f"{n}", "pos", "pos" if right else "neg", "pos", 0.9, 10, truncated=False)


def is_right(judged: LabelledPrediction) -> bool:
    return judged.expected == judged.predicted
