"""The gate: a run fails if a model is below its published figures, worse than its last evaluation, or than chance."""

from __future__ import annotations

from collections.abc import Sequence

from review_scoring.evaluation.result import EvaluationResult, Result, SkippedModel
from review_scoring.evaluation.verdicts import LastRunVerdict, ReferenceVerdict


def passes(reference: ReferenceVerdict, last_run: LastRunVerdict, *, below_chance: bool) -> bool:
    """Return whether an evaluation with these verdicts passes."""
    good_enough = reference is not ReferenceVerdict.BELOW and last_run is not LastRunVerdict.WORSE
    return good_enough and not below_chance


def paragraph_of(results: Sequence[Result], problems: Sequence[str]) -> str:
    """Return what a run has found, for people.

    :param problems: what :func:`failures` has returned
    """
    if problems:
        return f"The evaluation has failed: {'; '.join(problems)}."
    passed = [each for each in results if isinstance(each, EvaluationResult)]
    return f"Evaluated on {passed[0].set_name}, and passed: {', '.join(each.model for each in passed)}."


def failures(results: Sequence[Result], expected: int) -> list[str]:
    """Return why a run fails, one line for each reason; an empty list if it passes.

    :param results: the results of the evaluation tasks
    :param expected: the number of models that were to be evaluated
    """
    found = [
        f"{each.model} at revision {each.revision[:12]} on set {each.set_name!r}: {each.explanation}"
        for each in results
        if isinstance(each, EvaluationResult) and not each.passed
    ]
    skipped = [each for each in results if isinstance(each, SkippedModel)]
    if missing := expected - len(results):
        found.append(f"{missing} of {expected} evaluations failed; see the logs of their tasks")
    elif len(skipped) == len(results):
        found.append("no model was evaluated: " + "; ".join(each.reason for each in skipped))
    return found
