"""ScoreReviewsOperator: scores a whole run or one shard (chunk size, budget, device, precision, yielding, dry run)."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from review_scoring.airflow.compat import AirflowRescheduleException
from review_scoring.airflow.lineage import run_lineage
from review_scoring.airflow.links import RunPageLink
from review_scoring.airflow.metrics import emit_run
from review_scoring.airflow.operators.base import ScoringOperator, fail_without_retry, run_key
from review_scoring.airflow.operators.plan_shards import PLANNED
from review_scoring.airflow.operators.rendered import NOTHING, as_budget, as_choice, as_int
from review_scoring.errors import JobBusyError
from review_scoring.job import Rescore
from review_scoring.request import RunRequest, Selection
from review_scoring.run.loop import score_run, score_shard
from review_scoring.run.planning import plan_dry_run
from review_scoring.run.preflight import PreparedJob
from review_scoring.run.report import DryRunReport, RunReport
from review_scoring.run.source_cost import Planned, charges, cost_of_run
from review_scoring.warehouse.selection.shards import Shard

if TYPE_CHECKING:
    from airflow.sdk import Context
    from sqlalchemy import Engine

    from review_scoring.inference.classifier import Classifier

log = logging.getLogger(__name__)

YIELD_FOR = timedelta(minutes=1)


class ScoreReviewsOperator(ScoringOperator):
    """Score the new reviews of a job: read them in chunks, classify, write labels and scores back.

    Run it again after any failure: it continues after the last commit. Two runs of the same job at the same time
    score each review once between them.

    :param job: a :class:`ScoringJob`, its settings, or its name (templated)
    :param model: name or alias of a model of the catalogue, `name@revision`, or `champion`, the model that was promoted
        for the job; None for that of the job (templated); in DAG code also a folder in Hugging Face layout, as a
        `pathlib.Path`
    :param shard: the part of the run to score, as returned by :class:`PlanShardsOperator`; None for the whole run
    :param max_reviews: the most reviews to score; 0 for no limit; None for the job's setting, or no limit for a rescore
        (templated); a shard has its own
    :param max_minutes: minutes in which to score, otherwise as `max_reviews` (templated)
    :param estimate_only: a dry run: log how many reviews and tokens are waiting and how long they would take; write
        nothing (templated)
    :param rescore: `nothing`, `changed` (texts that changed since they were scored), `revision` (scored by another
        model or revision than this one) or `all` (templated); a shard has its own
    :param chunk_rows: the chunk size, the number of reviews that one transaction commits (templated)
    :param device: `auto`, `cuda`, `mps`, `cpu` or a torch device such as `cuda:1` (templated)
    :param precision: `auto`, `float32`, `bfloat16` or `float16` (templated)
    :param long_texts: `truncate` reads a text up to the model's maximum, and sets `truncated` in the table of scores;
        `windows` reads all of it in overlapping windows, and averages their probabilities by tokens; None for the job's
        setting (templated)
    :param fused: False to use transformers' modules even where the packed forward pass supports the model
    :param wait_s: seconds to wait for another run of the same job to end, before the task fails and is retried
    :param yields: whether to yield to runs that do not yield. Between two chunks, the task then releases the lease and
        its pool slot, and is rescheduled every minute until the other run has ended
    :param migrate: False if a DBA creates the tables
    :param require_benchmark: refuse a model whose revision has not passed its newest evaluation on this benchmark set;
        True or `any` for each set that it was evaluated on; None for the job's setting (templated)
    """

    operator_extra_links = (RunPageLink(),)
    template_fields: Sequence[str] = (
        *ScoringOperator.template_fields,
        "max_reviews",
        "max_minutes",
        "rescore",
        "chunk_rows",
        "device",
        "precision",
        "long_texts",
    )

    def __init__(
        self,
        *,
        shard: Mapping[str, Any] | None = None,
        max_reviews: int | str | None = None,
        max_minutes: int | str | None = None,
        rescore: str = "nothing",
        chunk_rows: int | str = 1000,
        device: str = "auto",
        precision: str = "auto",
        long_texts: str | None = None,
        fused: bool = True,
        wait_s: float = 600.0,
        yields: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.shard = shard
        self.max_reviews = max_reviews
        self.max_minutes = max_minutes
        self.rescore = rescore
        self.chunk_rows = chunk_rows
        self.device = device
        self.precision = precision
        self.long_texts = long_texts
        self.fused = fused
        self.wait_s = wait_s
        self.yields = yields
        self._report: RunReport | DryRunReport | None = None
        self._engine: Engine | None = None

    def execute(self, context: Context) -> dict[str, Any]:
        """Score, and return the report: counts, labels, model, revision, device, speed."""
        with fail_without_retry():
            rescore = as_choice(self.rescore, Rescore, "rescore")
            chunk_rows = as_int(self.chunk_rows, "chunk_rows")
            RunRequest.check_chunk_rows(chunk_rows)
            prepared = self.prepare()
            job = prepared.job
            request = RunRequest(
                key=run_key(context),
                model=prepared.model.name,
                revision=prepared.model.revision,
                selection=Selection(rescore=rescore, order=job.order, start_after=job.start_after),
                budget=as_budget(self.max_reviews, self.max_minutes, job, rescore),
                yields=self.yields,
                chunk_rows=chunk_rows,
                wait_s=0.0 if self.yields else self.wait_s,
            )
            if self.is_dry_run:
                return self._estimate(prepared, request)
            try:
                self._engine = prepared.existing_ledger.engine
                self._report = self._score(prepared, request)
                if self.shard is None:
                    emit_run(self._report)
                return self._report.as_xcom()
            except JobBusyError as busy:
                if not self.yields:
                    raise
                log.info("%s", busy)
                again = datetime.now(UTC) + YIELD_FOR
                raise AirflowRescheduleException(again) from None  # type: ignore[no-untyped-call]  # Airflow leaves it untyped

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """Return the lineage of the run. A shard has none: its counts are in that of :class:`SummariseRunOperator`."""
        del task_instance
        return run_lineage(self.job, self._report, self._engine) if self.shard is None else None

    def _score(self, prepared: PreparedJob, request: RunRequest) -> RunReport:
        def load() -> Classifier:
            return self._load(prepared)

        if self.shard is None:
            return score_run(prepared, request, load, self._stop)
        shard = Shard.from_json(self.shard, prepared.source.id_type)
        return score_shard(prepared, request, shard, load, self._stop)

    def _estimate(self, prepared: PreparedJob, request: RunRequest) -> dict[str, Any]:
        from review_scoring.run.estimate import estimate

        if self.shard is None:
            shard, planned = plan_dry_run(prepared, request, Planned())
        else:
            shard = Shard.from_json(self.shard, prepared.source.id_type)
            planned = Planned.from_json(self.shard[PLANNED]) if PLANNED in self.shard else Planned()
        candidates = shard.candidates(prepared.source, prepared.ledger, request)
        cost = partial(cost_of_run, prepared, planned) if charges(prepared) else None
        found = estimate(candidates, self._load(prepared), self._stop, cost)
        log.info("%s", found)
        self._report = found.report(prepared.job.name)
        return self._report.as_xcom()

    def _load(self, prepared: PreparedJob) -> Classifier:
        from review_scoring.inference.classifier import Classifier

        return Classifier.load(
            prepared.model,
            device=self.device,
            precision=self.precision,
            long_texts=prepared.job.long_texts if self.long_texts in NOTHING else self.long_texts,
            fused=self.fused,
        )
