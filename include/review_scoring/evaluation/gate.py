"""Which evaluations let a model go on, and what is said of those that do not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from review_scoring.evaluation.verdicts import LastRunVerdict, ReferenceVerdict


def passes(reference: ReferenceVerdict, last_run: LastRunVerdict, *, below_chance: bool) -> bool:
    """Say whether a model may go on: it is not below what is published of it, no worse than it was, nor than chance."""
    good_enough = reference is not ReferenceVerdict.BELOW and last_run is not LastRunVerdict.WORSE
    return good_enough and not below_chance


def failures(evaluations: Sequence[Mapping[str, Any]], expected: int) -> list[str]:
    """Return what speaks against the models of a run, a line for each; nothing if all may go on.

    :param evaluations: what the evaluating tasks returned
    :param expected: how many models were to be evaluated
    """
    found = [
        f"{each['model']} at revision {each['revision'][:12]} on set {each['set']!r}: {each['explanation']}"
        for each in evaluations
        if not each.get("skipped") and not each["passed"]
    ]
    if missing := expected - len(evaluations):
        found.append(f"{missing} of {expected} evaluations failed; their tasks' logs say why")
    elif all(each.get("skipped") for each in evaluations):
        found.append("no model was evaluated: " + "; ".join(str(each["skipped"]) for each in evaluations))
    return found
