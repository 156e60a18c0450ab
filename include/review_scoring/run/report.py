"""A night in one line, for logs and scripts, and in one paragraph, for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def sentence(summary: Mapping[str, object]) -> str:
    """Say what a scoring task did, from the summary that it returned.

    :param summary: what :class:`ScoreReviewsOperator` returns; of a dry run, what it would take
    """
    if summary.get("dry_run"):
        return f"dry run: waiting={summary['waiting']} tokens={summary['tokens']} seconds={summary['seconds']}"
    told = ("read", "scored", "unchanged", "rejected", "relabelled")
    return " ".join(f"{name}={summary[name]}" for name in told if name in summary)


def paragraph(summary: Mapping[str, Any]) -> str:
    """Say the same to people: for Slack, mail and the like. It holds figures and names, never a review.

    :param summary: what :class:`ScoreReviewsOperator` returns
    """
    job = summary.get("job") or "Scoring"
    if summary.get("dry_run"):
        return (
            f"{job}: {_reviews(summary['waiting'])} waiting, {summary['tokens']:,} tokens, about "
            f"{summary['seconds']:,} s to classify. This was a dry run; nothing was written."
        )
    if not summary["read"]:
        return f"{job}: nothing was new, so nothing was scored."
    parts = [f"{summary['scored']:,} scored{_shares(summary.get('labels') or {})}"]
    if summary.get("relabelled"):
        parts.append(f"{summary['relabelled']:,} of them with another label than before")
    if summary["rejected"]:
        parts.append(f"{summary['rejected']:,} rejected")
    if summary["unchanged"]:
        parts.append(f"{summary['unchanged']:,} unchanged")
    device = f" on {summary['device']}" if summary.get("device") else ""
    return (
        f"{job}: {_reviews(summary['read'])} read, {', '.join(parts)}. It took {summary['seconds']:,.0f} s "
        f"({summary['reviews_per_second']:,.1f} reviews per second while classifying) with {summary['model']}{device}."
    )


def _reviews(count: int) -> str:
    return "1 review" if count == 1 else f"{count:,} reviews"


def _shares(labels: Mapping[str, int]) -> str:
    total = sum(labels.values())
    told = ", ".join(f"{count / total:.0%} {label}" for label, count in sorted(labels.items())) if total else ""
    return f" ({told})" if told else ""
