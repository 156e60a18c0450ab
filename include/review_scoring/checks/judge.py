"""Judges a run: figures in, one verdict for each check out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from types import MappingProxyType

from review_scoring.check_settings import FAIL, OFF, Checks
from review_scoring.checks import charted
from review_scoring.checks.expected_accuracy import Calibration, check_accuracy
from review_scoring.checks.finding import Finding
from review_scoring.checks.freshness import check_newest
from review_scoring.checks.rejects import check_rejects
from review_scoring.checks.volume import WEEKS, check_volume
from review_scoring.warehouse.history.run_figures import PastRun, RunFigures
from review_scoring.warehouse.ledger.verdicts import FAILED, PASSED, SKIPPED, WARNED, Verdict

BACK = timedelta(weeks=WEEKS, days=1)
"""How far the earlier runs go back that the checks compare with."""

Check = Callable[[Checks, RunFigures, Sequence[PastRun]], Finding]

_CHECKS: Mapping[str, Check] = MappingProxyType(
    {
        "rejects": check_rejects,
        "labels": charted.check_labels,
        "mean_score": charted.check_mean_score,
        "uncertain": charted.check_uncertain,
        "truncated": charted.check_truncated,
        "volume": check_volume,
        "newest": check_newest,
    }
)


def judge(
    settings: Checks, run: RunFigures, past: Sequence[PastRun], calibration: Calibration | None = None
) -> list[Verdict]:
    """Return the verdict of each check that is not off.

    :param past: the runs with new reviews that began before this one, the oldest first
    :param calibration: that of the newest evaluation of the run's model and revision; None if it has none
    """
    findings = {name: check(settings, run, past) for name, check in _CHECKS.items()}
    findings["accuracy"] = check_accuracy(settings, run, calibration)
    levels = {name: getattr(settings, name) for name in findings}
    return [_verdict(name, levels[name], found) for name, found in findings.items() if levels[name] != OFF]


def _verdict(name: str, level: str, finding: Finding) -> Verdict:
    if not finding.is_comparable:
        state = SKIPPED
    elif finding.is_beyond:
        state = FAILED if level == FAIL else WARNED
    else:
        state = PASSED
    return Verdict(name, state, finding.figure, finding.limit, finding.text)
