"""The operator that scores what waits."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException, AirflowRescheduleException

from review_scoring.airflow.connections.engines import engine_of
from review_scoring.airflow.jobs import as_job
from review_scoring.airflow.links import RunPageLink
from review_scoring.airflow.model_settings import model_settings
from review_scoring.booleans import as_bool
from review_scoring.concurrency.cancellation import StopFlag
from review_scoring.errors import ConfigurationError, JobBusyError, UnaccountedError
from review_scoring.evaluation.champion import as_required, model_of_job
from review_scoring.job import Rescore, ScoringJob
from review_scoring.models.catalogue_entry import CHAMPION
from review_scoring.run.loop import RunSummary, ScoringOptions, score_reviews
from review_scoring.run.planning import pass_of_run
from review_scoring.run.preflight import Prepared, preflight, target_conn_id
from review_scoring.warehouse.ledger.leases import RunKey
from review_scoring.warehouse.selection.candidates import Candidates
from review_scoring.warehouse.selection.shards import Shard
from review_scoring.warehouse.source.review_source import EVERYTHING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow.sdk import Context

    from review_scoring.inference.classifier import Classifier
    from review_scoring.models.folder import ModelFolder

log = logging.getLogger(__name__)

NOTHING = (None, "", "None")
"""What a template renders an empty parameter to."""

YIELD_FOR = timedelta(minutes=1)


class ScoringOperator(BaseOperator):
    """What checking and scoring share: a job, a model, and the way to them."""

    template_fields: Sequence[str] = ("job", "model", "estimate_only", "require_benchmark")
    ui_color = "#e8f0fe"

    def __init__(
        self,
        *,
        job: ScoringJob | Mapping[str, Any] | str,
        model: str | Path = CHAMPION,
        estimate_only: bool | str = False,
        migrate: bool = True,
        require_benchmark: str | bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.job = job
        self.model = model
        self.estimate_only = estimate_only
        self.migrate = migrate
        self.require_benchmark = require_benchmark
        self._stop = StopFlag()

    def on_kill(self) -> None:
        """Ask the run to stop; it looks up between two batches. Called by Airflow as a signal handler."""
        self._stop.set()

    def _prepare(self) -> Prepared:
        job = as_job(self.job)
        target = partial(engine_of, target_conn_id(job))
        return preflight(
            job,
            source_engine=lambda: engine_of(job.source_conn_id),
            target_engine=target,
            model=lambda: model_of_job(self.model, job, target, model_settings()),
            stop=self._stop,
            migrate_tables=as_bool(self.migrate, "migrate"),
            dry_run=as_bool(self.estimate_only, "estimate_only"),
            benchmark=as_required(self.require_benchmark),
        )


class PreflightScoringOperator(ScoringOperator):
    """Check a scoring job's set-up: connections, table, columns, model and rights. Everything wrong is told at once.

    The project's own tables are created or migrated, unless `migrate` is off or it is a dry run.

    :param job: a :class:`ScoringJob`, its settings, or its name in the Variable `review_scoring_jobs` (templated)
    :param model: name or alias of a model of the catalogue, `name@revision`, or `champion`, the model that was promoted
        for the job (templated); in DAG code also a folder in Hugging Face layout, as a `pathlib.Path`
    :param estimate_only: write nothing, not even the project's tables (templated)
    :param migrate: False where a DBA creates the tables
    :param require_benchmark: refuse a model whose revision has not passed its newest evaluation on this benchmark set;
        True or `any` for each set that it was evaluated on (templated)
    """

    def execute(self, context: Context) -> str:
        """Check, fail without a retry if anything is wrong, and return `name@revision` of the model that is meant.

        Tasks that take their model from here score with the same one, whoever promotes another meanwhile.
        """
        del context
        with failing_at_once():
            prepared = self._prepare()
        log.info(
            "ready: %s (%s ids), model %s at revision %s",
            prepared.source.name,
            prepared.source.id_type,
            prepared.model.name,
            prepared.model.revision[:12],
        )
        return f"{prepared.model.name}@{prepared.model.revision}"


class ScoreReviewsOperator(ScoringOperator):
    """Score the reviews of a job that wait: read them in chunks, classify, write labels and scores back.

    Run it again after any failure: it goes on where the last commit ended. Two runs of the same job at the same time
    do each review once between them.

    :param job: a :class:`ScoringJob`, its settings, or its name in the Variable `review_scoring_jobs` (templated)
    :param model: name or alias of a model of the catalogue, `name@revision`, or `champion`, the model that was promoted
        for the job (templated); in DAG code also a folder in Hugging Face layout, as a `pathlib.Path`
    :param shard: the part of a run that is done here, as :class:`PlanShardsOperator` returns it; None for all of it
    :param limit: score this many reviews at most; None for all (templated); of a shard, its plan says it
    :param estimate_only: print how many reviews and tokens wait and what they would take; write nothing (templated)
    :param rescore: `nothing`, `changed` (texts that changed since they were scored), `revision` (scored by another
        model or revision than this one) or `all` (templated)
    :param chunk_rows: reviews that one transaction commits (templated)
    :param device: `auto`, `cuda`, `mps`, `cpu` or a torch device such as `cuda:1` (templated)
    :param precision: `auto`, `float32`, `bfloat16` or `float16` (templated)
    :param long_texts: `truncate` reads the beginning of a text that is too long for the model, and keeps that fact;
        `windows` reads all of it in overlapping windows, and averages their probabilities by tokens (templated)
    :param fused: False for transformers' own modules even where the project's faster forward pass fits the model
    :param wait_s: seconds to wait for another run of the same job to end, before the task fails and is retried
    :param yields: give way to runs that do not: between two chunks the task gives back the job and its slot in the
        pool, and Airflow starts it again a minute later, to go on when the other run has ended
    :param migrate: False where a DBA creates the tables
    :param require_benchmark: refuse a model whose revision has not passed its newest evaluation on this benchmark set;
        True or `any` for each set that it was evaluated on (templated)
    """

    operator_extra_links = (RunPageLink(),)
    template_fields: Sequence[str] = (
        *ScoringOperator.template_fields,
        "limit",
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
        limit: int | str | None = None,
        rescore: str = "nothing",
        chunk_rows: int | str = 1000,
        device: str = "auto",
        precision: str = "auto",
        long_texts: str = "truncate",
        fused: bool = True,
        wait_s: float = 600.0,
        yields: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.shard = shard
        self.limit = limit
        self.rescore = rescore
        self.chunk_rows = chunk_rows
        self.device = device
        self.precision = precision
        self.long_texts = long_texts
        self.fused = fused
        self.wait_s = wait_s
        self.yields = yields

    def execute(self, context: Context) -> dict[str, Any]:
        """Score, and return a small summary: counts, model, revision, device, speed."""
        with failing_at_once():
            options = self._options()
            prepared = self._prepare()
            if as_bool(self.estimate_only, "estimate_only"):
                return self._estimate(prepared, options)
            try:
                return {"job": prepared.job.name, **as_xcom(self._score(prepared, options, context))}
            except JobBusyError as busy:
                if not self.yields:
                    raise
                log.info("%s", busy)
                again = datetime.now(UTC) + YIELD_FOR
                raise AirflowRescheduleException(again) from None  # type: ignore[no-untyped-call]  # Airflow's own

    def _score(self, prepared: Prepared, options: ScoringOptions, context: Context) -> RunSummary:
        assert prepared.ledger is not None
        return score_reviews(
            job=prepared.job,
            source=prepared.source,
            ledger=prepared.ledger,
            key=run_key(context),
            model=prepared.model,
            load_classifier=lambda: self._load(prepared.model),
            options=options,
            stop=self._stop,
            shard=self._shard(prepared),
        )

    def _estimate(self, prepared: Prepared, options: ScoringOptions) -> dict[str, Any]:
        from review_scoring.run.estimate import estimate

        shard = self._shard(prepared) or self._undivided(prepared, options)
        candidates = Candidates(
            prepared.source,
            prepared.ledger,
            options.rescore,
            options.chunk_rows,
            limit=shard.limit,
            keys=shard.keys,
            within=None if shard.scan is None else shard.scan.condition(prepared.source),
            scored=shard.scored,
            revision=(prepared.model.name, prepared.model.revision),
        )
        found = estimate(candidates, self._load(prepared.model), self._stop)
        log.info("%s", found)
        return {
            "job": prepared.job.name,
            "dry_run": True,
            "waiting": found.waiting,
            "tokens": found.tokens,
            "seconds": round(found.seconds),
        }

    def _shard(self, prepared: Prepared) -> Shard | None:
        return None if self.shard is None else Shard.from_json(self.shard, prepared.source.id_type)

    def _undivided(self, prepared: Prepared, options: ScoringOptions) -> Shard:
        """Return all of a run as one shard, with the pass over the source that the run would make."""
        scan = pass_of_run(prepared, limit=options.limit, rescore=options.rescore, keys=EVERYTHING, scored=None)
        return Shard(limit=options.limit, scan=scan)

    def _load(self, model: ModelFolder) -> Classifier:
        from review_scoring.inference.classifier import Classifier

        return Classifier.load(
            model, device=self.device, precision=self.precision, long_texts=self.long_texts, fused=self.fused
        )

    def _options(self) -> ScoringOptions:
        """Convert what templates give, which are strings."""
        return ScoringOptions(
            chunk_rows=as_int(self.chunk_rows, "chunk_rows"),
            limit=as_limit(self.limit),
            rescore=as_rescore(self.rescore),
            yields=self.yields,
            wait_s=0.0 if self.yields else self.wait_s,
        )


@contextmanager
def failing_at_once() -> Iterator[None]:
    """Fail the task without a retry where a retry would give the same error."""
    try:
        yield
    except (ConfigurationError, UnaccountedError) as error:
        raise AirflowFailException(str(error)) from None


def run_key(context: Context) -> RunKey:
    """Return the key of the running task: the same for every try of it."""
    ti = context["ti"]
    map_index = ti.map_index if ti.map_index is not None else -1
    return RunKey(ti.dag_id, ti.task_id, ti.run_id, map_index)


def as_xcom(summary: RunSummary) -> dict[str, Any]:
    """Return a summary as plain values, small enough for XCom."""
    counts = summary.counts
    return {
        "read": counts.read,
        "scored": counts.scored,
        "unchanged": counts.unchanged,
        "rejected": counts.rejected,
        "labels": {label: count for label, (count, _) in counts.labels.items()},
        "tokens": counts.tokens,
        "run": summary.run,
        "model": summary.model,
        "revision": summary.revision,
        "device": summary.device,
        "seconds": summary.seconds,
        "reviews_per_second": summary.reviews_per_second,
    }


def as_int(value: int | str | None, name: str) -> int:
    """Convert a rendered parameter.

    :raises ConfigurationError: naming the parameter
    """
    try:
        return int(str(value))
    except ValueError:
        raise ConfigurationError(f"{name} is {value!r}; it must be a whole number") from None


def as_limit(value: int | str | None) -> int | None:
    """Convert a rendered limit, of which there may be none."""
    return None if value in NOTHING else as_int(value, "limit")


def as_rescore(value: str) -> Rescore:
    """Convert a rendered choice.

    :raises ConfigurationError: naming the choices
    """
    if value not in list(Rescore):
        raise ConfigurationError(f"rescore is {value!r}; it must be one of {', '.join(Rescore)}")
    return Rescore(value)
