"""The charts of the models' pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from review_scoring.airflow.web.charts import Chart, Series
from review_scoring.warehouse.evaluations.records import StoredEvaluation


def speed_chart(newest: Sequence[StoredEvaluation]) -> Chart:
    """Return quality against speed, a point for each model."""
    return Chart(
        title="Quality against speed",
        kind="points",
        row_title="Model",
        rows=[each.model for each in newest],
        series=[
            Series("reviews per second", "x", [each.samples_per_second for each in newest]),
            Series("accuracy", "line", [each.accuracy for each in newest], "percent"),
        ],
        summary=f"Accuracy and reviews per second of {len(newest)} models, each by its newest evaluation.",
        x_title="reviews/s, on the device of the evaluation",
        y_title="accuracy",
    )


def reliability_chart(metrics: Mapping[str, Any]) -> Chart:
    """Return the reliability curve: how often reviews of a confidence are right. Empty bins are left out."""
    calibration = metrics.get("calibration", {})
    bins = [each for each in calibration.get("bins", []) if each["reviews"]]
    return Chart(
        title="Reliability",
        kind="reliability",
        row_title="Confidence",
        rows=[f"{each['from']:.2f} to {each['to']:.2f}" for each in bins],
        series=[
            Series("mean confidence", "x", [each["confidence"] for each in bins], "percent"),
            Series("share right", "line", [each["accuracy"] for each in bins], "percent"),
            Series("reviews", "count", [each["reviews"] for each in bins]),
        ],
        summary=f"How often reviews of a confidence are right; calibration error {calibration.get('ece', 0):.3f}.",
        x_title="mean confidence of the model",
        y_title="share that is right",
    )


def history_chart(oldest_first: Sequence[StoredEvaluation]) -> Chart:
    """Return the accuracy of each evaluation on one set, over time; those that did not pass are marked."""
    return Chart(
        title="History",
        kind="trend",
        row_title="Evaluation",
        rows=[each.ended_at for each in oldest_first],
        series=[Series("accuracy", "line", [each.accuracy for each in oldest_first], "percent")],
        summary=f"Accuracy of {len(oldest_first)} evaluations on the same set.",
        unusual=frozenset(n for n, each in enumerate(oldest_first) if not each.passed),
        y_title="accuracy",
    )
