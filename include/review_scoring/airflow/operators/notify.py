"""NotifyOperator: sends the notifications of a job after its run, by Airflow's notifiers."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from review_scoring.airflow.compat import AirflowFailException, AirflowSkipException
from review_scoring.airflow.links import run_page_url
from review_scoring.airflow.notifiers import notifier_class
from review_scoring.errors import ConfigurationError
from review_scoring.job_definition import Event, Notification
from review_scoring.warehouse.ledger.verdicts import WARNED

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)

SUCCESS, FAILED, UPSTREAM_FAILED = "success", "failed", "upstream_failed"


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
        states = _states(context)
        failed = _failed(states)
        checks = _xcom(context, states, "check_run", "checks") or ()
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
            "paragraph": self._paragraph(context, states, failed),
            "run_url": run_page_url(self.job_name, ti.dag_id, ti.run_id),
        }
        due = [each for each in self.notifications if event in each.on]
        problems = [problem for each in due if (problem := _send(each, {**context, **facts}))]
        log.info("%d of %d notifications were sent on %s", len(due) - len(problems), len(self.notifications), event)
        if problems:
            raise AirflowFailException("; ".join(problems))  # a retry would repeat the messages that were sent
        return event.value

    def _paragraph(self, context: Context, states: Mapping[str, str], failed: Sequence[str]) -> str:
        report = _xcom(context, states, "summarise", "return_value") or {}
        found = _xcom(context, states, "check_run", "paragraph") or report.get("paragraph")
        if found:
            return str(found)
        return f"{self.job_name}: the run failed in {', '.join(failed)}. What was committed before stays."


def _states(context: Context) -> Mapping[str, str]:
    """Return the states of the tasks of the run."""
    ti: Any = context["ti"]
    states: Mapping[str, str] = ti.get_task_states(dag_id=ti.dag_id, run_ids=[ti.run_id]).get(ti.run_id, {})
    return states


def _failed(states: Mapping[str, str]) -> list[str]:
    """Return the tasks that failed, without those that did not run for that reason."""
    failed = [task for task, state in states.items() if state in {FAILED, UPSTREAM_FAILED}]
    return [task for task in failed if states[task] == FAILED] or failed


def _xcom(context: Context, states: Mapping[str, str], task_id: str, key: str) -> Any:
    """Return an XCom of a task that has run; one that was not reached may have that of an earlier try."""
    return context["ti"].xcom_pull(task_ids=task_id, key=key) if states.get(task_id) in {SUCCESS, FAILED} else None


def _send(notification: Notification, context: Mapping[str, Any]) -> str:
    """Send a notification, and return the problem if that fails.

    The notifier's own error may contain an address with a secret, so only its class is shown.
    """
    try:
        notifier = notifier_class(notification.notifier)(**notification.arguments)
        notifier.render_template_fields(context)
        notifier.notify(context)
    except ConfigurationError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 every provider has its own
        return f"{notification.notifier} failed with {type(error).__name__}"
    return ""
