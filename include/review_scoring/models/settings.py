"""What a deployment decides about models: where they are kept, which ones there are, where they may come from."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path


def default_store() -> Path:
    """Return the folder of imported models where no setting names one: beside the rest of this Airflow."""
    return Path(os.environ.get("AIRFLOW_HOME") or "~/airflow").expanduser() / "review_scoring" / "models"


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """The settings of a deployment.

    :param store: the folder of imported models; on a cluster one that every worker which scores can read
    :param catalogue: a file with catalogue entries of the deployment's own, or None
    :param hosts: hosts that models may be fetched from, beside those that the catalogue names
    """

    store: Path = field(default_factory=default_store)
    catalogue: Path | None = None
    hosts: tuple[str, ...] = ()
