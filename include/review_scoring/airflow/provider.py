"""The provider info of this package: its entry in Airflow's providers, and the options of `[review_scoring]`."""

from __future__ import annotations

from typing import Any

from review_scoring import __version__
from review_scoring.settings import SECTION, Settings, default_text


def get_provider_info() -> dict[str, Any]:
    """Return the provider info, by the schema `provider_info.schema.json` of Airflow."""
    return {
        "package-name": "review-scoring",
        "name": "Review scoring",
        "description": "Scores the reviews in a SQL database with transformers models, on a schedule, exactly once.",
        "versions": [__version__],
        "config": {
            SECTION: {
                "description": "When and where reviews are scored, which models exist, and what the pages show.",
                "options": {
                    name: {
                        "description": option.description,
                        "version_added": __version__,
                        "type": "string",
                        "example": next(iter(option.examples or ()), None),
                        "default": default_text(name),
                    }
                    for name, option in Settings.model_fields.items()
                },
            }
        },
    }
