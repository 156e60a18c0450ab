"""The settings of models."""

from __future__ import annotations

from review_scoring.airflow.config import settings
from review_scoring.models.settings import ModelSettings


def model_settings() -> ModelSettings:
    """Return the deployment's settings of models."""
    return settings().models


def catalogue_setting() -> ModelSettings:
    """Return the deployment's settings of models."""
    return settings().models
