"""ResolveRunOperator, the first task of each DAG: refuses unknown conf keys, resolves the job and the Variables."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, XComArg

from review_scoring.airflow.jobs import defined_jobs, job_named
from review_scoring.airflow.operators.base import fail_without_retry
from review_scoring.airflow.run_variables import job_of_deployment, most_shards, required_benchmark
from review_scoring.errors import ConfigurationError

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)

AIRFLOWS_OWN = "airflow/"
"""Prefix of the conf keys that belong to Airflow, such as `airflow/task_span_detail_level`."""


class ResolveRunOperator(BaseOperator):
    """Check the conf of a run, and resolve its job, shards and required benchmark once, for all tasks of the run.

    Each worker parses the DAG file again, in its own environment and at another time. If each task resolved these
    itself, they could differ within one run.

    :param uses_job: False for a DAG that does not use a scoring job; then only the conf is checked
    """

    template_fields: Sequence[str] = ()
    ui_color = "#f1f3f4"

    def __init__(self, *, uses_job: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.uses_job = uses_job

    @property
    def job(self) -> Any:
        """The settings of the job, for other tasks."""
        return XComArg(self, key="job")

    @property
    def require_benchmark(self) -> Any:
        """The benchmark that a model must pass before it scores, for other tasks."""
        return XComArg(self, key="require_benchmark")

    @property
    def most_shards(self) -> Any:
        """The maximum number of shards, for other tasks."""
        return XComArg(self, key="most_shards")

    def execute(self, context: Context) -> dict[str, Any]:
        """Check and resolve; fail without a retry if anything is wrong."""
        with fail_without_retry():
            run: Any = context["dag_run"]
            refuse_unknown_keys(run.conf or {}, context["params"], list(context["dag"].params))
            resolved = self._resolve() if self.uses_job else {}
        for key, value in resolved.items():
            context["ti"].xcom_push(key=key, value=value)
        if self.uses_job:
            log.info("job: %s", resolved["job"]["name"])
        return resolved

    def _resolve(self) -> dict[str, Any]:
        return {
            "job": job_named(job_of_deployment(defined_jobs())).as_settings(),
            "require_benchmark": required_benchmark(),
            "most_shards": most_shards(),
        }


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
