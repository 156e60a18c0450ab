"""Fields that the forms of several DAGs have."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from airflow.sdk import Param

from review_scoring.airflow.config import settings
from review_scoring.models.catalogue import readable_entries
from review_scoring.models.catalogue_entry import CHAMPION, CatalogueEntry

log = logging.getLogger(__name__)

RARELY = "Rarely needed"
"""Section of the fields that few change; a form shows it collapsed."""

NARROW = "Narrow it"
"""Section of the fields that leave reviews out."""


def offered_models() -> Mapping[str, CatalogueEntry]:
    """Return the models by name; without those of a deployment's own whose entries are wrong.

    The import error of the DAG `import_model` says what is wrong with them. A typo there must not break runs with
    other models.
    """
    entries = readable_entries(settings().catalogue)
    for problem in entries.problems.values():
        log.warning("%s", problem)
    return entries.usable


def model_param(models: Mapping[str, CatalogueEntry]) -> Param:
    """Return the field of a form that chooses the model of a run."""
    shown: dict[str, Any] = {CHAMPION: "Champion: the model in use"}
    shown |= {name: entry.shown for name, entry in models.items()}
    return Param(
        CHAMPION,
        type="string",
        enum=list(shown),
        values_display=shown,
        title="Model",
        description="Classifies the reviews of this run.",
    )


def dry_run_param() -> Param:
    """Return the field that asks for an estimate only."""
    return Param(
        False,
        type="boolean",
        title="Dry run",
        description="Tell how many reviews and tokens wait and what they would take. Nothing is written.",
    )


def long_texts_param() -> Param:
    """Return the field that says how reviews are read which are longer than the model."""
    return Param(
        "truncate",
        type="string",
        enum=["truncate", "windows"],
        values_display={
            "truncate": "Truncate: read as much as the model takes at once",
            "windows": "Windows: read all in overlapping parts, and average them",
        },
        title="Long texts",
        description="What becomes of reviews that are longer than the model reads at once.",
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
        description="Tasks among which the reviews are shared; 0 for one per 20,000 reviews.",
    )
