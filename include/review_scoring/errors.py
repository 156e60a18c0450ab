"""The exceptions of review_scoring: configuration errors, transient errors (worth a retry), lost leases.

    ReviewScoringError
    ├── ConfigurationError
    │   ├── NoSuchJobError
    │   ├── PreflightError
    │   ├── ModelError
    │   │   ├── ModelNotImportedError
    │   │   ├── DownloadRefusedError
    │   │   └── ArchiveError
    │   ├── BenchmarkError
    │   └── NotApprovedError
    ├── TransientError
    │   ├── JobBusyError
    │   │   └── YieldedError
    │   ├── DownloadFailedError
    │   ├── DeviceError
    │   └── WarehouseUnavailableError
    ├── LeaseLostError
    ├── ScoringInterruptedError
    ├── UnaccountedError
    └── ErasureRefusedError

The operators fail a task without a retry for `ConfigurationError`, `UnaccountedError` and `ErasureRefusedError`:
running again gives the same error. For every other one Airflow retries the task.

Each message names the thing, what was found, and what to do. No message contains review text or credentials: rows are
named by their id, databases by their Connection.
"""

from __future__ import annotations

from collections.abc import Iterable


class ReviewScoringError(Exception):
    """Base class of all errors that this package raises on purpose."""


class ConfigurationError(ReviewScoringError):
    """A setting, job, Connection or model is wrong. A retry gives the same error, so tasks fail without one."""


class NoSuchJobError(ConfigurationError):
    """No scoring job is defined, or none has the given name."""


class PreflightError(ConfigurationError):
    """All problems that preflight found, in one list: fixing a list is faster than one failed run after another."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(dict.fromkeys(problems))  # source and target may lack the same Connection
        count = len(self.problems)
        heading = f"preflight found {count} {'problem' if count == 1 else 'problems'}:"
        super().__init__("\n".join([heading, *(f"  - {problem}" for problem in self.problems)]))


class ModelError(ConfigurationError):
    """The model is missing or incomplete, or contradicts its catalogue entry."""


class BenchmarkError(ConfigurationError):
    """A benchmark set is missing, unreadable, or unusable for an evaluation."""


class NotApprovedError(ConfigurationError):
    """A model may not score or be promoted, because its revision has not passed the required evaluation."""


class ModelNotImportedError(ModelError):
    """The model is in the catalogue, but has not been imported into the model store."""


class DownloadRefusedError(ModelError):
    """An address that downloads are not allowed from, or content that differs from what the catalogue states."""


class ArchiveError(ModelError):
    """A model archive is damaged, malicious, or of a kind that cannot be converted. Nothing was written."""


class TransientError(ReviewScoringError):
    """The same call may succeed later, so it is retried."""


class JobBusyError(TransientError):
    """Another run holds the lease of this job. Scoring now would classify reviews twice."""


class YieldedError(JobBusyError):
    """A rescore has yielded, between two chunks, to a run with new reviews. It continues after that run."""


class DownloadFailedError(TransientError):
    """A host did not answer, or the connection broke during the download. The partial file is discarded."""


class DeviceError(TransientError):
    """A device ran out of memory in a task that cannot be split, such as an evaluation. No results are kept."""


class WarehouseUnavailableError(TransientError):
    """The database did not answer, or kept dropping the connection, until the run's retries timed out.

    Also for tables that a newer version of this package has migrated: another worker may have that version.
    """


class LeaseLostError(ReviewScoringError):
    """Another run has taken over this run's lease. What this run has not committed is not written."""


class ScoringInterruptedError(ReviewScoringError):
    """The run was cancelled. Committed chunks are kept, and the next run continues after them."""


class UnaccountedError(ReviewScoringError):
    """The tables do not match the counts of a run. A person has to look, so tasks fail without a retry."""


class ErasureRefusedError(ReviewScoringError):
    """Reviews were not erased, since it may be a mistake. A person has to decide, so tasks fail without a retry.

    :param ids: the reviews that it is about, where these are few; no message has them, since an id may be a person's
    """

    def __init__(self, message: str, *, ids: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.ids = tuple(ids)


LONGEST_DETAIL = 200
"""Maximum number of characters quoted from a library's error message."""


def in_short(error: BaseException, *, without: object = "") -> str:
    """Return the class of a library's error and the first line of its message, truncated.

    :param without: a folder to leave out, because the message around it names it already or must not name it
    """
    message = str(error).replace(str(without), "…") if without else str(error)
    first = (message.strip().splitlines() or [""])[0].strip()
    if len(first) > LONGEST_DETAIL:
        first = f"{first[:LONGEST_DETAIL]}…"
    return f"{type(error).__name__}: {first}" if first else type(error).__name__
