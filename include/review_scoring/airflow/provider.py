"""What Airflow lists of this package among its providers."""

from __future__ import annotations

from typing import Any

from review_scoring import __version__


def get_provider_info() -> dict[str, Any]:
    """Return the provider's description; the schema is Airflow's `provider_info.schema.json`."""
    return {
        "package-name": "review-scoring",
        "name": "Review scoring",
        "description": "Labels and scores for the reviews in a SQL database, every night, exactly once.",
        "versions": [__version__],
    }
