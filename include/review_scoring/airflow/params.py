"""DAG params (form fields) that several DAGs share: job, model, budget, order, dry run, long texts, shards."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from typing import Any

from airflow.sdk import Param

from review_scoring.airflow.config import settings
from review_scoring.job import CHAMPION, LongTexts, Order
from review_scoring.job_definition import JobDefinition
from review_scoring.models.catalogue import readable_entries
from review_scoring.models.catalogue_entry import CatalogueEntry

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


def job_param(jobs: Collection[str], *, each_job: bool) -> Param:
    """Return the field that chooses the job of a run. If there is only one job, it is the default.

    :param each_job: whether an empty field stands for all jobs
    """
    names = list(jobs)
    only = names[0] if len(names) == 1 else None
    is_needed = not each_job and len(names) > 1
    schema: dict[str, Any] = {
        "type": "string" if is_needed or only else ["null", "string"],
        "title": "Job",
    }
    if names:
        schema["enum"] = names if is_needed or only else [None, *names]
    description = f"The job that the run is about.{' Empty for all, one run each.' if each_job and not only else ''}"
    return Param(description=description, **schema) if is_needed else Param(only, description=description, **schema)


def model_param(models: Mapping[str, CatalogueEntry], job: JobDefinition | None = None) -> Param:
    """Return the field that chooses the model of a run.

    :param job: the job of the DAG, whose model is the default; None if it is chosen in the form
    """
    shown: dict[Any, str] = {CHAMPION: "Champion: the model in use"}
    shown |= {name: entry.shown for name, entry in models.items()}
    if job is not None:
        offered = {job.model, *job.dag.models} if job.dag.models else {*shown, job.model}
        shown = {name: shown.get(name, name) for name in [*shown, *sorted(offered - {*shown})] if name in offered}
    return Param(
        job.model if job else None,
        type="string" if job else ["null", "string"],
        enum=list(shown) if job else [None, *shown],
        values_display=shown,
        title="Model",
        description="The model that classifies the reviews of this run." + ("" if job else " Empty for the job's."),
    )


def budget_params(job: JobDefinition | None = None) -> dict[str, Param]:
    """Return the fields that limit a run.

    :param job: the job of the DAG, whose limits an empty field stands for; None for a rescore, which has none
    """
    what = "The most reviews to score again" if job is None else "The most reviews to score"
    return {
        "max_reviews": Param(
            None,
            type=["null", "integer"],
            minimum=0,
            title="Maximum reviews",
            description=f"{what}. {_if_empty(job.max_reviews if job else 0)} The rest is left to the next run.",
        ),
        "max_minutes": Param(
            None,
            type=["null", "integer"],
            minimum=0,
            title="Maximum minutes",
            description=f"Minutes in which to score. {_if_empty(job.max_minutes if job else 0)} The run then ends as a "
            "success.",
        ),
    }


def _if_empty(of_job: int) -> str:
    """Return what an empty field stands for."""
    if of_job:
        return f"Empty for the job's {of_job:,}, 0 for no limit."
    return "Empty or 0 for no limit."


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


def long_texts_param(job: JobDefinition | None = None) -> Param:
    """Return the field that chooses truncation or sliding windows for long texts.

    :param job: the job of the DAG, whose setting is the default; None if it is chosen in the form
    """
    choices = [each.value for each in LongTexts]
    return Param(
        job.long_texts.value if job else None,
        type="string" if job else ["null", "string"],
        enum=choices if job else [None, *choices],
        values_display={
            "truncate": "Truncate: read a text up to the model's maximum",
            "windows": "Windows: read all of a text in overlapping windows, and average them",
        },
        title="Long texts",
        description="How to read reviews with more tokens than the model's maximum."
        + ("" if job else " Empty for the job's setting."),
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
        description="Number of tasks to split the run into; 0 for one per 20,000 reviews, up to the job's shards or "
        "the Variable review_scoring_shards.",
    )
