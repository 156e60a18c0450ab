"""Operators that erase reviews: those that left the source (reconcile), and those whose ids are given (forget)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from review_scoring.airflow.compat import AirflowSkipException
from review_scoring.airflow.operators.base import ErasingOperator, fail_without_retry, run_key, triggered_by
from review_scoring.airflow.operators.rendered import NOTHING, as_choice, as_share
from review_scoring.errors import ConfigurationError
from review_scoring.job import OnDelete
from review_scoring.run.forgetting import forget
from review_scoring.run.reconciling import reconcile
from review_scoring.settings import as_bool
from review_scoring.warehouse.erasure import ErasureReason, ErasureRequest

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)


class ReconcileReviewsOperator(ErasingOperator):
    """Find what is recorded of reviews that are no longer in the source, and erase it if the job says so.

    Everything is counted first. Nothing is erased if the source has no reviews, or if more than a share of the recorded
    reviews is missing there: a load may have failed.

    :param job: a :class:`ScoringJob`, its settings, or its name (templated)
    :param on_delete: `keep` to count, or `erase`; None for the job's setting (templated)
    :param max_deleted_share: the largest share that is erased, from 0 to 1; None for the job's setting (templated)
    :param estimate_only: a dry run: count, and erase nothing (templated)
    :param migrate: False if a DBA creates the tables: they are only checked
    """

    template_fields: Sequence[str] = (*ErasingOperator.template_fields, "on_delete", "max_deleted_share")

    def __init__(
        self, *, on_delete: str | None = None, max_deleted_share: float | str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.on_delete = on_delete
        self.max_deleted_share = max_deleted_share

    def execute(self, context: Context) -> dict[str, Any]:
        """Reconcile, and return the report; fail without a retry if it looks like a mistake."""
        with fail_without_retry():
            recorded = self.open_job()
            if recorded is None:
                raise AirflowSkipException("the job has never been scored, so there is nothing to reconcile")
            job, share = recorded.job, self.max_deleted_share
            report = reconcile(
                recorded,
                ErasureRequest(ErasureReason.DELETED, triggered_by(context), run_key(context).dag_run),
                on_delete=job.on_delete
                if self.on_delete in NOTHING
                else as_choice(self.on_delete, OnDelete, "on_delete"),
                max_share=job.max_deleted_share if share in NOTHING else as_share(share, "max_deleted_share"),
                dry_run=self.is_dry_run,
            )
        log.info("%s", report.line)
        is_left = report.deleted > 0 and report.erased is None
        log.log(logging.WARNING if is_left else logging.INFO, "%s", report.paragraph)
        return report.as_xcom()


class ForgetReviewsOperator(ErasingOperator):
    """Erase scores, rejects and texts in benchmark sets of given reviews, at once.

    :param job: as of :class:`ReconcileReviewsOperator`, like `estimate_only` (both templated) and `migrate`
    :param ids: ids of the reviews (templated)
    :param even_if_in_source: erase reviews that the source still has, and that are scored again (templated)
    """

    template_fields: Sequence[str] = (*ErasingOperator.template_fields, "ids", "even_if_in_source")

    def __init__(
        self, *, ids: Sequence[str] | str | Any = (), even_if_in_source: bool | str = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.ids = ids
        self.even_if_in_source = even_if_in_source

    def execute(self, context: Context) -> dict[str, Any]:
        """Erase, and return the report; fail without a retry if the source still has a review."""
        with fail_without_retry():
            ids = self.ids.split("\n") if isinstance(self.ids, str) else list(map(str, self.ids))
            recorded = self.open_job()
            if recorded is None:
                raise ConfigurationError("the job has never been scored, so there is nothing to erase")
            report = forget(
                recorded,
                ids,
                ErasureRequest(ErasureReason.REQUESTED, triggered_by(context), run_key(context).dag_run),
                even_if_in_source=as_bool(self.even_if_in_source, "even_if_in_source"),
                dry_run=self.is_dry_run,
            )
        log.info("%s", report.paragraph)
        return report.as_xcom()
