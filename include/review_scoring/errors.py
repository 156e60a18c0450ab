"""The exceptions. Each message names the thing, what was found, and what to do.

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
    │   │   └── GaveWayError
    │   ├── DownloadFailedError
    │   ├── DeviceError
    │   └── WarehouseUnavailableError
    ├── LeaseLostError
    ├── ScoringInterruptedError
    └── UnaccountedError

The operators fail a task without a retry for `ConfigurationError` and `UnaccountedError`: running again gives the same
error. For every other one Airflow retries the task.

No message ever holds review text or credentials: rows are named by their id, databases by their connection.
"""

from __future__ import annotations

from collections.abc import Iterable


class ReviewScoringError(Exception):
    """Any error that this package raises on purpose."""


class ConfigurationError(ReviewScoringError):
    """Something was set up wrong. Running again without changing it gives the same error, so nobody retries it."""


class NoSuchJobError(ConfigurationError):
    """No scoring job is defined, or none of the name that is wanted."""


class PreflightError(ConfigurationError):
    """Everything that preflight found wrong, told at once: a person fixes a list faster than a series of failures."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(dict.fromkeys(problems))  # source and target may lack the same Connection
        count = len(self.problems)
        heading = "1 thing is" if count == 1 else f"{count} things are"
        super().__init__("\n".join([f"{heading} wrong with the set-up:", *(f"  - {p}" for p in self.problems)]))


class ModelError(ConfigurationError):
    """The model is missing, incomplete, or says something that its catalogue entry does not allow."""


class BenchmarkError(ConfigurationError):
    """A benchmark set is missing, unreadable, or holds what no evaluation can use."""


class NotApprovedError(ConfigurationError):
    """A model may not score, or be promoted, since no evaluation of its revision allows it."""


class ModelNotImportedError(ModelError):
    """The model is in the catalogue, and nobody has brought it into the model store yet."""


class DownloadRefusedError(ModelError):
    """An address that nothing may be fetched from, or content that is not what the catalogue says."""


class ArchiveError(ModelError):
    """A model archive is damaged, hostile, or of a kind that cannot be converted. Nothing was written."""


class TransientError(ReviewScoringError):
    """The same call may go through later: a retry is worth its while."""


class JobBusyError(TransientError):
    """Another run holds the lease of this job, so scoring now would classify reviews twice."""


class GaveWayError(JobBusyError):
    """A rescore has stopped between two chunks because a run with new reviews wants the job; it goes on after that."""


class DownloadFailedError(TransientError):
    """A host did not answer, or stopped in the middle. Nothing of what had come is kept."""


class DeviceError(TransientError):
    """A device had too little memory for a task that must be done whole. Nothing is kept; it may be free later."""


class WarehouseUnavailableError(TransientError):
    """The database did not answer, or dropped the connection, for longer than a run waits."""


class LeaseLostError(ReviewScoringError):
    """Another run has taken this run's lease over; whatever this run still wanted to write is not written."""


class ScoringInterruptedError(ReviewScoringError):
    """The run was told to stop. What was committed stays; the next run goes on from there."""


class UnaccountedError(ReviewScoringError):
    """What the tables hold is not what a run has counted: nothing goes on before a person has looked."""


LONGEST_DETAIL = 200
"""Characters of a library's message that one of ours quotes."""


def in_short(error: BaseException, *, without: object = "") -> str:
    """Return a library's error as a part of a sentence: its class and the first line of its message, cut short.

    :param without: a folder that our own message names already, or must not name
    """
    message = str(error).replace(str(without), "…") if without else str(error)
    first = (message.strip().splitlines() or [""])[0].strip()
    if len(first) > LONGEST_DETAIL:
        first = f"{first[:LONGEST_DETAIL]}…"
    return f"{type(error).__name__}: {first}" if first else type(error).__name__
