"""Runs of a job, one each night, as the checks get them."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

from review_scoring.check_settings import Checks
from review_scoring.checks.judge import judge
from review_scoring.warehouse.history.run_figures import PastRun, RunFigures, ScoreFigures
from review_scoring.warehouse.ledger.counts import Counts
from review_scoring.warehouse.ledger.verdicts import Verdict

TONIGHT = datetime(2026, 11, 26, 2, tzinfo=UTC)


def counts(neg: int = 0, pos: int = 0, *, rejected: int = 0, mean: float = 0.9, **unkeyed: int) -> Counts:
    """Return the counts of a run with these labels.

    :param unkeyed: how many of the rejects no key can hold, by reason
    """
    labels = {label: (n, n * mean) for label, n in (("neg", neg), ("pos", pos)) if n}
    scored = neg + pos
    return Counts(read=scored + rejected, scored=scored, rejected=rejected, labels=labels, unkeyed=unkeyed)


def scores(scored: int, *, uncertain: int = 0, truncated: int = 0) -> ScoreFigures:
    """Return figures of scores that are either uncertain or certain."""
    return ScoreFigures(scored, truncated, (0, uncertain, *[0] * 7, scored - uncertain))


def past(*each: Counts, figures: ScoreFigures | None = None) -> list[PastRun]:
    """Return the runs of the nights before, the last one the night before."""
    return [
        PastRun(TONIGHT - timedelta(days=n), one, figures) for n, one in zip(range(len(each), 0, -1), each, strict=True)
    ]


def ordinary(nights: int = 30, reviews: int = 400, share: float = 0.3, seed: int = 3) -> list[PastRun]:
    """Return ordinary nights: a share of negative labels that differs by chance alone."""
    draw = random.Random(seed)  # noqa: S311 reproducible, not secret
    negative = [sum(draw.random() < share for _ in range(reviews)) for _ in range(nights)]
    figures = scores(reviews, uncertain=reviews // 20, truncated=reviews // 20)
    return past(*(counts(n, reviews - n, mean=draw.gauss(0.9, 0.003)) for n in negative), figures=figures)


def tonight(each: Counts, **more: Any) -> RunFigures:
    """Return the run that is judged."""
    return RunFigures(started_at=TONIGHT, is_rescore=False, counts=each, **more)


def verdict(name: str, run: RunFigures, before: list[PastRun], calibration: Any = None, **settings: Any) -> Verdict:
    """Return the verdict of one check."""
    (found,) = (each for each in judge(Checks(**settings), run, before, calibration) if each.name == name)
    return found
