"""The operator that promotes a model to champion of a job, after another person's approval if it has not passed."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.exceptions import HITLTimeoutError
from airflow.providers.standard.operators.hitl import HITLOperator

from review_scoring.airflow.compat import AirflowFailException
from review_scoring.airflow.config import settings
from review_scoring.airflow.connections.engines import engine_of
from review_scoring.airflow.evaluation import store_of
from review_scoring.airflow.jobs import as_job
from review_scoring.airflow.operators.base import MAX_USER, fail_without_retry, triggered_by
from review_scoring.airflow.operators.rendered import as_int
from review_scoring.errors import NotApprovedError
from review_scoring.evaluation.champion import ANY_SET, as_required
from review_scoring.evaluation.promotion import Candidate, PromotionRequest, find_candidate, promote_model
from review_scoring.job import ScoringJob
from review_scoring.settings import as_bool

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)

APPROVE, REJECT = "Approve", "Reject"

CANDIDATE = "candidate"
"""XCom key of the revision whose promotion waits for approval."""

WAIT = timedelta(days=7)
"""How long a promotion waits for approval."""


class PromoteModelOperator(HITLOperator):
    """Promote a model to champion of a job, and record who promoted it, when, why, and on which evaluation.

    A model without a passing evaluation is promoted if `without_passing` says so, and only after another person than
    the one who triggered the run has approved it (Airflow's required actions). The task waits for the answer without
    a worker. The settings `unpassed_promotions` and `promotion_approvers` change that.

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
        asked = {"subject": "Promote a model", "options": [APPROVE, REJECT], "response_timeout": WAIT}
        super().__init__(**{**asked, **kwargs})
        self.job = job
        self.model = model
        self.reason = reason
        self.evaluation = evaluation
        self.without_passing = without_passing
        self.require_benchmark = require_benchmark
        self.migrate = migrate

    def execute(self, context: Context) -> Any:
        """Promote the model and return what was recorded, or ask for approval."""
        with fail_without_retry():
            job = as_job(self.job)
            request = self._request(context)
            migrate = as_bool(self.migrate, "migrate")
            candidate = find_candidate(job, store_of(job), request, settings().models, migrate_tables=migrate)
            if not candidate.problem or settings().unpassed_promotions == "allowed":
                return self._promote(job, request)
            if settings().unpassed_promotions == "refused":
                raise NotApprovedError(
                    f"not promoted: {candidate.problem}. The setting unpassed_promotions refuses such promotions"
                )
        return self._ask(context, job, request, candidate)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Promote the model if another person has approved it."""
        try:
            answer = super().execute_complete(context, event)
        except HITLTimeoutError:
            raise AirflowFailException(f"not promoted: nobody has answered within {WAIT.days} days") from None
        by: Mapping[str, Any] = answer["responded_by_user"] or {}
        name = str(by.get("name") or by.get("id") or "unknown")[:MAX_USER]
        with fail_without_retry():
            if answer["chosen_options"] != [APPROVE]:
                raise NotApprovedError(f"not promoted: {name} has rejected it")
            self._check_approver(context, by, name)
            found = context["ti"].xcom_pull(task_ids=self.task_id, key=CANDIDATE)
            return self._promote(as_job(self.job), replace(self._request(context), **found, approved_by=name))

    def _check_approver(self, context: Context, by: Mapping[str, Any], name: str) -> None:
        asked, approvers = triggered_by(context), settings().promotion_approvers
        if asked in {by.get("id"), by.get("name")}:
            raise NotApprovedError(
                f"not promoted: {asked} has triggered the run, and another person has to approve it; trigger it again"
            )
        if approvers and by.get("id") not in approvers:
            raise NotApprovedError(f"not promoted: {name} is none of the promotion_approvers; trigger it again")

    def _request(self, context: Context) -> PromotionRequest:
        run: Any = context["dag_run"]
        return PromotionRequest(
            model=self.model,
            evaluation=None if self.evaluation in {None, "", "None"} else as_int(self.evaluation, "evaluation"),
            required=as_required(self.require_benchmark) or ANY_SET,
            without_passing=as_bool(self.without_passing, "without_passing"),
            reason=self.reason,
            promoted_by=triggered_by(context),
            dag_id=run.dag_id,
            dag_run_id=run.run_id,
        )

    def _ask(self, context: Context, job: ScoringJob, request: PromotionRequest, candidate: Candidate) -> Any:
        """Ask for approval of the revision that was found, and wait: a revision imported meanwhile is not promoted."""
        found = {"model": f"{candidate.model}@{candidate.revision}", "evaluation": candidate.benchmark_run_id}
        context["ti"].xcom_push(key=CANDIDATE, value=found)
        self.subject = f"Promote {candidate.model} to champion of {job.name} without a passing evaluation?"
        self.body = "\n\n".join(
            (
                f"**{request.promoted_by}** asks to promote {candidate.model} at revision `{candidate.revision[:12]}`.",
                f"Reason: {request.reason}",
                f"Why it needs approval: {candidate.problem}",
                "Another person has to approve it.",
            )
        )
        self.assigned_users = [{"id": user, "name": user} for user in settings().promotion_approvers] or None
        return super().execute(context)

    def _promote(self, job: ScoringJob, request: PromotionRequest) -> dict[str, Any]:
        promotion = promote_model(
            job,
            store_of(job),
            request,
            source_engine=lambda: engine_of(job.source_conn_id),
            settings=settings().models,
            migrate_tables=as_bool(self.migrate, "migrate"),
        )
        approval = f", approved by {promotion.approved_by}," if promotion.approved_by else ""
        log.info(
            "%s%s promoted %s at revision %s to champion of job %s",
            promotion.promoted_by,
            approval,
            promotion.model,
            promotion.revision[:12],
            job.name,
        )
        return vars(promotion)
