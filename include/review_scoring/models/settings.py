"""Settings of models: the folder of the model store, the catalogue file, and hosts for downloads."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

STORE = "REVIEW_SCORING_MODEL_STORE"
CATALOGUE = "REVIEW_SCORING_CATALOGUE"
HOSTS = "REVIEW_SCORING_MODEL_HOSTS"


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """The settings of a deployment.

    :param store: the folder of imported models; on a cluster, every scoring worker must be able to read it
    :param catalogue: a file with further catalogue entries, or None
    :param hosts: allowed hosts for downloads, in addition to those of the catalogue
    """

    store: Path
    catalogue: Path | None = None
    hosts: tuple[str, ...] = ()

    @classmethod
    def from_values(cls, values: Mapping[str, str | None]) -> ModelSettings:
        """Return the settings from values by the names of their environment variables."""
        catalogue = values.get(CATALOGUE)
        hosts = (values.get(HOSTS) or "").replace(",", " ").split()
        return cls(
            store=Path(values.get(STORE) or default_store()).expanduser(),
            catalogue=Path(catalogue).expanduser() if catalogue else None,
            hosts=tuple(host.lower() for host in hosts),
        )

    @classmethod
    def from_environment(cls) -> ModelSettings:
        """Return the settings in the environment variables of this process."""
        return cls.from_values(os.environ)


def default_store() -> Path:
    """Return the default folder of imported models, in AIRFLOW_HOME."""
    return Path(os.environ.get("AIRFLOW_HOME") or "~/airflow").expanduser() / "review_scoring" / "models"
