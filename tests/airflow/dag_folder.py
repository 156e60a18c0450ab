"""Parses a DAG folder in the process that calls it, with each supported version of Airflow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from review_scoring.airflow.compat import AIRFLOW

if TYPE_CHECKING or AIRFLOW >= (3, 2):
    from airflow.dag_processing.dagbag import DagBag
else:
    from airflow.models.dagbag import DagBag


def dag_bag(folder: str) -> DagBag:
    """Return the DAGs of a folder as Airflow's DAG processor finds them."""
    return DagBag(folder, bundle_path=folder)  # type: ignore[arg-type]  # a string does as well
