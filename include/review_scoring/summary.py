"""A night in one line."""

from __future__ import annotations

from collections.abc import Mapping


def sentence(summary: Mapping[str, object]) -> str:
    """Say what a scoring task did, from the summary that it returned.

    :param summary: what :class:`ScoreReviewsOperator` returns; of a dry run, what it would take
    """
    if summary.get("dry_run"):
        return f"dry run: waiting={summary['waiting']} tokens={summary['tokens']} seconds={summary['seconds']}"
    return " ".join(f"{name}={summary[name]}" for name in ("read", "scored", "unchanged", "rejected"))
