"""From a task in Airflow's UI to the page of its run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from airflow.sdk import BaseOperatorLink, conf

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey


ROUTE = "review-scoring"
"""Where the pages are, below Airflow's own address, and in its navigation."""


class RunPageLink(BaseOperatorLink):
    """Leads from a scoring task to what its run did. Airflow works it out on the worker when the task ends."""

    name = "Scores of this run"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the address of the page, in Airflow's own frame."""
        job: Any = getattr(operator, "job", "")
        name = job["name"] if isinstance(job, Mapping) else getattr(job, "name", job)
        asked = {"job": name, "dag_id": ti_key.dag_id, "run_id": ti_key.run_id}
        return f"{airflow_path()}/plugin/{ROUTE}{airflow_path()}/{ROUTE}/run?{urlencode(asked)}"


def airflow_path() -> str:
    """Return the path below which Airflow is served, without a slash at its end; empty at the root of a host."""
    path: str = urlsplit(conf.get("api", "base_url", fallback="")).path
    return path.rstrip("/")
