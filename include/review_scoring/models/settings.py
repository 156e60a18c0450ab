"""Settings of models: the folder of the model store, the catalogue file, and hosts for downloads."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path


def default_store() -> Path:
    """Return the default folder of imported models, in AIRFLOW_HOME."""
    return Path(os.environ.get("AIRFLOW_HOME") or "~/airflow").expanduser() / "review_scoring" / "models"


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """The settings of a deployment.

    :param store: the folder of imported models; on a cluster, every scoring worker must be able to read it
    :param catalogue: a file with further catalogue entries, or None
    :param hosts: allowed hosts for downloads, in addition to those of the catalogue
    """

    store: Path = field(default_factory=default_store)
    catalogue: Path | None = None
    hosts: tuple[str, ...] = ()
