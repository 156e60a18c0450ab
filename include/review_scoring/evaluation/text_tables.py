"""Evaluations as text: a classification report, calibration by length, and a comparison table of several models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from review_scoring.evaluation.metrics import AVERAGES
from review_scoring.evaluation.result import EvaluationResult, Result, SkippedModel
from review_scoring.warehouse.evaluations.records import ClassMetrics


def class_table_text(classes: Sequence[ClassMetrics], accuracy: float, digits: int = 2) -> str:
    """Return the table of `sklearn.metrics.classification_report`, from metrics that are computed already.

    :param classes: the classes, then the two averages
    """
    width = max(len(each.label) for each in classes)
    names = ("precision", "recall", "f1-score", "support")
    lines = [" " * width + " " + "".join(f" {name:>9}" for name in names), ""]
    for each in classes:
        if each.label == AVERAGES[0]:
            lines += ["", f"{'accuracy':>{width}} " + f" {'':>9}" * 2 + f" {accuracy:>9.{digits}f} {each.support:>9}"]
        values = "".join(f" {value:>9.{digits}f}" for value in (each.precision, each.recall, each.f1))
        lines.append(f"{each.label:>{width}} {values} {each.support:>9}")
    return "\n".join(lines)


def breakdown_text(breakdown: Mapping[str, Any]) -> str:
    """Return the calibration error, and the accuracy on short, long and truncated texts, in two lines.

    :param breakdown: :attr:`review_scoring.evaluation.metrics.Metrics.breakdown`
    """
    bands = []
    for band in breakdown["lengths"]:
        tokens = (
            f"{band['from_tokens']}-{band['to_tokens']}" if band["to_tokens"] else f"{band['from_tokens']} and more"
        )
        bands.append((f"{tokens} tokens", band))
    parts = [
        f"{name} {part['accuracy']:.4f} of {part['reviews']:,}"
        for name, part in (*bands, ("truncated", breakdown["truncated"]))
        if part["reviews"]
    ]
    return f"calibration error (ECE) {breakdown['calibration']['ece']:.4f}\naccuracy by length: {', '.join(parts)}"


def comparison(results: Sequence[Result]) -> str:
    """Return a table that compares models, the most accurate first: quality against speed.

    :param results: the results of the evaluation tasks
    """
    done = [each for each in results if isinstance(each, EvaluationResult)]
    done.sort(key=lambda each: -each.accuracy)
    columns = ("model", "accuracy", "95 %", "macro F1", "loss", "reviews/s", "tokens/s", "on", "reference", "last run")
    rows = [
        (
            f"{each.model}@{each.revision[:8]}",
            f"{each.accuracy:.4f}",
            "{:.3f}-{:.3f}".format(*each.interval),
            f"{each.macro_f1:.4f}",
            f"{each.loss:.4f}",
            f"{each.samples_per_second:,.1f}",
            f"{each.tokens_per_second:,.0f}",
            f"{each.device} {each.precision}",
            each.reference_verdict,
            each.last_run_verdict,
        )
        for each in done
    ]
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    lines = ["  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)) for row in (columns, *rows)]
    lines += [
        f"{each.model}: {each.in_between:,} of {each.reviews:,} reviews are in between (neither neg nor pos); they are "
        "compared by the more probable of the two"
        for each in done
        if each.in_between
    ]
    lines += [
        f"{each.model}: {each.rejected:,} reviews without usable text are left out" for each in done if each.rejected
    ]
    lines += [f"not evaluated: {each.reason}" for each in results if isinstance(each, SkippedModel)]
    if done:
        lines.insert(0, f"set {done[0].set_name}, {done[0].reviews:,} reviews")
    return "\n".join(line.rstrip() for line in lines)
