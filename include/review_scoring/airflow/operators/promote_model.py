"""The operator that promotes a model to champion of a job, after another person's approval if it has not passed."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.exceptions import HITLTimeoutError
from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk.definitions.param import ParamsDict

from review_scoring.airflow.compat import AirflowFailException, response_timeout
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

ASKED = "asked"
"""XCom key of what waits for approval: the revision, its evaluation, and the champion that it would replace."""

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
        super().__init__(subject="", options=[APPROVE, REJECT], **response_timeout(WAIT), **kwargs)
        # Airflow 3.1 copies the form of the DAG into that of the answer, where nobody reads what is entered.
        self.params = ParamsDict()
        self.job = job
        self.model = model
        self.reason = reason
        self.evaluation = evaluation
        self.without_passing = without_passing
        self.require_benchmark = require_benchmark
        self.migrate = migrate

    def validate_params(self) -> None:
        """Accept the form of the DAG, whose fields have no values yet: Airflow 3.1 takes it for that of the answer."""

    def execute(self, context: Context) -> Any:
        """Promote the model and return what was recorded, or ask for approval."""
        with fail_without_retry():
            job, request = as_job(self.job), self._request(context)
            candidate = self._candidate(job, request)
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
        name = str(by.get("name") or by.get("id") or "")[:MAX_USER]
        with fail_without_retry():
            if answer["chosen_options"] != [APPROVE]:
                raise NotApprovedError(f"not promoted: {name} has rejected it")
            _check_approver(triggered_by(context), str(by.get("id", "")), name)
            asked = context["ti"].xcom_pull(task_ids=self.task_id, key=ASKED)
            request = replace(
                self._request(context), model=asked["model"], evaluation=asked["evaluation"], approved_by=name
            )
            job = as_job(self.job)
            present = self._candidate(job, request).champion
            if present not in {asked["champion"], asked["model"]}:
                raise NotApprovedError(
                    f"not promoted: {present} has become the champion since the question was asked; trigger it again"
                )
            return self._promote(job, request)

    def _candidate(self, job: ScoringJob, request: PromotionRequest) -> Candidate:
        migrate = as_bool(self.migrate, "migrate")
        return find_candidate(job, store_of(job), request, settings().models, migrate_tables=migrate)

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
        with fail_without_retry():
            self.assigned_users = _approvers(context, request.promoted_by)
        asked = {"model": candidate.name, "evaluation": candidate.benchmark_run_id, "champion": candidate.champion}
        context["ti"].xcom_push(key=ASKED, value=asked)
        self.subject = f"Promote {candidate.model} to champion of {job.name} without a passing evaluation?"
        self.body = "\n\n".join(
            (
                f"Revision: `{candidate.revision[:12]}`",
                f"Why it needs approval: {candidate.problem}",
                f"The champion now: {candidate.champion or 'none; the bundled model scores'}",
                f"Asked by, who may not approve it:\n\n{_literal(request.promoted_by)}",
                f"Reason:\n\n{_literal(request.reason)}",
            )
        )
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
        approval = f", approved by {promotion.approved_by}" if promotion.approved_by else ""
        paragraph = (
            f"{job.name}: {promotion.promoted_by} has promoted {promotion.model} at revision {promotion.revision[:12]} "
            f"to champion{approval}."
        )
        log.info("%s", paragraph)
        return {**vars(promotion), "paragraph": paragraph}


def _approvers(context: Context, asked_by: str) -> list[Any] | None:
    """Return the users who may answer; None for all whom Airflow lets answer.

    :raises NotApprovedError: if there is no way to tell another person from the one who asks, or nobody else may answer
    """
    if not getattr(context["dag_run"], "triggering_user_name", None):
        raise NotApprovedError(
            "not promoted: another person has to approve it, and Airflow does not say who triggered this run; trigger "
            "it as a user"
        )
    approvers = settings().promotion_approvers
    others = [{"id": each, "name": each} for each in approvers if each != asked_by]
    if approvers and not others:
        raise NotApprovedError(f"not promoted: the setting promotion_approvers names nobody but {asked_by}")
    return others or None


def _check_approver(asked_by: str, user_id: str, name: str) -> None:
    if not name or asked_by in {user_id, name}:
        raise NotApprovedError(
            f"not promoted: {asked_by} has triggered the run, and another person has to approve it; trigger it again"
        )
    approvers = settings().promotion_approvers
    if approvers and user_id not in approvers:  # with the simple auth manager, all may answer if all are administrators
        raise NotApprovedError(f"not promoted: {name} is none of the promotion_approvers; trigger it again")


def _literal(text: str) -> str:
    """Return what a user has entered as a block of code in Markdown."""
    return "\n".join(f"    {line}" for line in text.splitlines())
