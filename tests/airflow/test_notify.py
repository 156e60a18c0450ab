"""Notifications: every one that is due is sent, and no error of a notifier shows a secret."""

from __future__ import annotations

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
    *notifications: Notification, states: dict[str, str], xcoms: dict[tuple[str, str], Any] | None = None, **params: Any
) -> str:
    """Run the task after tasks with some states and XComs."""
    ti = SimpleNamespace(
        dag_id="score_films",
        run_id="run",
        get_task_states=lambda **_: {"run": states},
        xcom_pull=lambda *, task_ids, key: (xcoms or {}).get((task_ids, key)),
    )
    context: Any = {"ti": ti, "params": params}
    return NotifyOperator(task_id="notify", job_name="films", notifications=notifications).execute(context)


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


def test_a_notifier_that_the_triggerer_cannot_await_is_refused_for_a_deadline() -> None:
    dag = DagSettings(deadline_minutes=60, notifications=(on("deadline"),))
    with pytest.raises(ConfigurationError, match="KeepingNotifier' has no async_notify, which a deadline needs"):
        deadline_alerts(dag)
