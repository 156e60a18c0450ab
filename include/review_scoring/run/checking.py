"""Checks a run after it has ended: reads its figures from the ledger, judges them, and keeps the verdicts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from review_scoring.check_settings import Checks
from review_scoring.checks.expected_accuracy import Calibration
from review_scoring.checks.judge import BACK, judge
from review_scoring.concurrency.cancellation import StopFlag
from review_scoring.errors import ConfigurationError
from review_scoring.request import RunKey
from review_scoring.warehouse.evaluations.past_evaluations import details, newest_by_set
from review_scoring.warehouse.history.run_figures import RunFigures, past_runs, run_figures
from review_scoring.warehouse.ledger.ledger import Ledger
from review_scoring.warehouse.ledger.verdicts import FAILED, PASSED, SKIPPED, WARNED, Verdict, beyond_limit
from review_scoring.warehouse.retry import with_retries

T = TypeVar("T")


@dataclass(frozen=True)
class CheckReport:
    """What the checks said of a run."""

    verdicts: Sequence[Verdict]

    @property
    def failed(self) -> list[Verdict]:
        """The checks that fail the run."""
        return self.of(FAILED)

    def of(self, state: str) -> list[Verdict]:
        """Return the verdicts with a state."""
        return [each for each in self.verdicts if each.state == state]

    @property
    def paragraph(self) -> str:
        """The checks for Slack, mail and the like: how many there are of each state, and what is not plausible."""
        counts = [(len(self.of(state)), state) for state in (FAILED, WARNED, PASSED, SKIPPED)]
        states = ", ".join(f"{count} {state}" for count, state in counts if count)
        beyond = (f"{each.name} {each.state}: {each.text}" for each in beyond_limit(self.verdicts))
        return " ".join([f"Checks: {states or 'all off'}.", *beyond])

    def as_json(self) -> list[dict[str, Any]]:
        """Return plain values."""
        return [each.as_json() for each in self.verdicts]


def check_run(ledger: Ledger, settings: Checks, key: RunKey, stop: StopFlag | None = None) -> CheckReport | None:
    """Judge a run, and keep the verdicts in place of earlier ones. None for a rescore, which covers old reviews.

    :param key: the task that scored the run's shards, with any map index
    :raises ConfigurationError: if that task has scored nothing
    """
    read = _Reader(ledger, stop or StopFlag())
    run = read(lambda connection: run_figures(connection, ledger.job, key=key))
    if run is None:
        raise ConfigurationError(
            f"task {key.task_id!r} of {key.dag_run_id} has no run of job {ledger.job.name!r}; is score_task_id right? "
            "Records of runs are removed after keep_runs_days"
        )
    if run.is_rescore:
        return None
    past = read(lambda connection: past_runs(connection, ledger.job, before=run.started_at, back=BACK))
    calibration = read(lambda connection: _calibration(connection, ledger, run))
    verdicts = judge(settings, run, past, calibration)
    ledger.verdicts.write(key, verdicts, run.scores.as_json())
    return CheckReport(verdicts)


def _calibration(connection: Any, ledger: Ledger, run: RunFigures) -> Calibration | None:
    """Return the calibration of the newest evaluation of a run's model and revision on a whole benchmark set."""
    tables = ledger.job.tables
    newest = newest_by_set(connection, tables, model=run.model, revision=run.revision)
    if not newest:
        return None
    evaluation = newest[-1]
    metrics = details(connection, tables, evaluation=evaluation.id).metrics
    return Calibration.from_metrics(f"evaluation {evaluation.id} on {evaluation.set_name}", metrics)


class _Reader:
    """Reads from the ledger's database, each time in a transaction of its own that is tried again."""

    def __init__(self, ledger: Ledger, stop: StopFlag) -> None:
        self._engine, self._stop = ledger.engine, stop

    def __call__(self, work: Callable[[Any], T]) -> T:
        def once() -> T:
            with self._engine.begin() as connection:
                return work(connection)

        return with_retries(once, what="reading what the run wrote", stop=self._stop)
