"""PlanComparisonOperator: plans a comparison of texts with their hashes, of rows without a time of change."""

from __future__ import annotations

from typing import Any

from review_scoring.airflow.compat import AirflowSkipException
from review_scoring.airflow.operators.plan_shards import PlanShardsOperator
from review_scoring.job import OnChange, Rescore
from review_scoring.run.preflight import PreparedJob


class PlanComparisonOperator(PlanShardsOperator):
    """Split a rescore of changed texts into shards, for rows without an `updated_at`.

    The nightly run finds changed texts by the job's `updated_at_column`. Of a job without one, and of rows where it is
    NULL, every text is read and its hash compared. It skips where there are no such rows, and where the job's
    `on_change` is `ignore`.

    :param job: as of :class:`PlanShardsOperator`, like its other parameters; `rescore` is always `changed` (templated)
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(rescore=Rescore.CHANGED, yields=True, **kwargs)

    def check(self, prepared: PreparedJob) -> None:
        """Skip where nightly runs find every changed text."""
        if prepared.job.on_change is OnChange.IGNORE:
            raise AirflowSkipException("on_change of the job is 'ignore'")
        if not prepared.source.hides_changes():
            column = prepared.job.updated_at_column
            raise AirflowSkipException(f"every row has a value in {column!r}, by which nightly runs find changed texts")
