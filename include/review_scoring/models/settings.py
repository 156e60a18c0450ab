"""What a deployment decides about models: where they are kept, which ones there are, where they may come from."""

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

    :param store: the folder of imported models; on a cluster one that every worker which scores can read
    :param catalogue: a file with catalogue entries of the deployment's own, or None
    :param hosts: hosts that models may be fetched from, beside those that the catalogue names
    """

    store: Path
    catalogue: Path | None = None
    hosts: tuple[str, ...] = ()

    @classmethod
    def from_values(cls, values: Mapping[str, str | None]) -> ModelSettings:
        """Return the settings that some values mean, by the names of their environment variables."""
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
    """Return the folder of imported models where no setting names one: beside the rest of this Airflow."""
    return Path(os.environ.get("AIRFLOW_HOME") or "~/airflow").expanduser() / "review_scoring" / "models"
