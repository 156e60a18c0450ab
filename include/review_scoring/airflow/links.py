"""The extra link of scoring tasks to the page of their run, and the URLs of the pages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from airflow.sdk import BaseOperatorLink, conf

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
        query = {"job": name, "dag_id": ti_key.dag_id, "run_id": ti_key.run_id}
        return f"{airflow_path()}/plugin/{ROUTE}{airflow_path()}/{ROUTE}/run?{urlencode(query)}"


def airflow_path() -> str:
    """Return the path of Airflow's base URL without a trailing slash; empty if Airflow is at the root of its host."""
    path: str = urlsplit(conf.get("api", "base_url", fallback="")).path
    return path.rstrip("/")
