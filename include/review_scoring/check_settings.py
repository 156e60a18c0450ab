"""The checks of a job's runs: whether each is off, warns or fails, and its limit. `docs/checks.md` explains them."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from review_scoring.validation import CheckedModel, Must

Level: TypeAlias = Annotated[Literal["off", "warn", "fail"], Must('`"off"`, `"warn"` or `"fail"`')]
"""What a check does with a run whose figure is beyond its limit."""

OFF, FAIL = "off", "fail"

Share: TypeAlias = Annotated[float, Field(strict=True, ge=0, le=1), Must("a number from 0 to 1")]
Positive: TypeAlias = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False), Must("a number above 0")]


class Checks(CheckedModel):
    """The checks of a job's runs. A failed check fails the DAG run; what the run wrote stays."""

    rejects: Level = Field(default="fail", description="Share of rejects among the new reviews of the run.")
    most_rejects: Share = Field(default=0.5, description="Limit of `rejects`: the largest share.")
    labels: Level = Field(default="fail", description="Share of each label, compared with the 28 days before.")
    mean_score: Level = Field(default="warn", description="Mean score, compared with the 28 days before.")
    uncertain: Level = Field(default="warn", description="Share of scores up to 0.6, compared with the 28 days before.")
    truncated: Level = Field(default="warn", description="Share of truncated texts, compared with the 28 days before.")
    deviations: Positive = Field(
        default=4.0,
        description="Limit of `labels`, `mean_score`, `uncertain` and `truncated`: how many standard deviations a "
        "figure may be away from the mean of these days.",
    )
    volume: Level = Field(
        default="warn", description="Reviews within a day, compared with the same weekday of the eight weeks before."
    )
    least_volume: Share = Field(default=0.1, description="Limit of `volume`: the smallest share of the usual number.")
    newest: Level = Field(default="warn", description="Age of the newest review, by a `cursor_column` with times.")
    newest_hours: Positive = Field(default=96.0, description="Limit of `newest`, in hours.")
    accuracy: Level = Field(
        default="warn",
        description="Accuracy expected from the scores and the calibration of the model's newest evaluation.",
    )
    accuracy_loss: Share = Field(
        default=0.05, description="Limit of `accuracy`: how far it may be below that of the evaluation."
    )
