"""NotifyOperator: sends the notifications of a job after its run, by Airflow's notifiers."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from review_scoring.airflow.compat import AirflowFailException, AirflowSkipException
from review_scoring.airflow.jobs import defined_jobs
from review_scoring.airflow.links import airflow_run_url, run_page_url
from review_scoring.airflow.notifiers import notifier_class
from review_scoring.airflow.operators.base import fail_without_retry
from review_scoring.errors import ConfigurationError
from review_scoring.job_definition import Event, JobDag, Notification
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

    :param job_name: name of the job (templated); a run in which it is empty is about no job, and sends nothing
    :param notifications: what is sent, on which events; None for those that the definition of the job has for the DAG
        of the task, one of :class:`JobDag`
    :param jobs_folder: the folder of job files with that definition; None for that of the deployment
    :param reports: the tasks that report what the run did, as `paragraph` of their XCom
    """

    template_fields: Sequence[str] = ("job_name",)
    ui_color = "#f3e8fd"

    def __init__(
        self,
        *,
        job_name: str,
        notifications: Sequence[Notification] | None = None,
        jobs_folder: Path | None = None,
        reports: Sequence[str] = ("summarise",),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.job_name = job_name
        self.notifications = notifications
        self.jobs_folder = jobs_folder
        self.reports = reports

    def execute(self, context: Context) -> str:
        """Send what the state of the run calls for, and return the event."""
        if context["params"].get("dry_run"):
            raise AirflowSkipException("nothing is sent about a dry run")
        if not self.job_name:
            raise AirflowSkipException("nothing is sent about a run without a job")
        with fail_without_retry():
            notifications = self._notifications(context)
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
            "run_url": self._run_url(ti.dag_id, ti.run_id),
        }
        due = [each for each in notifications if event in each.on]
        problems = [problem for each in due if (problem := _send(each, {**context, **facts}))]
        log.info("%d of %d notifications were sent on %s", len(due) - len(problems), len(notifications), event)
        if problems:
            raise AirflowFailException("; ".join(problems))  # a retry would repeat the messages that were sent
        return event.value

    def _notifications(self, context: Context) -> Sequence[Notification]:
        if self.notifications is not None:
            return self.notifications
        ti: Any = context["ti"]
        definition = defined_jobs(self.jobs_folder).definition(self.job_name)
        return [each for each in definition.dag.notifications if ti.dag_id in each.dags]

    def _run_url(self, dag_id: str, run_id: str) -> str:
        """Return the address of the run's page: Airflow's own if the run scores nothing."""
        is_of_scores = dag_id not in set(JobDag) - {JobDag.RESCORE}
        return run_page_url(self.job_name, dag_id, run_id) if is_of_scores else airflow_run_url(dag_id, run_id)

    def _paragraph(self, context: Context, states: Mapping[str, str], failed: Sequence[str]) -> str:
        checked = _xcom(context, states, "check_run", "paragraph")  # the report of `summarise` with the checks
        paragraphs = [str(checked)] if checked else []
        reported = (_reported(context, states, each) for each in self.reports if not (checked and each == "summarise"))
        paragraphs += [each for each in reported if each]
        if failed and not any(_reported(context, states, each) for each in failed):
            the = "The" if paragraphs else f"{self.job_name}: the"
            paragraphs.append(f"{the} run failed in {', '.join(failed)}. What was committed before stays.")
        return " ".join(paragraphs) or f"{self.job_name}: the run succeeded."


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


def _reported(context: Context, states: Mapping[str, str], task_id: str) -> str:
    """Return what a task has reported, also one that failed thereafter; empty if nothing."""
    returned = _xcom(context, states, task_id, "return_value")
    report = returned.get("paragraph") if isinstance(returned, Mapping) else None
    return str(report or _xcom(context, states, task_id, "paragraph") or "")


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
