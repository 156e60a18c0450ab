"""ResolveRunOperator, the first task of each DAG: refuses unknown conf keys, resolves the job and the Variables."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, XComArg

from review_scoring.airflow.jobs import DefinedJobs, as_job, defined_jobs, no_jobs
from review_scoring.airflow.operators.base import fail_without_retry
from review_scoring.airflow.run_variables import most_shards, required_benchmark
from review_scoring.errors import ConfigurationError, NoSuchJobError

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)

AIRFLOWS_OWN = "airflow/"
"""Prefix of the conf keys that belong to Airflow, such as `airflow/task_span_detail_level`."""

NO_BACKFILL = (
    "a backfill scores nothing: a run has no date, it scores whatever is new in the source. Old reviews wait until the "
    "nightly runs reach them; trigger the DAG to go on at once, or rescore_reviews to score reviews again"
)


class ResolveRunOperator(BaseOperator):
    """Check the conf of a run, and resolve its job, shards and required benchmark once, for all tasks of the run.

    Each worker parses the DAG file again, in its own environment and at another time. If each task resolved these
    itself, they could differ within one run.

    :param job: the settings of the job, or the name of one that is defined in the job files or the Variable; None for a
        DAG that does not use a job, where only the conf is checked (templated)
    :param shards: maximum number of shards of the job whose settings `job` contains; None for that of the Variable
    :param jobs_folder: the folder of job files; None for that of the deployment
    :param each_job: whether a run without a job, where several are defined, starts a run for each of them
    """

    template_fields: Sequence[str] = ("job",)
    ui_color = "#f1f3f4"

    def __init__(
        self,
        *,
        job: Mapping[str, Any] | str | None,
        shards: int | None = None,
        jobs_folder: Path | None = None,
        each_job: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.job = job
        self.shards = shards
        self.jobs_folder = jobs_folder
        self.each_job = each_job

    @property
    def job_settings(self) -> Any:
        """The settings of the job, for other tasks; missing if the run starts one for each job."""
        return XComArg(self, key="job")

    @property
    def is_one_job(self) -> Any:
        """Whether the run is about one job, for another task."""
        return XComArg(self, key="is_one_job")

    @property
    def require_benchmark(self) -> Any:
        """The benchmark that a model must pass before it scores, for other tasks."""
        return XComArg(self, key="require_benchmark")

    @property
    def most_shards(self) -> Any:
        """The maximum number of shards, for other tasks."""
        return XComArg(self, key="most_shards")

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Check and resolve, and return the conf of each run to start; fail without a retry if anything is wrong."""
        with fail_without_retry():
            run: Any = context["dag_run"]
            if run.run_type == "backfill":
                raise ConfigurationError(NO_BACKFILL)
            refuse_unknown_keys(run.conf or {}, context["params"], list(context["dag"].params))
            resolved = {} if self.job is None else self._resolve(context)
        runs = resolved.pop("runs", [])
        for key, value in resolved.items():
            context["ti"].xcom_push(key=key, value=value)
        return list(runs)

    def _resolve(self, context: Context) -> dict[str, Any]:
        if isinstance(self.job, str):
            jobs = defined_jobs(self.jobs_folder)
            if not self.job and self.each_job and len(jobs) > 1:
                runs = self.runs_of(jobs, context)
                log.info("starting %d runs, for %d jobs", len(runs), len(jobs))
                return {"is_one_job": False, "runs": runs}
            definition = jobs.definition(chosen_job(self.job, jobs))
            job, shards = definition.job, definition.dag.shards
        else:
            job, shards = as_job(self.job or {}), self.shards
        log.info("job: %s", job.name)
        return {
            "is_one_job": True,
            "job": job.as_settings(),
            "require_benchmark": required_benchmark() if job.require_benchmark is None else job.require_benchmark,
            "most_shards": shards or most_shards(),
        }

    def runs_of(self, jobs: DefinedJobs, context: Context) -> list[dict[str, Any]]:
        """Return the conf of the run of each job."""
        params = dict(context["params"])
        return [{**params, "job": name} for name in jobs]


def chosen_job(name: str, jobs: DefinedJobs) -> str:
    """Return the name of a job; that of the only one for an empty name.

    :raises NoSuchJobError: for an empty name, if no job or several are defined
    """
    if name:
        return name
    if not jobs:
        raise NoSuchJobError(jobs.variable_problem or no_jobs(jobs.folder))
    if len(jobs) > 1:
        raise NoSuchJobError(f"no job is chosen: set the field 'job' to one of {', '.join(jobs)}")
    return next(iter(jobs))


def refuse_unknown_keys(conf: Mapping[str, Any], params: Mapping[str, Any], known: Sequence[str]) -> None:
    """Refuse a conf with unknown keys, or one that Airflow ignores. Errors never quote values: they may be secret.

    :param conf: the conf that the run was triggered with
    :param params: the params that the tasks see
    :param known: the keys of the DAG's form
    :raises ConfigurationError: for an unknown key, and if Airflow is configured to ignore the conf
    """
    given = {key: value for key, value in conf.items() if not key.startswith(AIRFLOWS_OWN)}
    if unknown := [key for key in given if key not in known]:
        named = ", ".join(f"{key!r}{_meant(key, known)}" for key in unknown)
        raise ConfigurationError(
            f"the conf of this run has {'an unknown key' if len(unknown) == 1 else 'unknown keys'}: {named}. "
            f"Nothing was read or written. The keys of this DAG are {', '.join(known)}"
        )
    if ignored := [key for key, value in given.items() if params.get(key) != value]:
        raise ConfigurationError(
            f"Airflow ignores the conf of this run ({', '.join(ignored)}), because its setting "
            "[core] dag_run_conf_overrides_params is False. Set it to True, or trigger the run without a conf"
        )


def _meant(key: str, known: Sequence[str]) -> str:
    """Return the known key that is most similar, ignoring case, dashes and underscores, as a hint for the error."""
    plain = {each.replace("_", ""): each for each in known}
    close = get_close_matches(key.lower().replace("-", "").replace("_", ""), plain, n=1, cutoff=0.5)
    return f" (did you mean {plain[close[0]]!r}?)" if close else ""
