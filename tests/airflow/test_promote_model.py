"""Promotions of a model that has not passed: who has to approve them, and what is promoted then."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG
from sqlalchemy import Engine

from review_scoring.airflow.compat import AirflowFailException
from review_scoring.airflow.operators import PromoteModelOperator
from review_scoring.job import ScoringJob
from review_scoring.models.catalogue import DEFAULT_MODEL, find_model
from tests.airflow.runner import connection
from tests.airflow.test_score_reviews_dag import fill, query

SETTING = "AIRFLOW__REVIEW_SCORING__UNPASSED_PROMOTIONS"
APPROVERS = "AIRFLOW__REVIEW_SCORING__PROMOTION_APPROVERS"


class NotAnsweredError(Exception):
    """Raised in place of the exception with which Airflow makes a task wait."""


class Xcom(dict[str, Any]):
    """The XComs of a task, which outlast its wait."""

    def xcom_push(self, key: str, value: Any) -> None:
        self[key] = value

    def xcom_pull(self, *, task_ids: str, key: str) -> Any:
        assert task_ids == "promote"
        return self[key]


class Promotion:
    """A promotion of the bundled model that waits and is answered, each time with a new operator as in Airflow."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.xcom, self.user = engine, Xcom(), "ada"
        self.asked = self.operator()

    def operator(self) -> PromoteModelOperator:
        job = ScoringJob(name="films", source_conn_id="reviews", source_table="reviews")
        with DAG("d", schedule=None, start_date=datetime(2026, 1, 1)):
            return PromoteModelOperator(
                task_id="promote", job=job, model=DEFAULT_MODEL, reason="to try it", without_passing=True
            )

    def context(self) -> Any:
        run = SimpleNamespace(dag_id="d", run_id="1", run_type="manual", triggering_user_name=self.user)
        return {"dag_run": run, "ti": self.xcom}

    def execute(self) -> Any:
        self.asked = self.operator()
        return self.asked.execute(self.context())

    def answer(self, user: str, option: str = "Approve") -> Any:
        by = {"id": user, "name": user.capitalize()}
        given = {"chosen_options": [option], "params_input": {}, "responded_at": datetime.now(UTC)}
        return self.operator().execute_complete(self.context(), {**given, "responded_by_user": by})

    def promoted(self) -> list[tuple[Any, ...]]:
        rows = query(self.engine, "SELECT model, revision, promoted_by, approved_by FROM promotions")
        return [tuple(row) for row in rows]


@pytest.fixture
def promotion(sqlite_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Promotion:
    """A promotion, in a process that does not talk to Airflow when it begins to wait."""

    def wait(*_: Any) -> None:
        raise NotAnsweredError

    monkeypatch.setattr("airflow.providers.standard.operators.hitl.HITLOperator.execute", wait)
    monkeypatch.setenv("AIRFLOW_CONN_REVIEWS", connection(sqlite_engine))
    fill(sqlite_engine, [(1, "un film")])
    return Promotion(sqlite_engine)


def test_the_question_says_who_asks_for_what_and_why_it_has_not_passed(promotion: Promotion) -> None:
    with pytest.raises(NotAnsweredError):
        promotion.execute()
    revision = find_model(DEFAULT_MODEL).revision
    assert promotion.asked.subject == f"Promote {DEFAULT_MODEL} to champion of films without a passing evaluation?"
    for words in (
        "    ada",
        f"`{revision[:12]}`",
        "    to try it",
        "has no evaluation on any benchmark set",
        "none; the",
    ):
        assert words in str(promotion.asked.body)
    assert promotion.asked.assigned_users is None
    assert promotion.promoted() == []


def test_the_revision_that_was_asked_about_is_promoted_and_both_persons_are_recorded(promotion: Promotion) -> None:
    with pytest.raises(NotAnsweredError):
        promotion.execute()
    (found,) = promotion.xcom.values()
    revision = find_model(DEFAULT_MODEL).revision
    assert found == {"model": f"{DEFAULT_MODEL}@{revision}", "evaluation": None, "champion": ""}
    assert promotion.answer("grace")["approved_by"] == "Grace"
    assert promotion.promoted() == [(DEFAULT_MODEL, revision, "ada", "Grace")]


@pytest.mark.parametrize("user", ["ada", "Ada"])
def test_who_asks_cannot_approve(promotion: Promotion, user: str) -> None:
    promotion.user = user
    with pytest.raises(NotAnsweredError):
        promotion.execute()
    with pytest.raises(AirflowFailException, match=f"{user} has triggered the run, and another person has to"):
        promotion.answer("ada")
    assert promotion.promoted() == []


def test_a_run_of_which_airflow_does_not_say_who_triggered_it_cannot_be_approved(promotion: Promotion) -> None:
    promotion.user = ""
    with pytest.raises(AirflowFailException, match="Airflow does not say who triggered this run"):
        promotion.execute()


def test_an_approval_holds_for_the_champion_that_it_was_given_about(
    promotion: Promotion, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NotAnsweredError):
        promotion.execute()
    monkeypatch.setenv(SETTING, "allowed")
    promotion.execute()
    query(promotion.engine, "UPDATE promotions SET model = 'other', dag_run_id = 'of another'")
    with pytest.raises(AirflowFailException, match="other@.* has become the champion since the question was asked"):
        promotion.answer("grace")


def test_a_rejection_and_silence_promote_nothing(promotion: Promotion) -> None:
    with pytest.raises(NotAnsweredError):
        promotion.execute()
    with pytest.raises(AirflowFailException, match="Grace has rejected it"):
        promotion.answer("grace", "Reject")
    late = {"error": "nobody answered", "error_type": "timeout"}
    with pytest.raises(AirflowFailException, match="nobody has answered within 7 days"):
        promotion.asked.execute_complete(promotion.context(), late)
    assert promotion.promoted() == []


def test_only_the_approvers_of_the_setting_are_asked_and_heard(
    promotion: Promotion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(APPROVERS, "grace, barbara")
    with pytest.raises(NotAnsweredError):
        promotion.execute()
    assert promotion.asked.assigned_users == [{"id": name, "name": name} for name in ("grace", "barbara")]
    with pytest.raises(AirflowFailException, match="Eve is none of the promotion_approvers"):
        promotion.answer("eve")
    assert promotion.answer("barbara")["approved_by"] == "Barbara"
    monkeypatch.setenv(APPROVERS, "ada")
    with pytest.raises(AirflowFailException, match="promotion_approvers names nobody but ada"):
        promotion.execute()


def test_the_setting_may_allow_or_refuse_such_promotions(promotion: Promotion, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SETTING, "refused")
    with pytest.raises(AirflowFailException, match="The setting unpassed_promotions refuses such promotions"):
        promotion.execute()
    monkeypatch.setenv(SETTING, "allowed")
    assert promotion.execute()["approved_by"] is None
    assert len(promotion.promoted()) == 1


def test_a_setting_that_is_none_of_the_three_is_named(promotion: Promotion, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SETTING, "always")
    with pytest.raises(AirflowFailException, match="unpassed_promotions"):
        promotion.execute()
