"""NotifyOperator: sends the notifications of a job after its run, by Airflow's notifiers."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from review_scoring.airflow.compat import AirflowSkipException
from review_scoring.airflow.links import run_page_url
from review_scoring.airflow.notifiers import notifier_class
from review_scoring.airflow.operators.base import fail_without_retry
from review_scoring.errors import ReviewScoringError
from review_scoring.job_definition import Event, Notification
from review_scoring.warehouse.ledger.verdicts import WARNED

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)

FAILED = ("failed", "upstream_failed")


class NotificationFailedError(ReviewScoringError):
    """A notifier could not send its message. Its own error may contain an address with a secret, so it is not shown."""


class NotifyOperator(BaseOperator):
    """Send the notifications of a job: on failure of a task, on a warning of a check, or on success.

    Use it as a teardown task, so that it runs after a failure too and does not decide the state of the DAG run. A dry
    run sends nothing. The arguments of a notifier are templates. In addition to what Airflow's templates have, they can
    use `paragraph` (the report of the run with its checks), `job`, `event`, `failed_tasks` and `run_url`.

    :param job_name: name of the job
    :param notifications: what is sent, on which events
    """

    ui_color = "#f3e8fd"

    def __init__(self, *, job_name: str, notifications: Sequence[Notification], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.job_name = job_name
        self.notifications = notifications

    def execute(self, context: Context) -> str:
        """Send what the state of the run calls for, and return the event."""
        if context["params"].get("dry_run"):
            raise AirflowSkipException("nothing is sent about a dry run")
        failed = _failed_tasks(context)
        checks = _xcom(context, "check_run", "checks") or ()
        event = Event.SUCCESS
        if failed:
            event = Event.FAILURE
        elif any(check["state"] == WARNED for check in checks):
            event = Event.WARNING
        ti: Any = context["ti"]
        facts = {
            "job": self.job_name,
            "event": event.value,
            "failed_tasks": failed,
            "paragraph": self._paragraph(context, failed),
            "run_url": run_page_url(self.job_name, ti.dag_id, ti.run_id),
        }
        due = [each for each in self.notifications if event in each.on]
        for notification in due:
            _send(notification, {**context, **facts})
        log.info("%d of %d notifications are sent on %s", len(due), len(self.notifications), event.value)
        return event.value

    def _paragraph(self, context: Context, failed: Sequence[str]) -> str:
        report = _xcom(context, "summarise", "return_value") or {}
        found = _xcom(context, "check_run", "paragraph") or report.get("paragraph")
        if found:
            return str(found)
        return f"{self.job_name}: the run failed in {', '.join(failed)}. What was committed before stays."


def _failed_tasks(context: Context) -> list[str]:
    """Return the tasks of the run that failed, without those that did not run for that reason."""
    ti: Any = context["ti"]
    states = ti.get_task_states(dag_id=ti.dag_id, run_ids=[ti.run_id]).get(ti.run_id, {})
    failed = [task for task, state in states.items() if state in FAILED]
    return [task for task in failed if states[task] == FAILED[0]] or failed


def _xcom(context: Context, task_id: str, key: str) -> Any:
    return context["ti"].xcom_pull(task_ids=task_id, key=key)


def _send(notification: Notification, context: Mapping[str, Any]) -> None:
    with fail_without_retry():
        kind = notifier_class(notification.notifier)
    try:
        notifier = kind(**notification.arguments)
        notifier.render_template_fields(context)
        notifier.notify(context)
    except Exception as error:  # noqa: BLE001 every provider has its own
        raise NotificationFailedError(f"{notification.notifier} failed with {type(error).__name__}") from None
