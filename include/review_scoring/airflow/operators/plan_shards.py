"""PlanShardsOperator: splits a run into shards (parts of about equal work), for dynamic task mapping."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from review_scoring.airflow.operators.base import ScoringOperator, fail_without_retry, run_key
from review_scoring.airflow.operators.rendered import NOTHING, as_budget, as_choice, as_id, as_int, as_time
from review_scoring.job import Order, Rescore
from review_scoring.request import KeyRange, RunRequest, Selection, TimeRange
from review_scoring.reviews import RejectReason
from review_scoring.run.planning import plan_dry_run, plan_run
from review_scoring.run.preflight import PreparedJob
from review_scoring.run.source_cost import Planned
from review_scoring.warehouse.selection.shards import ShardLimits

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)

BUDGET = ("max_reviews", "max_minutes", "order", "start_after")
PLANNED = "planned_cost"
"""Key of a dry run's shard: what is known of the run's cost before its reviews are read."""

RANGE = ("reject_reason", "above", "upto", "scored_since", "scored_until")


class PlanShardsOperator(ScoringOperator):
    """Split a run into parts of about equal work, over which :class:`ScoreReviewsOperator` is mapped.

    There is always at least one shard, even if no review is waiting. What exceeds the budget waits for the next run.

    :param job: as of :class:`ScoreReviewsOperator`, like `model`, `rescore`, `estimate_only` and `migrate` (templated)
    :param max_reviews: the most reviews that the whole run scores; 0 for no limit; None for the job's setting, or no
        limit for a rescore (templated)
    :param max_minutes: minutes after this task in which the run scores, otherwise as `max_reviews` (templated)
    :param order: `newest` or `oldest` reviews first; None for the job's setting (templated)
    :param start_after: new reviews up to this id, or this value of the job's `cursor_column`, are not scored; None for
        the job's setting (templated)
    :param shards: number of shards; 0 for one per 20,000 waiting reviews, up to `most` (templated)
    :param most: number of shards if `shards` is 0: as many as tasks score in parallel; a run of more than 200,000
        reviews for each has more (templated)
    :param score_task_id: the task that is mapped over the shards
    :param reject_reason: with `rescore="rejects"`, only rejects with this reason; None for all (templated)
    :param above: only ids above this one, in the source's order (templated)
    :param upto: only ids up to this one (templated)
    :param scored_since: only reviews scored from this time on, ISO 8601; UTC if it has no time zone (templated)
    :param scored_until: only reviews scored before this time (templated)
    :param yields: whether the run yields to other runs; if not, rescores of the job yield to it
    """

    template_fields: Sequence[str] = (*ScoringOperator.template_fields, *BUDGET, "rescore", "shards", "most", *RANGE)

    def __init__(
        self,
        *,
        max_reviews: int | str | None = None,
        max_minutes: int | str | None = None,
        order: str | None = None,
        start_after: int | str | None = None,
        rescore: str = Rescore.NOTHING,
        shards: int | str = 0,
        most: int | str = ShardLimits.most,
        score_task_id: str = "score",
        reject_reason: str | None = None,
        above: str | None = None,
        upto: str | None = None,
        scored_since: str | None = None,
        scored_until: str | None = None,
        yields: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.max_reviews = max_reviews
        self.max_minutes = max_minutes
        self.order = order
        self.start_after = start_after
        self.rescore = rescore
        self.shards = shards
        self.most = most
        self.score_task_id = score_task_id
        self.reject_reason = reject_reason
        self.above = above
        self.upto = upto
        self.scored_since = scored_since
        self.scored_until = scored_until
        self.yields = yields

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Plan the shards and return them as JSON values."""
        with fail_without_retry():
            limits = self._limits()
            rescore, scored = as_choice(self.rescore, Rescore, "rescore"), self._scored()
            prepared = self.prepare()
            self.check(prepared)
            request = RunRequest(
                key=replace(run_key(context), task_id=self.score_task_id),
                model=prepared.model.name,
                revision=prepared.model.revision,
                selection=self._selection(prepared, rescore, scored),
                budget=as_budget(self.max_reviews, self.max_minutes, prepared.job, rescore),
                yields=self.yields,
            )
            if self.is_dry_run:
                openings = 2  # this task, and the preflight
                shard, planned = plan_dry_run(prepared, request, Planned(openings=openings, limits=limits))
                return [{**shard.as_json(), PLANNED: planned.as_json()}]
            shards = plan_run(prepared, request, limits)
        log.info("%d shards: %s", len(shards), "; ".join(str(shard) for shard in shards))
        return [shard.as_json() for shard in shards]

    def check(self, prepared: PreparedJob) -> None:
        """Check whether there is anything to plan; a subclass may skip the task."""

    def _selection(self, prepared: PreparedJob, rescore: Rescore, scored: TimeRange | None) -> Selection:
        job, start, reason = prepared.job, self.start_after, self.reject_reason
        return Selection(
            rescore=rescore,
            reject_reason=None if reason in NOTHING else as_choice(reason, RejectReason, "reject_reason"),
            keys=KeyRange(*(as_id(each, prepared.source.id_type) for each in (self.above, self.upto))),
            scored=scored,
            order=job.order if self.order in NOTHING else as_choice(self.order, Order, "order"),
            start_after=job.start_after if start in NOTHING else start,
        )

    def _limits(self) -> ShardLimits:
        number = as_int(self.shards, "shards")
        return ShardLimits(most=number, least=1) if number else ShardLimits(most=as_int(self.most, "most"))

    def _scored(self) -> TimeRange | None:
        since, until = as_time(self.scored_since, "scored_since"), as_time(self.scored_until, "scored_until")
        return TimeRange(since, until) if since or until else None
