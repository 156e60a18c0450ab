"""SummariseRunOperator: adds up the counts of the shards, checks the sum against the tables, and logs the report."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from review_scoring.airflow.connections.engines import target_engine_of
from review_scoring.airflow.jobs import as_job
from review_scoring.airflow.lineage import run_lineage
from review_scoring.airflow.metrics import emit_run
from review_scoring.airflow.operators.base import fail_without_retry, run_key
from review_scoring.job import ScoringJob
from review_scoring.run.finishing import finish_run
from review_scoring.run.report import DryRunReport, RunReport
from review_scoring.warehouse.ledger.ledger import find_ledger
from review_scoring.warehouse.selection.shards import Shard

if TYPE_CHECKING:
    from airflow.sdk import Context
    from sqlalchemy import Engine

log = logging.getLogger(__name__)


class SummariseRunOperator(BaseOperator):
    """Add up a run's shards, compare the sum with the tables, and report what the run did.

    The report is logged as one line for scripts and as one paragraph for people, which is `paragraph` of the XCom.

    :param job: as of :class:`ScoreReviewsOperator` (templated)
    :param shards: the result of :class:`PlanShardsOperator` (templated)
    :param results: the results of the mapped :class:`ScoreReviewsOperator`, which only a dry run needs (templated)
    :param score_task_id: the task that was mapped over the shards
    """

    template_fields: Sequence[str] = ("job", "shards", "results")
    ui_color = "#e8f0fe"

    def __init__(
        self,
        *,
        job: ScoringJob | Mapping[str, Any] | str,
        shards: Sequence[Mapping[str, Any]] | Any,
        results: Sequence[Mapping[str, Any]] | Any = (),
        score_task_id: str = "score",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.job = job
        self.shards = shards
        self.results = results
        self.score_task_id = score_task_id
        self._report: RunReport | DryRunReport | None = None
        self._engine: Engine | None = None

    def execute(self, context: Context) -> dict[str, Any]:
        """Finish the run and return its report; fail without a retry if the tables do not match the counts."""
        dry_runs = (DryRunReport.from_xcom(result) for result in self.results[:] if result)
        report = next((each for each in dry_runs if each), None) or self._finish(context)
        log.info("%s", report.line)
        log.info("%s", report.paragraph)
        self._report = report
        if isinstance(report, RunReport):
            emit_run(report)
        return report.as_xcom()

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """Return the lineage of the run, all of its shards together."""
        del task_instance
        return run_lineage(self.job, self._report, self._engine)

    def _finish(self, context: Context) -> RunReport:
        with fail_without_retry():
            job = as_job(self.job)
            ledger = find_ledger(target_engine_of(job), job)
            self._engine = ledger.engine
            shards = [Shard.from_json(each, ledger.job.id_type) for each in self.shards]
            return finish_run(ledger, replace(run_key(context), task_id=self.score_task_id), shards)
