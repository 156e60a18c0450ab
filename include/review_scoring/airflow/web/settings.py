"""What a deployment decides about the pages, by environment variables of the API server."""

from __future__ import annotations

import os
from dataclasses import dataclass

HIDE_TEXTS = "REVIEW_SCORING_HIDE_TEXTS"
PAGE_DAG = "REVIEW_SCORING_PAGE_DAG"
JOB = "REVIEW_SCORING_JOB"


@dataclass(frozen=True)
class PageSettings:
    """The settings of the pages.

    :param hide_texts: show no review's text, for teams whose reviews are personal data
    :param dag_id: who may read this DAG may read the pages
    :param job: the job that is shown first; None for the first one of the Variable
    """

    hide_texts: bool = False
    dag_id: str = "score_reviews"
    job: str | None = None

    @classmethod
    def from_environment(cls) -> PageSettings:
        """Return the settings in the environment of this process."""
        hide = os.environ.get(HIDE_TEXTS, "").strip().lower()
        return cls(
            hide_texts=hide not in {"", "0", "false", "no", "off"},
            dag_id=os.environ.get(PAGE_DAG) or cls.dag_id,
            job=os.environ.get(JOB) or None,
        )
