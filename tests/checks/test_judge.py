"""What the checks say of a run: implausible runs are found, and small samples and ordinary nights raise no alarm."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

import pytest

from review_scoring.check_settings import Checks
from review_scoring.checks.control_chart import FEWEST_REVIEWS
from review_scoring.checks.expected_accuracy import Calibration
from review_scoring.checks.judge import judge
from review_scoring.errors import ConfigurationError
from review_scoring.job import ScoringJob
from review_scoring.warehouse.history.run_figures import PastRun, RunFigures
from tests.checks.nights import TONIGHT, counts, ordinary, past, scores, tonight, verdict


def states(run: RunFigures, before: list[PastRun], **settings: Any) -> dict[str, str]:
    return {each.name: each.state for each in judge(Checks(**settings), run, before)}


# ---- rejects


def test_a_night_of_rejects_alone_fails_and_names_share_limit_and_reasons() -> None:
    run = tonight(counts(rejected=200), reasons={"empty_text": 200})
    found = verdict("rejects", run, [])
    assert (found.state, found.figure, found.limit) == ("failed", 1.0, 0.5)
    assert found.text == "200 of 200 reviews were rejected (100.0%; the limit is 50.0%): 200 empty_text."


def test_the_limit_of_rejects_is_set_by_the_job() -> None:
    run = tonight(counts(60, 20, rejected=20))
    assert verdict("rejects", run, []).state == "passed"
    assert verdict("rejects", run, [], most_rejects=0.2).state == "passed", "at the limit"
    assert verdict("rejects", run, [], most_rejects=0.19).state == "failed"
    assert verdict("rejects", run, [], most_rejects=0.19, rejects="warn").state == "warned"


def test_a_handful_of_rejects_fails_nothing() -> None:
    assert verdict("rejects", tonight(counts(rejected=FEWEST_REVIEWS - 1)), []).state == "skipped"
    assert verdict("rejects", tonight(counts(rejected=FEWEST_REVIEWS)), []).state == "failed"


def test_rows_without_an_id_fail_the_night_that_finds_them_and_no_later_one() -> None:
    found = counts(20, 20, rejected=500, null_id=500)
    assert verdict("rejects", tonight(found), []).state == "failed"
    assert verdict("rejects", tonight(found), past(found)).state == "passed"
    more = counts(20, 20, rejected=560, null_id=560)
    assert verdict("rejects", tonight(more), past(found)).figure == 60 / 100


# ---- labels and mean score


def test_a_night_of_one_label_fails_after_ordinary_nights() -> None:
    found = verdict("labels", tonight(counts(400, 0)), ordinary())
    assert found.state == "failed"
    assert found.figure in {0.0, 1.0}
    assert found.limit is not None
    assert f"outside the limits {0:.0%}" not in found.text
    assert "of the 28 days before (±4 standard deviations)" in found.text


def test_an_ordinary_night_passes_all_that_can_be_compared() -> None:
    run = tonight(counts(120, 280), scores=scores(400, uncertain=22, truncated=18))
    assert states(run, ordinary()) == {
        "rejects": "passed",
        "labels": "passed",
        "mean_score": "passed",
        "uncertain": "passed",
        "truncated": "passed",
        "volume": "passed",
        "newest": "skipped",
        "accuracy": "skipped",
    }


def test_ordinary_nights_raise_no_alarm() -> None:
    nights = ordinary(nights=120)
    for n in range(20, 120):
        night = nights[n]
        run = dataclasses.replace(tonight(night.counts, scores=night.scores), started_at=night.started_at)
        assert set(states(run, nights[:n]).values()) <= {"passed", "skipped"}


@pytest.mark.parametrize("reviews", [0, 1, FEWEST_REVIEWS - 1])
def test_a_small_night_is_compared_with_nothing(reviews: int) -> None:
    run = tonight(counts(reviews, 0), scores=scores(reviews))
    found = states(run, ordinary(reviews=90))
    assert {name: state for name, state in found.items() if state != "skipped"} == {}
    assert f"The run scored {reviews} reviews" in verdict("labels", run, ordinary(reviews=90)).text


def test_the_first_nights_are_compared_with_nothing() -> None:
    assert verdict("labels", tonight(counts(400, 0)), ordinary(nights=9)).state == "skipped"
    assert verdict("labels", tonight(counts(400, 0)), ordinary(nights=10)).state == "failed"


def test_a_label_that_was_never_seen_before_is_found() -> None:
    labels = {"neg": (108, 97.2), "pos": (252, 226.8), "LABEL_1": (40, 36.0)}
    found = verdict("labels", tonight(dataclasses.replace(counts(120, 280), labels=labels)), ordinary())
    assert found.state == "failed"
    assert found.text.startswith("LABEL_1 has a share of 10.0%, outside the limits 0.0% to 5.0%")


def test_runs_of_the_same_day_are_no_part_of_the_comparison() -> None:
    """A job with an hourly schedule: the last hours were as bad as this one."""
    bad = [PastRun(TONIGHT - timedelta(hours=n), counts(176, 224)) for n in (2, 1)]
    assert verdict("labels", tonight(counts(176, 224)), [*ordinary(), *bad]).state == "failed"


def test_a_night_that_failed_is_no_part_of_later_comparisons_until_it_is_judged_again() -> None:
    bad = PastRun(TONIGHT - timedelta(hours=24), counts(400, 0), scores(400, uncertain=400), has_failed=True)
    run = tonight(counts(200, 200), scores=scores(400, uncertain=120))
    for name in ("labels", "uncertain"):
        assert verdict(name, run, [*ordinary()[:-1], bad]).state in {"failed", "warned"}
        accepted = dataclasses.replace(bad, has_failed=False)
        assert verdict(name, run, [*ordinary()[:-1], accepted]).state == "passed"


def test_a_small_but_steady_change_is_no_alarm() -> None:
    before = past(*[counts(30_000, 70_000)] * 28)
    assert verdict("labels", tonight(counts(34_000, 66_000)), before).state == "passed"
    assert verdict("labels", tonight(counts(36_000, 64_000)), before).state == "failed"


def test_a_mean_score_that_falls_warns() -> None:
    found = verdict("mean_score", tonight(counts(120, 280, mean=0.8)), ordinary())
    assert found.state == "warned"
    assert found.figure == pytest.approx(0.8)
    assert "The mean score is 0.800, outside the limits" in found.text


@pytest.mark.parametrize("name", ["uncertain", "truncated"])
def test_more_uncertain_scores_or_truncated_texts_warn(name: str) -> None:
    run = tonight(counts(120, 280), scores=scores(400, **{name: 120}))
    assert verdict(name, run, ordinary()).state == "warned"
    unchecked = [dataclasses.replace(each, scores=None) for each in ordinary()]
    assert verdict(name, run, unchecked).state == "skipped"


# ---- volume


def weeks(*volumes: int) -> list[PastRun]:
    """Return runs on the weekday of tonight, the last one a week ago, and a quiet one before each."""
    runs = []
    for n, volume in zip(range(len(volumes), 0, -1), volumes, strict=True):
        at = TONIGHT - timedelta(weeks=n)
        runs += [PastRun(at - timedelta(days=1), counts(5, 5)), PastRun(at, counts(volume))]
    return runs


def test_no_review_where_thousands_are_usual_on_this_weekday_warns() -> None:
    found = verdict("volume", tonight(counts()), weeks(2000, 2400, 2200, 2600))
    assert (found.state, found.figure, found.limit) == ("warned", 0, 230)
    assert found.text == (
        "There were 0 new reviews within a day; on this weekday, 2,300 are usual, and the limit is 230."
    )


def test_growth_a_backlog_and_quiet_nights_do_not_warn() -> None:
    assert verdict("volume", tonight(counts(90_000)), weeks(2000, 2400, 2200, 2600)).state == "passed"
    assert verdict("volume", tonight(counts(600)), weeks(2000, 2400, 2200, 2600)).state == "passed"
    assert verdict("volume", tonight(counts(2000)), weeks(5_000_000, 2400, 2200, 2600)).state == "passed"


def test_volume_is_not_compared_where_little_is_usual_or_known() -> None:
    assert verdict("volume", tonight(counts()), weeks(40, 50, 60, 70)).state == "skipped"
    assert verdict("volume", tonight(counts()), weeks(2000, 2400)).state == "skipped"
    assert verdict("volume", tonight(counts(), is_cut=True), weeks(2000, 2400, 2200)).state == "skipped"


def test_nights_on_which_a_budget_decided_the_number_are_not_compared_with() -> None:
    runs = weeks(*[100_000] * 5, 2100, 2200, 1900)
    assert verdict("volume", tonight(counts(2000)), runs).state == "warned"
    first = [dataclasses.replace(each, is_cut=True) for each in runs[:10]]
    assert verdict("volume", tonight(counts(2000)), [*first, *runs[10:]]).state == "passed"
    assert verdict("volume", tonight(counts(2000)), first).state == "skipped"


def test_a_second_run_of_the_same_day_finds_nothing_new_and_does_not_warn() -> None:
    before = [*weeks(2000, 2400, 2200), PastRun(TONIGHT - timedelta(hours=3), counts(2100))]
    assert verdict("volume", tonight(counts()), before).figure == 2100
    assert verdict("volume", tonight(counts()), before).state == "passed"


# ---- newest review


def test_an_old_newest_review_warns() -> None:
    found = verdict("newest", tonight(counts(), newest_at=TONIGHT - timedelta(days=5)), [])
    assert (found.state, found.figure, found.limit) == ("warned", 120, 96)
    assert found.text == "The newest review was 120.0 hours old when the run began; the limit is 96.0 hours."
    ahead = tonight(counts(), newest_at=TONIGHT + timedelta(hours=2))
    assert verdict("newest", ahead, []).figure == 0, "a time without a zone may be ahead of UTC"


# ---- expected accuracy

CALIBRATION = Calibration("evaluation 7 on sample", (40, *[20] * 8, 240), (0.5, *[0.8] * 8, 0.98))


def by_score(run: int, *, low: int) -> object:
    return dataclasses.replace(scores(run), by_score=(low, *[0] * 8, run - low))


def test_scores_that_let_expect_a_lower_accuracy_warn() -> None:
    sure = tonight(counts(500, 500), scores=by_score(1000, low=100))
    unsure = tonight(counts(500, 500), scores=by_score(1000, low=500))
    assert verdict("accuracy", sure, [], CALIBRATION).state == "passed"
    found = verdict("accuracy", unsure, [], CALIBRATION)
    assert found.state == "warned"
    assert found.figure == pytest.approx(0.74)
    assert "accuracy is 74.0%; evaluation 7 on sample had 87.1%; the limit is 82.1%" in found.text


def test_a_small_sample_lets_expect_no_accuracy() -> None:
    assert verdict("accuracy", tonight(counts(9, 9), scores=by_score(18, low=18)), [], CALIBRATION).state == "skipped"
    few = tonight(counts(20, 20), scores=by_score(40, low=15))
    assert verdict("accuracy", few, [], CALIBRATION).state == "passed", "within the error of the sample"


def test_scores_in_ranges_that_the_evaluation_lacks_let_expect_nothing() -> None:
    lacking = dataclasses.replace(CALIBRATION, reviews=(0, *CALIBRATION.reviews[1:]))
    run = tonight(counts(500, 500), scores=by_score(1000, low=500))
    assert verdict("accuracy", run, [], lacking).state == "skipped"


# ---- settings


def test_a_check_that_is_off_says_nothing() -> None:
    found = states(tonight(counts(rejected=200)), [], rejects="off", volume="off")
    assert found.keys() == {"labels", "mean_score", "uncertain", "truncated", "newest", "accuracy"}


def test_a_job_sets_its_checks_in_json_and_is_told_what_is_wrong() -> None:
    values = {"source_conn_id": "db", "source_table": "reviews"}
    job = ScoringJob.from_mapping("films", {**values, "checks": {"labels": "warn", "most_rejects": 0.2}})
    assert (job.checks.labels, job.checks.most_rejects, job.checks.rejects) == ("warn", 0.2, "fail")
    assert ScoringJob.from_mapping("films", {k: v for k, v in job.as_settings().items() if k != "name"}) == job
    wrong = {"labels": "loud", "most_rejects": 2, "volum": "off"}
    with pytest.raises(ConfigurationError) as error:
        ScoringJob.from_mapping("films", {**values, "checks": wrong})
    for problem in (
        """key 'checks.labels': it must be `"off"`, `"warn"` or `"fail"`, not 'loud'""",
        "key 'checks.most_rejects': it must be a number from 0 to 1, not 2",
        "key 'checks.volum': there is no such key; did you mean 'volume'?",
    ):
        assert problem in str(error.value)
