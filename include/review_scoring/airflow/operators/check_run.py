"""CheckRunOperator: judges whether what a run wrote is plausible, and fails the DAG run if it is not."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from review_scoring.airflow.compat import AirflowFailException, AirflowSkipException
from review_scoring.airflow.connections.engines import target_engine_of
from review_scoring.airflow.jobs import as_job
from review_scoring.airflow.lineage import check_lineage
from review_scoring.airflow.links import RunPageLink
from review_scoring.airflow.metrics import emit_checks
from review_scoring.airflow.operators.base import fail_without_retry, run_key
from review_scoring.concurrency.cancellation import StopFlag
from review_scoring.job import ScoringJob
from review_scoring.run.checking import CheckReport, check_run
from review_scoring.run.report import DryRunReport
from review_scoring.warehouse.ledger.ledger import find_ledger
from review_scoring.warehouse.ledger.verdicts import FAILED, WARNED, Verdict

if TYPE_CHECKING:
    from airflow.sdk import Context
    from sqlalchemy import Engine

log = logging.getLogger(__name__)

LEVELS = {FAILED: logging.ERROR, WARNED: logging.WARNING}
"""Level of a verdict in the log, where it is not INFO."""


class CheckRunOperator(BaseOperator):
    """Check whether the results of a run are plausible: rejects, labels, scores, volume and more.

    The settings `checks` of the job say which checks fail the run, and which only warn. The scores stay in both cases.
    The verdicts are kept with the run and logged, and are the XCom `checks`; the XCom `paragraph` is the report of the
    run followed by its checks. Both are there if a check fails, too. A dry run and a rescore are skipped.

    :param job: as of :class:`ScoreReviewsOperator` (templated)
    :param report: the result of :class:`SummariseRunOperator`, or of a :class:`ScoreReviewsOperator` that is not mapped
        (templated)
    :param score_task_id: the task that scored, mapped or not
    """

    template_fields = ("job", "report")
    ui_color = "#e8f0fe"
    operator_extra_links = (RunPageLink(),)

    def __init__(
        self,
        *,
        job: ScoringJob | Mapping[str, Any] | str,
        report: Mapping[str, Any] | Any,
        score_task_id: str = "score",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.job = job
        self.report = report
        self.score_task_id = score_task_id
        self._stop = StopFlag()
        self._verdicts: Sequence[Verdict] = ()
        self._engine: Engine | None = None

    def on_kill(self) -> None:
        """End the waiting for a database that does not answer. Airflow calls this in a signal handler."""
        self._stop.set()

    def execute(self, context: Context) -> None:
        """Check the run, and fail without a retry if a check does."""
        if DryRunReport.from_xcom(self.report):
            raise AirflowSkipException("a dry run writes nothing that could be checked")
        with fail_without_retry():
            job = as_job(self.job)
            ledger = find_ledger(target_engine_of(job), job, self._stop)
            self._engine = ledger.engine
            key = replace(run_key(context), task_id=self.score_task_id)
            checked = check_run(ledger, job.checks, key, self._stop)
        if checked is None:
            raise AirflowSkipException("a rescore covers old reviews, so it is not compared with earlier runs")
        context["ti"].xcom_push(key="checks", value=checked.as_json())
        context["ti"].xcom_push(key="paragraph", value=f"{self.report['paragraph']} {checked.paragraph}")
        _log(checked)
        self._verdicts = checked.verdicts
        emit_checks(job.name, checked.verdicts)
        if failed := checked.failed:
            raise AirflowFailException(
                f"job {job.name!r}: {len(failed)} of {len(checked.verdicts)} checks failed. "
                f"{' '.join(f'{each.name}: {each.text}' for each in failed)} What the run wrote stays; docs/checks.md "
                "says what to do"
            )

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """Return the verdicts as assertions of the table of scores."""
        del task_instance
        return check_lineage(self.job, self._verdicts, self._engine)


def _log(checked: CheckReport) -> None:
    for each in checked.verdicts:
        log.log(LEVELS.get(each.state, logging.INFO), "check %s %s: %s", each.name, each.state, each.text)
    log.info("%s", checked.paragraph)
