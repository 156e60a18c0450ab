"""The operator that promotes a model to champion of a job."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from review_scoring.airflow.config import settings
from review_scoring.airflow.connections.engines import engine_of
from review_scoring.airflow.evaluation import store_of
from review_scoring.airflow.jobs import as_job
from review_scoring.airflow.operators.base import fail_without_retry, triggered_by
from review_scoring.airflow.operators.rendered import as_int
from review_scoring.evaluation.champion import ANY_SET, as_required
from review_scoring.evaluation.promotion import PromotionRequest, promote_model
from review_scoring.job import ScoringJob
from review_scoring.settings import as_bool

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)


class PromoteModelOperator(BaseOperator):
    """Promote a model to champion of a job, and record who promoted it, when, why, and on which evaluation.

    :param job: a :class:`ScoringJob`, its settings, or its name (templated)
    :param model: name or alias of a model of the catalogue, or `name@revision` (templated)
    :param reason: the reason, which is recorded (templated)
    :param evaluation: id of the evaluation that the promotion rests on, whose revision is promoted; None for the newest
        revision of the model, and its newest evaluation (templated)
    :param without_passing: promote the model even if it has no passing evaluation (templated)
    :param require_benchmark: the benchmark set that the model must have passed on; None, True or `any` for each that
        it was evaluated on (templated)
    :param migrate: False if a DBA creates the tables: they are only checked
    """

    template_fields: Sequence[str] = ("job", "model", "reason", "evaluation", "without_passing", "require_benchmark")
    ui_color = "#e6f4ea"

    def __init__(
        self,
        *,
        job: ScoringJob | Mapping[str, Any] | str,
        model: str,
        reason: str,
        evaluation: int | str | None = None,
        without_passing: bool | str = False,
        require_benchmark: str | bool | None = None,
        migrate: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.job = job
        self.model = model
        self.reason = reason
        self.evaluation = evaluation
        self.without_passing = without_passing
        self.require_benchmark = require_benchmark
        self.migrate = migrate

    def execute(self, context: Context) -> dict[str, Any]:
        """Promote the model, and return what was recorded."""
        run: Any = context["dag_run"]
        with fail_without_retry():
            job = as_job(self.job)
            request = PromotionRequest(
                model=self.model,
                evaluation=None if self.evaluation in {None, "", "None"} else as_int(self.evaluation, "evaluation"),
                required=as_required(self.require_benchmark) or ANY_SET,
                without_passing=as_bool(self.without_passing, "without_passing"),
                reason=self.reason,
                promoted_by=triggered_by(context),
                dag_id=run.dag_id,
                dag_run_id=run.run_id,
            )
            promotion = promote_model(
                job,
                store_of(job),
                request,
                source_engine=lambda: engine_of(job.source_conn_id),
                settings=settings().models,
                migrate_tables=as_bool(self.migrate, "migrate"),
            )
        log.info(
            "%s promoted %s at revision %s to champion of job %s",
            promotion.promoted_by,
            promotion.model,
            promotion.revision[:12],
            job.name,
        )
        return vars(promotion)
