"""The extra link of scoring tasks to the page of their run, and the URLs of the pages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

from airflow.sdk import BaseOperatorLink

from review_scoring.airflow.compat import conf

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey


ROUTE = "review-scoring"
"""URL path of the pages below Airflow's base URL, and their route in the navigation."""


class RunPageLink(BaseOperatorLink):
    """Links a scoring task to the page of its run. Airflow computes the URL on the worker when the task ends."""

    name = "Scores of this run"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the URL of the page inside Airflow's UI."""
        job: Any = getattr(operator, "job", "")
        name = job["name"] if isinstance(job, Mapping) else getattr(job, "name", job)
        return run_page(name, ti_key.dag_id, ti_key.run_id)


def run_page(job: str, dag_id: str, run_id: str) -> str:
    """Return the path of the page of a run, inside Airflow's UI."""
    query = {"job": job, "dag_id": dag_id, "run_id": run_id}
    return f"{airflow_path()}/plugin/{ROUTE}{airflow_path()}/{ROUTE}/run?{urlencode(query)}"


def run_page_url(job: str, dag_id: str, run_id: str) -> str:
    """Return the whole URL of the page of a run, for messages; it begins with `[api] base_url`."""
    return _host() + run_page(job, dag_id, run_id)


def airflow_run_url(dag_id: str, run_id: str) -> str:
    """Return the whole URL of Airflow's own page of a DAG run, for messages."""
    return f"{_host()}{airflow_path()}/dags/{quote(dag_id, safe='')}/runs/{quote(run_id, safe='')}"


def _host() -> str:
    base = urlsplit(conf.get("api", "base_url", fallback="") or "http://localhost:8080")
    return f"{base.scheme}://{base.netloc}"


def airflow_path() -> str:
    """Return the path of Airflow's base URL without a trailing slash; empty if Airflow is at the root of its host."""
    path: str = urlsplit(conf.get("api", "base_url", fallback="")).path
    return path.rstrip("/")
