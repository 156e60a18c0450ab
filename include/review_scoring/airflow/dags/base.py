"""`scoring_dag`, which all DAGs of this project are built with: start date, timeout, first task, all jobs in turn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import DAG, task

from review_scoring.airflow.compat import AirflowFailException, CronTriggerTimetable
from review_scoring.airflow.config import refuse_unknown_environment, settings
from review_scoring.airflow.jobs import TAG, defined_jobs
from review_scoring.airflow.operators.notify import NotifyOperator
from review_scoring.airflow.operators.resolve_run import ResolveRunOperator
from review_scoring.errors import ConfigurationError
from review_scoring.job_definition import MOST_MINUTES, NO_SCHEDULE, JobDefinition

RESOLVE = "resolve_run"
"""Id of the first task of every DAG."""

INVALID = "invalid"
"""Tag of a DAG that stands for one whose definition is wrong."""

RETRIES: Mapping[str, Any] = {"retries": 3, "retry_delay": timedelta(minutes=1), "retry_exponential_backoff": True}
"""Arguments of the tasks that score. A retry continues the work of the tries before it."""

DRY_RUN = "{{ params.dry_run }}"
CHOSEN_JOB = "{{ params.job or '' }}"
RESOLVED_JOB = f"{{{{ (ti.xcom_pull(task_ids='{RESOLVE}', key='job') or {{}}).get('name', '') }}}}"


@contextmanager
def scoring_dag(
    dag_id: str,
    *,
    schedule: Any,
    params: Mapping[str, Any],
    resolve: type[ResolveRunOperator] = ResolveRunOperator,
    resolved: Mapping[str, Any],
    reports: Sequence[str] = (),
    tags: Sequence[str] = (),
    **settings: Any,
) -> Iterator[tuple[DAG, ResolveRunOperator]]:
    """Create a DAG with the tasks of the `with` block, which receives the DAG and its first task.

    The first task refuses a conf with unknown keys before any other task runs, and passes what it resolves to the other
    tasks: `run.job_settings`, `run.most_shards`, `run.require_benchmark`.

    :param params: the fields of the form, which are the allowed keys of a conf
    :param resolve: the operator of the first task
    :param resolved: its arguments. With `each_job`, a run that names no job starts one run of the DAG for each job, and
        skips the tasks of the block
    :param reports: the tasks of the block that report what a run did. Jobs whose notifications name the DAG are sent
        these reports at its end
    :param settings: further arguments of the DAG
    :raises ConfigurationError: for environment variables that look like a setting but are not read
    """
    refuse_unknown_environment()
    default_args = {"execution_timeout": timedelta(minutes=MOST_MINUTES), **settings.pop("default_args", {})}
    with DAG(
        dag_id,
        schedule=schedule,
        start_date=datetime(2026, 1, 1),
        catchup=False,
        params=dict(params),
        tags=[TAG, *tags],
        default_args=default_args,
        **settings,
    ) as dag:
        run = resolve(task_id=RESOLVE, **resolved)
        yield dag, run
        # What uses an XCom of the first task is below it already.
        first_tasks = [each for each in dag.tasks if each is not run and each.upstream_task_ids <= {RESOLVE}]
        last_tasks = [each for each in dag.tasks if not each.downstream_task_ids]
        before = _one_job(run) if run.each_job else run
        for each in first_tasks:
            before >> each
        if reports and _is_notified(dag_id, run.jobs_folder):
            notify = NotifyOperator(
                task_id="notify", job_name=RESOLVED_JOB, jobs_folder=run.jobs_folder, reports=reports
            )
            last_tasks >> notify.as_teardown()
        if run.each_job:
            TriggerDagRunOperator.partial(task_id="start_run_of_job", trigger_dag_id=dag_id).expand(conf=run.output)


def publishes(folder: Path | None) -> bool:
    """Return whether the scores of a job are published. A job whose definition is wrong is left out."""
    return any(definition.publish for definition in _definitions(folder))


def _is_notified(dag_id: str, folder: Path | None) -> bool:
    """Return whether a job has notifications about runs of a DAG. A job whose definition is wrong has none."""
    notifications = (each for definition in _definitions(folder) for each in definition.dag.notifications)
    return any(dag_id in each.dags for each in notifications)


def _definitions(folder: Path | None) -> Iterator[JobDefinition]:
    """Yield the definitions of jobs that are valid."""
    jobs = defined_jobs(folder)
    for name in jobs:
        with suppress(ConfigurationError):
            yield jobs.definition(name)


def _one_job(run: ResolveRunOperator) -> Any:
    """Add the task that skips those after it in a run that starts one run for each job."""

    @task.short_circuit
    def one_job(is_one_job: bool) -> bool:
        """Return whether this run is about one job."""
        return is_one_job

    return one_job(run.is_one_job)


def cron(expression: str, timezone: str, *, key: str) -> CronTriggerTimetable | None:
    """Return the timetable of a cron expression or preset; None for no schedule.

    :param key: the key or setting that the expression is from, for the error
    :raises ConfigurationError: if the expression is not valid
    """
    if expression == NO_SCHEDULE:
        return None
    timetable = CronTriggerTimetable(expression, timezone=timezone)
    try:
        timetable.validate()
    except Exception as error:  # noqa: BLE001 Airflow and croniter have several
        raise ConfigurationError(
            f"{key}: {expression!r} is not a cron expression such as '0 2 * * *', a preset such as '@daily', or "
            f"'{NO_SCHEDULE}' ({error})"
        ) from None
    return timetable


def _usual_schedule() -> CronTriggerTimetable | None:
    """Return the schedule of the settings; None if it is wrong, too."""
    try:
        return cron(settings().schedule, "UTC", key="setting 'schedule'")
    except ConfigurationError:
        return None


def create_failing_dag(dag_id: str, problem: str) -> None:
    """Create a DAG that stands for one whose definition is wrong, and fails at the time of the setting `schedule`.

    Airflow takes all DAGs of a file with an import error out of service, so one wrong job would stop the others.
    """
    with scoring_dag(
        dag_id,
        description="The definition of this DAG is wrong: see its documentation",
        schedule=_usual_schedule(),
        resolved={"job": None},
        params={},
        tags=[INVALID],
        doc_md=f"The definition of this DAG is wrong, so its runs fail until it is corrected.\n\n{problem}",
    ):

        @task
        def report_problem() -> None:
            """Fail with the problem."""
            raise AirflowFailException(problem)

        report_problem()
