"""What a run is asked to do: its key, model, selection of reviews, budget, and whether it yields to other runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

from review_scoring.errors import ConfigurationError
from review_scoring.job import Order, Rescore
from review_scoring.reviews import RejectReason

NativeId: TypeAlias = Any
"""An id as the driver gives and takes it: int, str, UUID or Decimal."""

MAX_CHUNK_ROWS = 20_000


@dataclass(frozen=True)
class RunKey:
    """The Airflow task that a run, or one shard of it, belongs to. A retry of the task continues the same run."""

    dag_id: str
    task_id: str
    dag_run_id: str
    map_index: int = -1

    def __str__(self) -> str:
        index = f"[{self.map_index}]" if self.map_index >= 0 else ""
        return f"{self.dag_id}.{self.task_id}{index} of {self.dag_run_id}"

    @property
    def task(self) -> tuple[str, str, str]:
        """The task in its run of the DAG, all its map indexes together."""
        return self.dag_id, self.task_id, self.dag_run_id

    @property
    def dag_run(self) -> str:
        """Name the run of the DAG, all its tasks together."""
        return f"{self.dag_id} of {self.dag_run_id}"


@dataclass(frozen=True)
class KeyRange:
    """Ids above `after` and up to `upto`, in the source's own order; None leaves that end open."""

    after: NativeId | None = None
    upto: NativeId | None = None


EVERYTHING = KeyRange()


@dataclass(frozen=True)
class TimeRange:
    """From `since` on and before `until`, both aware; None leaves that end open."""

    since: datetime | None = None
    until: datetime | None = None

    def __contains__(self, moment: datetime) -> bool:
        after = self.since is None or moment >= self.since
        return after and (self.until is None or moment < self.until)

    def as_json(self) -> dict[str, str | None]:
        """Return plain values."""
        return {name: end and end.isoformat() for name, end in vars(self).items()}

    @classmethod
    def from_json(cls, values: Mapping[str, str | None]) -> TimeRange:
        """Read the values that :meth:`as_json` returned."""
        return cls(**{name: None if end is None else datetime.fromisoformat(end) for name, end in values.items()})


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which reviews a run looks at: new ones, and those that `rescore` adds.

    :param rescore: which reviews that have a score or a reject are scored again
    :param reject_reason: of the rejects, only those with this reason; None for all
    :param keys: only ids in this range
    :param scored: only reviews that were scored, or first rejected, in this time; None for all
    :param order: which new reviews are scored first; a rescore always goes by id, the lowest first
    :param start_after: new reviews up to this id, or this value of the cursor column, are not scored; None for all
    """

    rescore: Rescore = Rescore.NOTHING
    reject_reason: RejectReason | None = None
    keys: KeyRange = EVERYTHING
    scored: TimeRange | None = None
    order: Order = Order.OLDEST
    start_after: int | str | None = None

    def __post_init__(self) -> None:
        """Check what is given together.

        :raises ConfigurationError: naming the parameters
        """
        if self.rescore is not Rescore.REJECTS and self.reject_reason is not None:
            raise ConfigurationError("reject_reason is for rescore='rejects' only")
        if self.rescore is Rescore.REJECTS and self.keys != EVERYTHING:
            raise ConfigurationError(
                "above and upto cannot be used with rescore='rejects': rejects are read from the ledger, which has "
                "another order than the source"
            )

    @property
    def is_rescore(self) -> bool:
        """Whether reviews that have a score are scored again, so that the run is excluded from daily figures."""
        return self.rescore is not Rescore.NOTHING

    @property
    def reads_null_ids(self) -> bool:
        """Whether rows without an id are among what is selected."""
        return self.rescore is not Rescore.REJECTS and self.keys.after is None and self.scored is None

    @property
    def is_of_all_new(self) -> bool:
        """Whether every new review is looked for, so that the job's cursor may narrow the scan."""
        return not self.is_rescore and self.keys == EVERYTHING and self.scored is None


NEW_REVIEWS = Selection()


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How much a run may do.

    :param reviews: the most reviews that it scores or rejects, all its shards and tries together; None for no limit
    :param minutes: minutes after its planning that it may take; None for no limit
    """

    reviews: int | None = None
    minutes: int | None = None

    def __post_init__(self) -> None:
        """Check the range."""
        for name, value in (("max_reviews", self.reviews), ("max_minutes", self.minutes)):
            if value is not None and value < 1:
                raise ConfigurationError(f"{name} is {value}; it must be at least 1, or None for no limit")


UNLIMITED = Budget()


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """Everything that one run is asked to do. It is created once and passed on as a whole.

    :param key: the task of Airflow; of a plan, the task that scores, with any map index
    :param model: name of the model
    :param revision: content hash of the model's files
    :param yields: whether the run stops between two chunks for a run of the same job that does not yield
    :param chunk_rows: reviews that one transaction commits; a worker that dies loses the work on one chunk
    :param wait_s: seconds to wait for another run of the same job to end
    """

    key: RunKey
    model: str
    revision: str
    selection: Selection = NEW_REVIEWS
    budget: Budget = UNLIMITED
    yields: bool = False
    chunk_rows: int = 1000
    wait_s: float = 0.0

    def __post_init__(self) -> None:
        """Check the range."""
        self.check_chunk_rows(self.chunk_rows)

    @property
    def is_complete(self) -> bool:
        """Whether the run scores every new review, so that it may move the job's cursor without a plan."""
        return self.selection.is_of_all_new and self.budget == UNLIMITED

    @staticmethod
    def check_chunk_rows(rows: int) -> None:
        """Check a chunk size, also before there is a request.

        :raises ConfigurationError: if it is out of range
        """
        if not 1 <= rows <= MAX_CHUNK_ROWS:
            raise ConfigurationError(f"chunk_rows is {rows}; it must be from 1 to {MAX_CHUNK_ROWS}")
