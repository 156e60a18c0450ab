"""The two ends of a run in shards: the operator that plans them, and the one that adds them up."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from review_scoring.airflow.connections.engines import engine_of
from review_scoring.airflow.jobs import as_job
from review_scoring.airflow.operators.score_reviews import (
    NOTHING,
    ScoringOperator,
    as_int,
    as_limit,
    as_rescore,
    failing_at_once,
    run_key,
)
from review_scoring.booleans import as_bool
from review_scoring.errors import ConfigurationError
from review_scoring.job import Rescore, ScoringJob
from review_scoring.run.planning import add_up, pass_of_run, plan_run
from review_scoring.run.preflight import target_conn_id
from review_scoring.run.report import paragraph, sentence
from review_scoring.warehouse.ledger.ledger import find_ledger
from review_scoring.warehouse.selection.candidates import TimeRange
from review_scoring.warehouse.selection.shards import Cut, Shard
from review_scoring.warehouse.source.review_source import KeyRange, NativeId, parse_id

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)


RANGE = ("above", "upto", "scored_since", "scored_until")


class PlanShardsOperator(ScoringOperator):
    """Cut what waits into key ranges of about equal work, over which :class:`ScoreReviewsOperator` is mapped.

    There is always one at least, even if nothing waits: what is committed after the planning has a shard to go to, and
    the run's summary says what it found.

    :param job: as of :class:`ScoreReviewsOperator`, like `model`, `rescore`, `estimate_only` and `migrate` (templated)
    :param limit: score this many reviews at most in the whole run; None for all (templated)
    :param shards: their number; 0 for one per 20,000 reviews that wait, `most` at most (templated)
    :param most: the most shards where nobody says how many: as many as workers score side by side
        (templated)
    :param score_task_id: the task that is mapped over them
    :param above: only ids above this one, in the source's order (templated)
    :param upto: only ids up to this one (templated)
    :param scored_since: only reviews scored from this time on, ISO 8601; UTC where it names no zone (templated)
    :param scored_until: only reviews scored before this time (templated)
    :param yields: whether the run gives way to others; if not, rescores of the job give way to it from now on
    """

    template_fields: Sequence[str] = (*ScoringOperator.template_fields, "limit", "rescore", "shards", "most", *RANGE)

    def __init__(
        self,
        *,
        limit: int | str | None = None,
        rescore: str = Rescore.NOTHING,
        shards: int | str = 0,
        most: int | str = Cut.most,
        score_task_id: str = "score",
        above: str | None = None,
        upto: str | None = None,
        scored_since: str | None = None,
        scored_until: str | None = None,
        yields: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.above = above
        self.upto = upto
        self.scored_since = scored_since
        self.scored_until = scored_until
        self.yields = yields
        self.limit = limit
        self.rescore = rescore
        self.shards = shards
        self.most = most
        self.score_task_id = score_task_id

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Plan, and return the shards as plain values."""
        with failing_at_once():
            number = as_int(self.shards, "shards")
            cut = Cut(most=number, least=1) if number else Cut(most=as_int(self.most, "most"))
            limit, rescore = as_limit(self.limit), as_rescore(self.rescore)
            key = replace(run_key(context), task_id=self.score_task_id)
            prepared = self._prepare()
            keys = KeyRange(*(as_id(each, prepared.source.id_type) for each in (self.above, self.upto)))
            scored = self._scored()
            if as_bool(self.estimate_only, "estimate_only"):
                scan = pass_of_run(prepared, limit=limit, rescore=rescore, keys=keys, scored=scored)
                return [Shard(keys, limit, scan, scored).as_json()]
            shards = plan_run(
                prepared, key, cut, limit=limit, rescore=rescore, keys=keys, scored=scored, yields=self.yields
            )
        log.info("%d shards: %s", len(shards), "; ".join(str(shard) for shard in shards))
        return [shard.as_json() for shard in shards]

    def _scored(self) -> TimeRange | None:
        since, until = as_time(self.scored_since, "scored_since"), as_time(self.scored_until, "scored_until")
        return TimeRange(since, until) if since or until else None


def as_id(value: str | None, id_type: str) -> NativeId | None:
    """Convert a rendered id to what the source's driver takes.

    :raises ConfigurationError: if it is none of that type
    """
    try:
        return None if value in NOTHING else parse_id(str(value).strip(), id_type)
    except ValueError:
        raise ConfigurationError(f"{value!r} is no id of this source, whose ids are of type {id_type}") from None


def as_time(value: str | None, name: str) -> datetime | None:
    """Convert a rendered time.

    :raises ConfigurationError: naming the parameter
    """
    try:
        moment = None if value in NOTHING else datetime.fromisoformat(str(value))
    except ValueError:
        raise ConfigurationError(f"{name} is {value!r}; it must be a time such as 2026-01-31T12:00:00Z") from None
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment


class SummariseRunOperator(BaseOperator):
    """Add up a run's shards, hold the sum against the tables, and tell what the run did: in one line for scripts, and
    in one paragraph for people, which is `paragraph` of what it returns.

    :param job: as of :class:`ScoreReviewsOperator` (templated)
    :param shards: what :class:`PlanShardsOperator` returned (templated)
    :param results: what the mapped :class:`ScoreReviewsOperator` returned; only a dry run's is looked at (templated)
    :param score_task_id: the task that was mapped over the shards
    :param rescored: tell as well how many of the scored reviews had another label before
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
        rescored: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.rescored = rescored
        self.job = job
        self.shards = shards
        self.results = results
        self.score_task_id = score_task_id

    def execute(self, context: Context) -> dict[str, Any]:
        """Add up, check, tell; fail without a retry if the tables do not hold what was counted."""
        estimates = [found for found in self.results[:] if found and found.get("dry_run")]
        summary = estimates[0] if estimates else self._add_up(context)
        log.info("%s", sentence(summary))
        log.info("%s", told := paragraph(summary))
        return {**summary, "paragraph": told}

    def _add_up(self, context: Context) -> dict[str, Any]:
        with failing_at_once():
            job = as_job(self.job)
            ledger = find_ledger(engine_of(target_conn_id(job)), job)
            shards = [Shard.from_json(each, ledger.id_type) for each in self.shards]
            total = add_up(ledger, replace(run_key(context), task_id=self.score_task_id), shards)
        counts = total.counts
        return {
            "job": job.name,
            "read": counts.read,
            "scored": counts.scored,
            "unchanged": counts.unchanged,
            "rejected": counts.rejected,
            "labels": {label: count for label, (count, _) in counts.labels.items()},
            **({"relabelled": counts.relabelled} if self.rescored else {}),
            "tokens": counts.tokens,
            "shards": total.shards,
            "model": total.model,
            "revision": total.revision,
            "device": total.device,
            "seconds": total.seconds,
            "reviews_per_second": round(total.reviews_per_second, 1),
        }
