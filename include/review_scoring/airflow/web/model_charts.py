"""Charts of the model pages: accuracy against speed, reliability, and accuracy over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from review_scoring.airflow.web.charts import Chart, Series
from review_scoring.warehouse.evaluations.records import StoredEvaluation


def accuracy_speed_chart(newest: Sequence[StoredEvaluation]) -> Chart:
    """Return accuracy against speed: one point per model."""
    return Chart(
        title="Accuracy against speed",
        kind="points",
        row_title="Model",
        rows=[each.model for each in newest],
        series=[
            Series("reviews per second", "x", [each.samples_per_second for each in newest]),
            Series("accuracy", "line", [each.accuracy for each in newest], "percent"),
        ],
        summary=f"Accuracy and reviews per second of {len(newest)} models in their newest evaluations.",
        x_title="reviews/s on the device of the evaluation",
        y_title="accuracy",
    )


def reliability_chart(metrics: Mapping[str, Any]) -> Chart:
    """Return the reliability diagram: the accuracy of each bin of confidence. Empty bins are left out.

    :param metrics: the metrics of an evaluation, as `evaluation/metrics.py` returns them
    """
    calibration = metrics.get("calibration", {})
    bins = [each for each in calibration.get("bins", []) if each["reviews"]]
    return Chart(
        title="Reliability",
        kind="reliability",
        row_title="Confidence",
        rows=[f"{each['from']:.2f} to {each['to']:.2f}" for each in bins],
        series=[
            Series("mean confidence", "x", [each["confidence"] for each in bins], "percent"),
            Series("accuracy", "line", [each["accuracy"] for each in bins], "percent"),
            Series("reviews", "count", [each["reviews"] for each in bins]),
        ],
        summary=f"Accuracy by confidence; the expected calibration error is {calibration.get('ece', 0):.3f}.",
        x_title="mean confidence",
        y_title="accuracy",
        diagonal="perfectly calibrated",
    )


def history_chart(oldest_first: Sequence[StoredEvaluation]) -> Chart:
    """Return the accuracy of the evaluations on one set over time. Evaluations that did not pass are highlighted."""
    return Chart(
        title="History",
        kind="line",
        row_title="Evaluation",
        rows=[each.ended_at for each in oldest_first],
        series=[Series("accuracy", "line", [each.accuracy for each in oldest_first], "percent")],
        summary=f"Accuracy of {len(oldest_first)} evaluations on the same set.",
        unusual=frozenset(n for n, each in enumerate(oldest_first) if not each.passed),
        y_title="accuracy",
    )
