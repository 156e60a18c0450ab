"""DAG params (form fields) that several DAGs share: model, budget, order, dry run, long texts, shards."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from airflow.sdk import Param

from review_scoring.airflow.config import settings
from review_scoring.job import Order
from review_scoring.models.catalogue import readable_entries
from review_scoring.models.catalogue_entry import CHAMPION, CatalogueEntry

log = logging.getLogger(__name__)

RARELY = "Rarely needed"
"""Section of the fields that are rarely changed; the form shows it collapsed."""

NARROW = "Filter"
"""Section of the fields that exclude reviews."""


def offered_models() -> Mapping[str, CatalogueEntry]:
    """Return the models by name, without invalid entries of the deployment's own catalogue.

    The import error of the DAG `import_model` shows what is wrong with them. A typo there must not break runs with
    other models.
    """
    entries = readable_entries(settings().catalogue)
    for problem in entries.problems.values():
        log.warning("%s", problem)
    return entries.usable


def model_param(models: Mapping[str, CatalogueEntry]) -> Param:
    """Return the field that chooses the model of a run."""
    shown: dict[str, Any] = {CHAMPION: "Champion: the model in use"}
    shown |= {name: entry.shown for name, entry in models.items()}
    return Param(
        CHAMPION,
        type="string",
        enum=list(shown),
        values_display=shown,
        title="Model",
        description="The model that classifies the reviews of this run.",
    )


def budget_params(*, of_job: bool) -> dict[str, Param]:
    """Return the fields that limit a run.

    :param of_job: whether an empty field stands for the job's setting, and not for no limit
    """
    empty = "Empty for the job's setting, 0 for no limit." if of_job else "Empty or 0 for no limit."
    what = "The most reviews to score" if of_job else "The most reviews to score again"
    return {
        "max_reviews": Param(
            None,
            type=["null", "integer"],
            minimum=0,
            title="Maximum reviews",
            description=f"{what}. {empty} The rest is left to the next run.",
        ),
        "max_minutes": Param(
            None,
            type=["null", "integer"],
            minimum=0,
            title="Maximum minutes",
            description=f"Minutes in which to score. {empty} The run then ends as a success.",
        ),
    }


def order_params() -> dict[str, Param]:
    """Return the fields that choose which new reviews are scored, and which first."""
    return {
        "order": Param(
            None,
            type=["null", "string"],
            enum=[None, Order.NEWEST.value, Order.OLDEST.value],
            values_display={"newest": "Newest reviews first", "oldest": "Oldest reviews first"},
            title="Order",
            section=NARROW,
            description="Which reviews are scored first; empty for the job's setting.",
        ),
        "start_after": Param(
            None,
            type=["null", "string"],
            title="Start after",
            section=NARROW,
            description="Exclude new reviews up to this value of the job's cursor column, or up to this id if it has "
            "none; empty for the job's setting.",
        ),
    }


def dry_run_param() -> Param:
    """Return the field that makes a run a dry run."""
    return Param(
        False,
        type="boolean",
        title="Dry run",
        description="Estimate how many reviews and tokens are waiting, and how long they would take. Write nothing.",
    )


def long_texts_param() -> Param:
    """Return the field that chooses truncation or sliding windows for long texts."""
    return Param(
        "truncate",
        type="string",
        enum=["truncate", "windows"],
        values_display={
            "truncate": "Truncate: read a text up to the model's maximum",
            "windows": "Windows: read all of a text in overlapping windows, and average them",
        },
        title="Long texts",
        description="How to read reviews with more tokens than the model's maximum.",
    )


def shards_param() -> Param:
    """Return the field that sets the number of shards."""
    return Param(
        0,
        type="integer",
        minimum=0,
        maximum=1000,
        title="Shards",
        section=RARELY,
        description="Number of tasks to split the run into; 0 for one per 20,000 reviews, up to the Variable "
        "review_scoring_shards.",
    )
