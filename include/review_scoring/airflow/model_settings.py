"""The settings of models, from environment variables or Airflow Variables."""

from __future__ import annotations

import os

from review_scoring.airflow.variables import variable
from review_scoring.models.settings import CATALOGUE, HOSTS, STORE, ModelSettings


def model_settings() -> ModelSettings:
    """Return the deployment's settings: an environment variable, or the Airflow Variable of its name in lower case."""
    return ModelSettings.from_values(
        {name: os.environ.get(name) or variable(name.lower()) for name in (STORE, CATALOGUE, HOSTS)}
    )


def catalogue_setting() -> ModelSettings:
    """Return the settings as a DAG file needs them while it is parsed: only what decides which models there are."""
    return ModelSettings.from_values({CATALOGUE: os.environ.get(CATALOGUE) or variable(CATALOGUE.lower())})
