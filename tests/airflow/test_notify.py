"""Notifications: every one that is due is sent, and no error of a notifier shows a secret."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from airflow.sdk import BaseNotifier

from review_scoring.airflow.compat import AirflowFailException, AirflowSkipException
from review_scoring.airflow.notifiers import deadline_alerts
from review_scoring.airflow.operators import NotifyOperator
from review_scoring.errors import ConfigurationError
from review_scoring.job_definition import DagSettings, Event, Notification

HERE = __name__


class KeepingNotifier(BaseNotifier):
    """Keeps the texts that it is to send."""

    template_fields = ("text",)
    sent: ClassVar[list[str]] = []

    def __init__(self, text: str = "{{ event }} {{ failed_tasks | join(' ') }}: {{ paragraph }}") -> None:
        super().__init__()
        self.text = text

    def notify(self, context: Any) -> None:
        """Keep the text."""
        del context
        self.sent.append(self.text)


class FailingNotifier(KeepingNotifier):
    """Fails with an address that has a secret in it."""

    def notify(self, context: Any) -> None:
        """Fail."""
        del context
        raise OSError("https://hooks.example.org/T0/secret-token does not answer")


@pytest.fixture(autouse=True)
def sent() -> list[str]:
    KeepingNotifier.sent.clear()
    return KeepingNotifier.sent


def on(*events: str, notifier: str = "KeepingNotifier") -> Notification:
    return Notification(on=tuple(Event(event) for event in events), notifier=f"{HERE}.{notifier}")


def notify(
    *notifications: Notification,
    states: dict[str, str],
    xcoms: dict[tuple[str, str], Any] | None = None,
    dag_id: str = "score_films",
    operator: NotifyOperator | None = None,
    **params: Any,
) -> str:
    """Run the task after tasks with some states and XComs."""
    ti = SimpleNamespace(
        dag_id=dag_id,
        run_id="run",
        get_task_states=lambda **_: {"run": states},
        xcom_pull=lambda *, task_ids, key: (xcoms or {}).get((task_ids, key)),
    )
    context: Any = {"ti": ti, "params": params}
    operator = operator or NotifyOperator(task_id="notify", job_name="films", notifications=notifications)
    return operator.execute(context)


CHECKED = {("check_run", "paragraph"): "films: 6 reviews read. Checks: 1 warned.", ("check_run", "checks"): []}


def test_a_run_that_went_well_sends_the_paragraph_with_the_checks(sent: list[str]) -> None:
    assert notify(on("success"), on("failure"), states={"check_run": "success"}, xcoms=CHECKED) == "success"
    assert sent == ["success : films: 6 reviews read. Checks: 1 warned."]


def test_a_warning_of_a_check_is_an_event_of_its_own(sent: list[str]) -> None:
    warned = {**CHECKED, ("check_run", "checks"): [{"name": "volume", "state": "warned"}]}
    assert notify(on("success"), on("warning"), states={"check_run": "success"}, xcoms=warned) == "warning"
    assert len(sent) == 1


def test_a_failure_names_the_task_that_failed_and_not_those_behind_it(sent: list[str]) -> None:
    states = {"preflight": "failed", "check_run": "upstream_failed"}
    assert notify(on("failure"), states=states) == "failure"
    assert sent == ["failure preflight: films: the run failed in preflight. What was committed before stays."]


def test_the_report_of_an_earlier_try_is_not_sent(sent: list[str]) -> None:
    notify(on("failure"), states={"summarise": "failed", "check_run": "upstream_failed"}, xcoms=CHECKED)
    assert sent == ["failure summarise: films: the run failed in summarise. What was committed before stays."]


def test_a_broken_notifier_does_not_keep_the_others_from_sending_and_shows_no_secret(sent: list[str]) -> None:
    broken = on("success", notifier="FailingNotifier")
    with pytest.raises(AirflowFailException, match="FailingNotifier failed with OSError") as failed:
        notify(broken, on("success"), states={"check_run": "success"}, xcoms=CHECKED)
    assert "secret-token" not in str(failed.value)
    assert len(sent) == 1


def test_a_dry_run_sends_nothing(sent: list[str]) -> None:
    with pytest.raises(AirflowSkipException):
        notify(on("success"), states={"check_run": "success"}, dry_run=True)
    assert sent == []


@pytest.fixture
def of_several_jobs(tmp_path: Path) -> NotifyOperator:
    """The task of a DAG of several jobs, in a run that is about one with notifications."""
    text = "{{ event }}: {{ paragraph }} {{ run_url }}"
    (tmp_path / "films.toml").write_text(
        'source_conn_id = "reviews"\nsource_table = "reviews"\n[[dag.notifications]]\non = ["success", "failure"]\n'
        'dags = ["reconcile_reviews", "rescore_reviews"]\n'
        f'notifier = "{HERE}.KeepingNotifier"\narguments = {{text = "{text}"}}\n'
    )
    return NotifyOperator(task_id="notify", job_name="films", jobs_folder=tmp_path, reports=("reconcile", "summarise"))


def reported(task_id: str, paragraph: str) -> dict[tuple[str, str], Any]:
    return {(task_id, "return_value"): {"paragraph": paragraph}}


def test_a_run_of_a_dag_of_several_jobs_sends_what_its_job_asks_for(
    of_several_jobs: NotifyOperator, sent: list[str]
) -> None:
    xcoms = {**reported("reconcile", "films: 3 reviews are gone."), **reported("summarise", "films: 2 read.")}
    states = {"reconcile": "success", "summarise": "success"}
    assert notify(states=states, xcoms=xcoms, operator=of_several_jobs, dag_id="reconcile_reviews") == "success"
    assert notify(states=states, xcoms=xcoms, operator=of_several_jobs, dag_id="rescore_reviews") == "success"
    assert notify(states=states, xcoms=xcoms, operator=of_several_jobs, dag_id="promote_model") == "success"
    of_airflow, of_scores = (text.removeprefix("success: films: 3 reviews are gone. films: 2 read. ") for text in sent)
    assert of_airflow == "http://localhost:8080/dags/reconcile_reviews/runs/run"
    assert "/review-scoring/run?job=films&dag_id=rescore_reviews" in of_scores


def test_a_failure_comes_after_what_was_reported_before_it_and_once(
    of_several_jobs: NotifyOperator, sent: list[str]
) -> None:
    gone = reported("reconcile", "films: 3 reviews are gone.")
    states = {"reconcile": "success", "preflight": "failed", "summarise": "upstream_failed"}
    notify(states=states, xcoms=gone, operator=of_several_jobs, dag_id="rescore_reviews")
    assert sent[0].startswith("failure: films: 3 reviews are gone. The run failed in preflight. What was committed")
    refused = {("reconcile", "paragraph"): "films: nothing was erased, since all reviews are gone."}
    notify(states={"reconcile": "failed"}, xcoms=refused, operator=of_several_jobs, dag_id="rescore_reviews")
    assert sent[1].startswith("failure: films: nothing was erased, since all reviews are gone. http")
    notify(states={"apply_retention": "success"}, operator=of_several_jobs, dag_id="rescore_reviews")
    assert sent[2].startswith("success: films: the run succeeded. http")


def test_a_run_without_a_job_sends_nothing(of_several_jobs: NotifyOperator, sent: list[str]) -> None:
    of_several_jobs.job_name = ""  # as its template renders in a run that starts one for each job
    with pytest.raises(AirflowSkipException):
        notify(states={"resolve_run": "success"}, operator=of_several_jobs)
    assert sent == []


def test_a_notifier_that_the_triggerer_cannot_await_is_refused_for_a_deadline() -> None:
    dag = DagSettings(deadline_minutes=60, notifications=(on("deadline"),))
    with pytest.raises(ConfigurationError, match="KeepingNotifier' has no async_notify, which a deadline needs"):
        deadline_alerts(dag)
