"""The operator that scores what waits."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from review_scoring.airflow.connections import engine_of
from review_scoring.airflow.jobs import job_named
from review_scoring.airflow.models import model_settings
from review_scoring.errors import ConfigurationError
from review_scoring.job import Rescore, ScoringJob
from review_scoring.models.catalogue import DEFAULT_MODEL, find_model
from review_scoring.preflight import Prepared, preflight, target_conn_id
from review_scoring.scoring import RunSummary, ScoringOptions, score_reviews
from review_scoring.stop import StopFlag
from review_scoring.warehouse.candidates import Candidates
from review_scoring.warehouse.runs import RunKey

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow.sdk import Context

log = logging.getLogger(__name__)


class _ScoringOperator(BaseOperator):
    """What checking and scoring share: a job, a model, and the way to them."""

    template_fields: Sequence[str] = ("job", "model", "estimate_only")
    ui_color = "#e8f0fe"

    def __init__(
        self,
        *,
        job: ScoringJob | str,
        model: str | Path = DEFAULT_MODEL,
        estimate_only: bool | str = False,
        migrate: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.job = job
        self.model = model
        self.estimate_only = estimate_only
        self.migrate = migrate
        self._stop = StopFlag()

    def on_kill(self) -> None:
        """Ask the run to stop; it looks up between two batches. Called by Airflow as a signal handler."""
        self._stop.set()

    def _prepare(self) -> Prepared:
        job = self.job if isinstance(self.job, ScoringJob) else job_named(self.job)
        return preflight(
            job,
            source_engine=lambda: engine_of(job.source_conn_id),
            target_engine=lambda: engine_of(target_conn_id(job)),
            model=lambda: find_model(self.model, model_settings()),
            stop=self._stop,
            migrate_tables=self.migrate,
            dry_run=as_bool(self.estimate_only),
        )


class PreflightScoringOperator(_ScoringOperator):
    """Check a scoring job's set-up: connections, table, columns, model and rights. Everything wrong is told at once.

    The project's own tables are created or migrated, unless `migrate` is off or it is a dry run.

    :param job: a :class:`ScoringJob`, or the name of one in the Variable `review_scoring_jobs` (templated)
    :param model: name or alias of a model of the catalogue, or `name@revision` (templated); in DAG code also a folder
        in Hugging Face layout, as a `pathlib.Path`
    :param estimate_only: write nothing, not even the project's tables (templated)
    :param migrate: False where a DBA creates the tables
    """

    def execute(self, context: Context) -> None:
        """Check, and fail without a retry if anything is wrong."""
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


class ScoreReviewsOperator(_ScoringOperator):
    """Score the reviews of a job that wait: read them in chunks, classify, write labels and scores back.

    Run it again after any failure: it goes on where the last commit ended. Two runs of the same job at the same time
    do each review once between them.

    :param job: a :class:`ScoringJob`, or the name of one in the Variable `review_scoring_jobs` (templated)
    :param model: name or alias of a model of the catalogue, or `name@revision` (templated); in DAG code also a folder
        in Hugging Face layout, as a `pathlib.Path`
    :param limit: score this many reviews at most; None for all (templated)
    :param estimate_only: print how many reviews and tokens wait and what they would take; write nothing (templated)
    :param rescore: `nothing`, `changed` (texts that changed since they were scored) or `all` (templated)
    :param chunk_rows: reviews that one transaction commits (templated)
    :param device: `auto`, `cuda`, `mps`, `cpu` or a torch device such as `cuda:1` (templated)
    :param precision: `auto`, `float32`, `bfloat16` or `float16` (templated)
    :param wait_s: seconds to wait for another run of the same job to end, before the task fails and is retried
    :param migrate: False where a DBA creates the tables
    """

    template_fields: Sequence[str] = (
        *_ScoringOperator.template_fields,
        "limit",
        "rescore",
        "chunk_rows",
        "device",
        "precision",
    )

    def __init__(
        self,
        *,
        limit: int | str | None = None,
        rescore: str = "nothing",
        chunk_rows: int | str = 1000,
        device: str = "auto",
        precision: str = "auto",
        wait_s: float = 600.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.limit = limit
        self.rescore = rescore
        self.chunk_rows = chunk_rows
        self.device = device
        self.precision = precision
        self.wait_s = wait_s

    def execute(self, context: Context) -> dict[str, Any]:
        """Score, and return a small summary: counts, model, revision, device, speed."""
        with failing_at_once():
            options = self._options()
            prepared = self._prepare()
            if as_bool(self.estimate_only):
                return self._estimate(prepared, options)
            return as_xcom(self._score(prepared, options, context))

    def _score(self, prepared: Prepared, options: ScoringOptions, context: Context) -> RunSummary:
        def load() -> Any:
            from review_scoring.inference.classifier import Classifier

            return Classifier.load(prepared.model, device=self.device, precision=self.precision)

        assert prepared.ledger is not None
        return score_reviews(
            job=prepared.job,
            source=prepared.source,
            ledger=prepared.ledger,
            key=run_key(context),
            model=prepared.model,
            load_classifier=load,
            options=options,
            stop=self._stop,
        )

    def _estimate(self, prepared: Prepared, options: ScoringOptions) -> dict[str, Any]:
        from review_scoring.estimate import estimate
        from review_scoring.inference.classifier import Classifier

        candidates = Candidates(
            prepared.source, prepared.ledger, options.rescore, options.chunk_rows, limit=options.limit
        )
        classifier = Classifier.load(prepared.model, device=self.device, precision=self.precision)
        found = estimate(candidates, classifier, self._stop)
        log.info("%s", found)
        return {
            "dry_run": True,
            "waiting": found.waiting,
            "tokens": found.tokens,
            "seconds": round(found.seconds),
        }

    def _options(self) -> ScoringOptions:
        """Convert what templates give, which are strings."""
        if self.rescore not in list(Rescore):
            raise ConfigurationError(f"rescore is {self.rescore!r}; it must be one of {', '.join(Rescore)}")
        return ScoringOptions(
            chunk_rows=as_int(self.chunk_rows, "chunk_rows"),
            limit=None if self.limit in {None, "", "None"} else as_int(self.limit, "limit"),
            rescore=Rescore(self.rescore),
            wait_s=self.wait_s,
        )


@contextmanager
def failing_at_once() -> Iterator[None]:
    """Fail the task without a retry where a retry would give the same error."""
    try:
        yield
    except ConfigurationError as error:
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


def as_bool(value: bool | str) -> bool:
    """Convert a rendered parameter: `True` and `true` are true, everything else is not."""
    return str(value).strip().lower() == "true"
