"""Nightly scoring of reviews in a SQL database with a transformers model, exactly once.

Public are the names in `__all__` below, the operators in :mod:`review_scoring.airflow.operators`, the functions
in :mod:`review_scoring.airflow.dags`, the command
`review-scoring`, the columns of the tables, and the settings, Variables and forms that the documents
describe. Everything else may change in any release.

    from review_scoring import Rescore, ScoringJob
    from review_scoring.airflow.operators import ScoreReviewsOperator
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from review_scoring.check_settings import Checks
    from review_scoring.errors import (
        ArchiveError,
        BenchmarkError,
        ConfigurationError,
        DeviceError,
        DownloadFailedError,
        DownloadRefusedError,
        ErasureRefusedError,
        JobBusyError,
        LeaseLostError,
        ModelError,
        ModelNotImportedError,
        NoSuchJobError,
        NotApprovedError,
        PreflightError,
        ReviewScoringError,
        ScoringInterruptedError,
        TransientError,
        UnaccountedError,
        WarehouseUnavailableError,
        YieldedError,
    )
    from review_scoring.job import Publication, Rescore, ScoringJob
    from review_scoring.job_definition import DagSettings, JobDefinition, Notification

__version__ = "0.1.0"

__all__ = [
    "ArchiveError",
    "BenchmarkError",
    "Checks",
    "ConfigurationError",
    "DagSettings",
    "DeviceError",
    "DownloadFailedError",
    "DownloadRefusedError",
    "ErasureRefusedError",
    "JobBusyError",
    "JobDefinition",
    "LeaseLostError",
    "ModelError",
    "ModelNotImportedError",
    "NoSuchJobError",
    "NotApprovedError",
    "Notification",
    "PreflightError",
    "Publication",
    "Rescore",
    "ReviewScoringError",
    "ScoringInterruptedError",
    "ScoringJob",
    "TransientError",
    "UnaccountedError",
    "WarehouseUnavailableError",
    "YieldedError",
    "__version__",
]


_HOMES = {
    "Checks": "check_settings",
    "DagSettings": "job_definition",
    "JobDefinition": "job_definition",
    "Notification": "job_definition",
    "Publication": "job",
    "Rescore": "job",
    "ScoringJob": "job",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is used: a module of the package that needs no pydantic does not wait for it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES.get(name, 'errors')}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
