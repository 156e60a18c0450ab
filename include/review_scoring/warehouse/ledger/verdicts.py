"""What the checks of a run said: verdicts, kept with their figures as JSON in `scoring_runs.checks`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, or_, update

from review_scoring.request import RunKey
from review_scoring.warehouse.ledger.runs import of_task
from review_scoring.warehouse.ledger.transactions import JobTransactions

PASSED, WARNED, FAILED, SKIPPED = "passed", "warned", "failed", "skipped"
"""States of a check. It is skipped where there is too little to compare."""


@dataclass(frozen=True)
class Verdict:
    """What one check says of a run.

    :param name: the check's name, which is its key in the settings
    :param state: `passed`, `warned`, `failed` or `skipped`
    :param figure: what was computed of the run; None if there was nothing to compute
    :param limit: what the figure was compared with; None for a check that was skipped
    :param text: one sentence with figure and limit, or why the check was skipped; it never quotes a review
    """

    name: str
    state: str
    figure: float | None
    limit: float | None
    text: str

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


class RunVerdicts(JobTransactions):
    """The verdicts of a job's runs."""

    def write(self, key: RunKey, verdicts: Sequence[Verdict], figures: Mapping[str, Any]) -> None:
        """Keep what the checks said of a run, in place of what they said before.

        :param key: the task that scored the run's shards, with any map index
        :param figures: plain values, which the checks of later runs compare with
        """
        kept = json.dumps({"verdicts": [each.as_json() for each in verdicts], "figures": figures}, sort_keys=True)
        runs = self.job.tables.runs

        def write(connection: Connection) -> None:
            connection.execute(update(runs).where(of_task(self.job, key)).values(checks=kept))

        self._write("keeping what the checks said", write)


def beyond_limit(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Return the verdicts that failed or warned, the failed ones first."""
    return [each for state in (FAILED, WARNED) for each in verdicts if each.state == state]


def verdicts_in(kept: str | None) -> tuple[Verdict, ...]:
    """Read the verdicts of the column `checks`; none for a run that was not checked."""
    return tuple(Verdict(**each) for each in json.loads(kept)["verdicts"]) if kept else ()


def no_check_failed(kept: ColumnElement[str | None]) -> ColumnElement[bool]:
    """Return the condition that no check of a run failed; true for a run that was not checked.

    :param kept: the column `checks`; quotes in its texts are escaped, so that none of them looks like a state
    """
    return or_(kept.is_(None), kept.not_like(f'%"state": "{FAILED}"%'))


def figures_in(kept: str | None) -> Mapping[str, Any]:
    """Read the figures of the column `checks`; none for a run that was not checked."""
    found: Mapping[str, Any] = json.loads(kept)["figures"] if kept else {}
    return found
