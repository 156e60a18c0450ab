"""Page settings: environment variables of the API server that hide review texts and name the DAG to protect."""

from __future__ import annotations

import os
from dataclasses import dataclass

from review_scoring.settings import truth

HIDE_TEXTS = "AIRFLOW__REVIEW_SCORING__HIDE_TEXTS"
PAGE_DAG = "AIRFLOW__REVIEW_SCORING__PAGE_DAG"


@dataclass(frozen=True)
class PageSettings:
    """Settings of the pages.

    :param hide_texts: do not show review texts, for teams whose reviews are personal data
    :param dag_id: the DAG whose readers have access to the pages
    """

    hide_texts: bool = False
    dag_id: str = "score_reviews"

    @classmethod
    def from_environment(cls) -> PageSettings:
        """Return the settings from the environment variables."""
        return cls(
            hide_texts=truth(os.environ.get(HIDE_TEXTS, "")) is not False,  # an unclear value hides them
            dag_id=os.environ.get(PAGE_DAG) or cls.dag_id,
        )
