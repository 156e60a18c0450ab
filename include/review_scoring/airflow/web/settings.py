"""What a deployment decides about the pages, by environment variables of the API server."""

from __future__ import annotations

import os
from dataclasses import dataclass

from review_scoring.settings import truth

HIDE_TEXTS = "AIRFLOW__REVIEW_SCORING__HIDE_TEXTS"
PAGE_DAG = "AIRFLOW__REVIEW_SCORING__PAGE_DAG"


@dataclass(frozen=True)
class PageSettings:
    """The settings of the pages.

    :param hide_texts: show no review's text, for teams whose reviews are personal data
    :param dag_id: who may read this DAG may read the pages
    """

    hide_texts: bool = False
    dag_id: str = "score_reviews"

    @classmethod
    def from_environment(cls) -> PageSettings:
        """Return the settings in the environment of this process."""
        return cls(
            hide_texts=truth(os.environ.get(HIDE_TEXTS, "")) is not False,  # where it is not clear, nothing is shown
            dag_id=os.environ.get(PAGE_DAG) or cls.dag_id,
        )
