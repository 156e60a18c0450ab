"""PublishScoresOperator: copies the scores of a job to its tables in other databases, such as a warehouse."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from review_scoring.airflow.compat import AirflowSkipException
from review_scoring.airflow.connections.engines import engine_of
from review_scoring.airflow.jobs import as_job
from review_scoring.airflow.operators.base import JobOperator, fail_without_retry, run_key
from review_scoring.errors import ConfigurationError, ReviewScoringError, ScoringInterruptedError
from review_scoring.job import Publication, ScoringJob
from review_scoring.run.publishing import PublicationReport, Publisher
from review_scoring.settings import as_bool
from review_scoring.warehouse.ledger.ledger import Ledger
from review_scoring.warehouse.publishing.destinations import destination_of

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)


class PublishScoresOperator(JobOperator):
    """Publish the scores of a job to the tables that its key `publish` names.

    Put it after :class:`CheckRunOperator`: then nothing is published of a run whose checks failed. A publication writes
    what has changed since the one before, whichever run changed it, and may be run again at any time. If one table
    cannot be published to, the others are. A job without that key publishes nothing.

    :param job: as of :class:`ScoreReviewsOperator` (templated)
    :param score_task_id: the task that scored the run; None for a publication that belongs to no run
    :param resync: publish everything that the ledger has, and remove all other rows of the job (templated)
    :param estimate_only: a dry run: count, and write nothing (templated)
    :param migrate: False if a DBA creates the tables: they are only checked
    """

    template_fields: Sequence[str] = (*JobOperator.template_fields, "resync")
    ui_color = "#e6f4ea"

    def __init__(self, *, score_task_id: str | None = "score", resync: bool | str = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.score_task_id = score_task_id
        self.resync = resync

    def execute(self, context: Context) -> dict[str, Any]:
        """Publish to each table, and return what was published."""
        with fail_without_retry():
            job = as_job(self.job)
            if not job.publish:
                if self.score_task_id is None:
                    raise ConfigurationError(
                        f"job {job.name!r} is not published anywhere: its key `publish` names no table"
                    )
                log.info("job %r is not published anywhere", job.name)
                return {}
            if self.is_dry_run and self.score_task_id is not None:
                raise AirflowSkipException("a dry run writes no scores")
            ledger = self.recorded_ledger(job)
            if ledger is None:
                raise AirflowSkipException("the job has never been scored, so there is nothing to publish")
        reports: list[PublicationReport] = []
        errors: list[ReviewScoringError] = []
        for to in job.publish:
            try:
                reports.append(self._publish(context, job, ledger, to))
            except ScoringInterruptedError:
                raise
            except ReviewScoringError as error:
                log.error("%s: %s", to.name, error)
                errors.append(error)
        paragraph = " ".join(report.paragraph for report in reports)
        context["ti"].xcom_push(key="paragraph", value=paragraph)
        with fail_without_retry():
            # What may pass comes first: a retry publishes to that table, and fails for the others.
            for each in sorted(errors, key=lambda error: isinstance(error, ConfigurationError)):
                raise each
        return {"publications": [report.as_xcom() for report in reports], "paragraph": paragraph}

    def _publish(self, context: Context, job: ScoringJob, ledger: Ledger, to: Publication) -> PublicationReport:
        mine = run_key(context)
        publisher = Publisher(
            ledger=ledger,
            to=to,
            destination=destination_of(engine_of(to.conn_id), job.name, to.table, to.table_schema),
            holder=mine,
            own=None if self.score_task_id is None else replace(mine, task_id=self.score_task_id),
            stop=self._stop,
            creates_table=as_bool(self.migrate, "migrate"),
        )
        resync = as_bool(self.resync, "resync")
        report = publisher.estimate(resync=resync) if self.is_dry_run else publisher.publish(resync=resync)
        log.info("%s", report.line)
        log.info("%s", report.paragraph)
        return report
