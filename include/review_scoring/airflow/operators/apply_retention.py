"""ApplyRetentionOperator: removes what the tables keep of old runs and old evaluations."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from review_scoring.airflow.compat import AirflowSkipException
from review_scoring.airflow.config import settings
from review_scoring.airflow.evaluation import store_of
from review_scoring.airflow.jobs import as_job
from review_scoring.airflow.operators.base import JobOperator, fail_without_retry
from review_scoring.airflow.operators.rendered import NOTHING, as_int
from review_scoring.run.retention import Retention, apply_retention
from review_scoring.settings import SECTION

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)


class ApplyRetentionOperator(JobOperator):
    """Remove the records of old runs of a job, and the predictions of old evaluations in its tables.

    Scores, rejects, metrics and verdicts stay. The section "Retention" of `docs/operations.md` lists what is never
    removed. The task needs neither the model nor the source. It is skipped if both numbers of days are 0.

    :param job: as of :class:`ScoreReviewsOperator` (templated)
    :param migrate: False if a DBA creates the tables: they are only checked
    :param estimate_only: count what would be removed, and remove nothing (templated)
    :param keep_runs_days: in place of the setting `keep_runs_days`; None for the setting (templated)
    :param keep_predictions_days: in place of the setting `keep_predictions_days`; None for the setting (templated)
    """

    template_fields: Sequence[str] = (*JobOperator.template_fields, "keep_runs_days", "keep_predictions_days")
    ui_color = "#e8f0fe"

    def __init__(
        self, *, keep_runs_days: int | str | None = None, keep_predictions_days: int | str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.keep_runs_days = keep_runs_days
        self.keep_predictions_days = keep_predictions_days

    def execute(self, context: Context) -> dict[str, Any]:
        """Apply the retention, and return what was removed."""
        del context
        with fail_without_retry():
            job, retention = as_job(self.job), self._retention()
            if not retention:
                raise AirflowSkipException(
                    f"all runs and predictions are kept: the settings keep_runs_days and keep_predictions_days of "
                    f"[{SECTION}] are 0"
                )
            ledger = self.recorded_ledger(job)
            if ledger is None:
                raise AirflowSkipException("the job has never been scored, so there is nothing to remove")
            report = apply_retention(ledger, store_of(job, self._stop), retention, dry_run=self.is_dry_run)
        log.info("%s", report.line)
        log.info("%s", report.paragraph)
        return report.as_xcom()

    def _retention(self) -> Retention:
        def days(name: str) -> int:
            given = getattr(self, name)
            return int(getattr(settings(), name)) if given in NOTHING else as_int(given, name)

        return Retention(runs=days("keep_runs_days"), predictions=days("keep_predictions_days"))
