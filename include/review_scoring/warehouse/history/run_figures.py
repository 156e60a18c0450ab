"""Figures that the checks judge: what a run wrote, counted in the tables, and the counts of the runs before it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, and_, case, func, select, true

from review_scoring.job import Rescore
from review_scoring.request import RunKey
from review_scoring.warehouse.dialects import dialect_of
from review_scoring.warehouse.ledger.counts import Counts
from review_scoring.warehouse.ledger.jobs import JobRecord
from review_scoring.warehouse.ledger.runs import of_task
from review_scoring.warehouse.ledger.verdicts import FAILED, figures_in, verdicts_in
from review_scoring.warehouse.schema import RUNNING
from review_scoring.warehouse.selection.cursor_values import as_utc
from review_scoring.warehouse.selection.scan import Scan

SCORE_EDGES = tuple(n / 20 for n in range(10, 21))
"""0.5, 0.55, … 1: the ranges in which scores are counted, those of an evaluation's calibration. A range includes its
upper end, and the lowest one all scores below it."""

UNCERTAIN_RANGES = 2
"""The lowest ranges, up to a score of 0.6, are uncertain."""

MOST_RUNS = 20_000
"""The most earlier runs that are read. A job with more of them is compared with fewer days."""


@dataclass(frozen=True)
class ScoreFigures:
    """What is counted in the scores that a run wrote.

    :param scored: scores that no other run has replaced since
    :param by_score: how many of them are in each range of :data:`SCORE_EDGES`
    """

    scored: int = 0
    truncated: int = 0
    by_score: tuple[int, ...] = (0,) * (len(SCORE_EDGES) - 1)

    @property
    def uncertain(self) -> int:
        """How many scores are at most 0.6."""
        return sum(self.by_score[:UNCERTAIN_RANGES])

    def as_json(self) -> dict[str, Any]:
        """Return plain values, to be kept with the run."""
        return {"scored": self.scored, "truncated": self.truncated, "by_score": list(self.by_score)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ScoreFigures | None:
        """Read the values that :meth:`as_json` returned; None for a run without them."""
        if not values:
            return None
        return cls(values["scored"], values["truncated"], tuple(values["by_score"]))


@dataclass(frozen=True, kw_only=True)
class RunFigures:
    """A run that is judged.

    :param reasons: how many reviews it rejected for which reason, without rows that no key can hold
    :param is_cut: whether it used up its budget, so that reviews were left
    :param newest_at: the time of the newest review when it began; None if the job has no cursor column with times
    """

    started_at: datetime
    is_rescore: bool
    counts: Counts
    scores: ScoreFigures = ScoreFigures()
    reasons: Mapping[str, int] = field(default_factory=dict)
    is_cut: bool = False
    newest_at: datetime | None = None
    model: str = ""
    revision: str = ""


@dataclass(frozen=True)
class PastRun:
    """A run before the one that is judged.

    :param scores: None for a run that was not checked
    :param has_failed: whether one of its checks failed
    :param is_cut: whether it used up its budget
    """

    started_at: datetime
    counts: Counts
    scores: ScoreFigures | None = None
    has_failed: bool = False
    is_cut: bool = False


def run_figures(connection: Connection, job: JobRecord, *, key: RunKey) -> RunFigures | None:
    """Return the figures of a run; None if there is none.

    Reads the rows that the run wrote, which the indexes on `shard_id` find.

    :param key: the task that scored its shards, with any map index
    """
    runs, shards, models = job.tables.runs, job.tables.shards, job.tables.models
    with_model = select(runs, models.c.name.label("model"), models.c.revision)
    of_run = with_model.join(models, models.c.id == runs.c.model_id).where(of_task(job, key))
    row = connection.execute(of_run).one_or_none()
    if row is None:
        return None
    mine = connection.execute(
        select(shards.c.id, shards.c.scan, shards.c.ended_early).where(shards.c.run_id == row.id)
    ).all()
    ids = [shard.id for shard in mine]
    return RunFigures(
        started_at=row.started_at,
        is_rescore=row.rescore != Rescore.NOTHING,
        counts=Counts.from_row(row),
        scores=_score_figures(connection, job, ids),
        reasons=_reasons(connection, job, ids),
        is_cut=_is_cut(row) or any(shard.ended_early for shard in mine),
        newest_at=next((at for shard in mine if (at := _newest_at(shard.scan))), None),
        model=row.model,
        revision=row.revision,
    )


def past_runs(connection: Connection, job: JobRecord, *, before: datetime, back: timedelta) -> Sequence[PastRun]:
    """Return the runs with new reviews that began before a time, the oldest first. Runs in progress are left out.

    :param back: how far to look back
    """
    runs = job.tables.runs
    shards = job.tables.shards
    names = ("started_at", "checks", "waiting", "waiting_is_exact", *Counts().as_columns())
    ended_early = select(shards.c.id).where(shards.c.run_id == runs.c.id, shards.c.ended_early == true()).exists()
    statement = (
        select(*(runs.c[name] for name in names), ended_early.label("ended_early"))
        .where(runs.c.job_id == job.id, runs.c.rescore == Rescore.NOTHING.value, runs.c.state != RUNNING)
        .where(runs.c.started_at < before, runs.c.started_at >= before - back)
        .order_by(runs.c.started_at.desc())
        .limit(MOST_RUNS)
    )
    return [
        PastRun(
            row.started_at,
            Counts.from_row(row),
            ScoreFigures.from_json(figures_in(row.checks)),
            has_failed=any(each.state == FAILED for each in verdicts_in(row.checks)),
            is_cut=_is_cut(row) or bool(row.ended_early),
        )
        for row in reversed(connection.execute(statement).all())
    ]


def _is_cut(row: Row[Any]) -> bool:
    """Return whether reviews waited beyond the budget when a run was planned."""
    return bool(row.waiting) or row.waiting_is_exact is False


def _score_figures(connection: Connection, job: JobRecord, shard_ids: Sequence[int]) -> ScoreFigures:
    scores = job.tables.scores
    low = [None, *SCORE_EDGES[1:-1]]
    high = [*SCORE_EDGES[1:-1], None]
    ranges = [
        and_(
            true() if above is None else scores.c.score > above,
            true() if upto is None else scores.c.score <= upto,
        )
        for above, upto in zip(low, high, strict=True)
    ]
    sums = [func.coalesce(func.sum(case((each, 1), else_=0)), 0) for each in (scores.c.truncated, *ranges)]
    written = dialect_of(connection).in_values(scores.c.shard_id, shard_ids)
    row = connection.execute(select(func.count(), *sums).where(scores.c.job_id == job.id, written)).one()
    scored, truncated, *by_score = (int(value) for value in row)
    return ScoreFigures(scored, truncated, tuple(by_score))


def _reasons(connection: Connection, job: JobRecord, shard_ids: Sequence[int]) -> Mapping[str, int]:
    rejects = job.tables.rejects
    written = dialect_of(connection).in_values(rejects.c.shard_id, shard_ids)
    counted = select(rejects.c.reason, func.count().label("n")).where(rejects.c.job_id == job.id, written)
    return {row.reason: row.n for row in connection.execute(counted.group_by(rejects.c.reason))}


def _newest_at(scan: str | None) -> datetime | None:
    """Return the highest value of the cursor in a pass over the source, if it is a time; UTC if it has no zone."""
    highest = Scan.from_text(scan).highest if scan else None
    value = json.loads(highest)[1] if highest else None
    if not isinstance(value, str):
        return None
    return as_utc(datetime.fromisoformat(value))
