"""Access to the pages of a job: for the users who may read its DAG in Airflow."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Annotated, TypeAlias

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from fastapi import Depends, HTTPException, Request

from review_scoring.airflow.compat import conf

ReadableDags: TypeAlias = Callable[[Collection[str]], set[str]]
"""Returns those of some DAGs that the user of a request may read."""


def readable_dags(request: Request, user: GetUserDep) -> ReadableDags:
    """Return a function that filters DAG ids by read access. A request without a login is answered with 401."""

    def readable(dag_ids: Collection[str]) -> set[str]:
        if conf.getboolean("core", "multi_team", fallback=False):
            return {dag_id for dag_id in dag_ids if _may_read(dag_id, request, user)}
        return get_auth_manager().filter_authorized_dag_ids(dag_ids=set(dag_ids), user=user)

    return readable


def _may_read(dag_id: str, request: Request, user: GetUserDep) -> bool:
    """Return whether Airflow's own check lets the user read a DAG. It looks up the team of the DAG."""
    try:
        requires_access_dag("GET", param_dag_id=dag_id)(request, user)
    except HTTPException:
        return False
    return True


Readable = Annotated[ReadableDags, Depends(readable_dags)]
