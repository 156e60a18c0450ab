"""A job of scratch tables, on which a promise is tried."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from review_scoring.concurrency.cancellation import StopFlag
from review_scoring.conformance.stand_in import MODEL, StandIn, predicted
from review_scoring.job import Order, Publication, ScoringJob
from review_scoring.request import RunKey, RunRequest, Selection
from review_scoring.reviews import canonical_id
from review_scoring.run.finishing import finish_run
from review_scoring.run.loop import score_shard
from review_scoring.run.planning import plan_run
from review_scoring.run.preflight import PreparedJob, Resources, preflight
from review_scoring.run.publishing import PublicationReport, Publisher
from review_scoring.run.recorded_job import RecordedJob, open_recorded_job
from review_scoring.run.report import RunReport
from review_scoring.warehouse.ledger.ledger import find_ledger
from review_scoring.warehouse.publishing.destinations import Destination, destination_of
from review_scoring.warehouse.scratch import scratch_name
from review_scoring.warehouse.scratch.published import drop
from review_scoring.warehouse.scratch.reviews import ScratchReviews
from review_scoring.warehouse.selection.shards import ShardLimits

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from review_scoring.warehouse.scratch.ledger import ScratchLedger

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
CHUNK_ROWS = 25


class NotApplicableError(Exception):
    """A promise is not about this database."""


class BrokenPromiseError(Exception):
    """What a promise found is not what it promises."""


def require(found: object, expected: object, what: str) -> None:
    """Compare what a promise found.

    :raises BrokenPromiseError: if it differs
    """
    if found != expected:
        raise BrokenPromiseError(f"{what}: expected {expected}, found {found}")


@dataclass
class Trial:
    """A job with a table of reviews, a ledger, and possibly a table to publish to.

    :param texts: what the ledger should have scored: review id -> text
    """

    reviews: ScratchReviews
    ledger: ScratchLedger
    job: ScoringJob
    destination: Destination | None
    texts: dict[str, str | None] = field(default_factory=dict)
    stop: StopFlag = field(default_factory=StopFlag)

    def add(self, texts: Mapping[Any, str | None], written_at: datetime = BEGIN) -> None:
        """Insert reviews: id -> text."""
        times = {"written_at": written_at, "updated_at": written_at}
        self.reviews.insert([{"id": id_, "text": each, **times} for id_, each in texts.items()])
        self.texts |= {str(canonical_id(id_)): each for id_, each in texts.items()}

    def change(self, id_: Any, new: str, updated_at: datetime = BEGIN + timedelta(days=1)) -> None:
        """Change the text of a review."""
        self.reviews.change(id_, text=new, updated_at=updated_at)
        self.texts[str(canonical_id(id_))] = new

    def set(self, **settings: Any) -> None:
        """Change settings of the job."""
        self.job = self.job.replace(**settings)

    def prepare(self) -> PreparedJob:
        """Do the preflight of a run."""
        self.stop = StopFlag()
        resources = Resources(
            source=lambda: self.reviews.engine, target=lambda: self.ledger.engine, model=lambda: MODEL
        )
        return preflight(self.job, resources, self.stop)

    def score(
        self,
        night: str,
        *,
        shards: int = 1,
        before_batch: Callable[[Sequence[str]], None] = lambda texts: None,
    ) -> RunReport:
        """Plan, score and finish a run, or try it again."""
        prepared = self.prepare()
        key = RunKey("check_connection", "score", night)
        selection = Selection(order=Order.NEWEST)
        request = RunRequest(
            key=key, model=MODEL.name, revision=MODEL.revision, selection=selection, chunk_rows=CHUNK_ROWS
        )
        planned = plan_run(prepared, request, ShardLimits(most=shards, least=1))
        for index, each in enumerate(planned):
            of_shard = replace(request, key=replace(key, map_index=index))
            score_shard(prepared, of_shard, each, lambda: StandIn(before_batch=before_batch), self.stop)
        return finish_run(prepared.existing_ledger, key, planned)

    def recorded(self) -> RecordedJob:
        """Open the job for an erasure."""
        found = open_recorded_job(self.job, lambda: self.reviews.engine, lambda: self.ledger.engine, StopFlag())
        if found is None:
            raise BrokenPromiseError("the job is not registered")
        return found

    def publish(self, night: str) -> PublicationReport:
        """Publish what has changed."""
        return self.publisher(night).publish()

    def publisher(self, night: str, **options: Any) -> Publisher:
        """Return what publishes a run."""
        assert self.destination is not None, "a trial of publications"
        table = self.destination.table
        return Publisher(
            ledger=find_ledger(self.ledger.engine, self.job),
            to=Publication(conn_id=self.job.source_conn_id, table=table.name, table_schema=table.schema),
            destination=self.destination,
            holder=RunKey("check_connection", "publish", night),
            own=RunKey("check_connection", "score", night),
            stop=StopFlag(),
            **options,
        )

    @property
    def expected(self) -> dict[str, tuple[str, float]]:
        """What the ledger should have: review id -> label and score."""
        found = {id_: predicted(each) for id_, each in self.texts.items() if each and each.strip()}
        return {id_: (each.label, each.score) for id_, each in found.items()}

    def require_scores(self) -> None:
        """Compare the ledger with the reviews.

        :raises BrokenPromiseError: if it lacks a score, or has a wrong one
        """
        require_equal(self.ledger.scores(self.job.name), self.expected, "scores")


def require_equal(found: Mapping[str, tuple[str, float]], expected: Mapping[str, tuple[str, float]], what: str) -> None:
    """Compare scores, and name the ids of the first that differ: they are the check's own.

    :raises BrokenPromiseError: if they differ
    """
    lacking = [id_ for id_ in expected if id_ not in found]
    extra = [id_ for id_ in found if id_ not in expected]
    wrong = [id_ for id_ in expected if id_ in found and found[id_] != expected[id_]]
    for ids, how in ((lacking, "are missing"), (extra, "should not be there"), (wrong, "are of another text")):
        if ids:
            raise BrokenPromiseError(f"{len(ids)} {what} {how}, such as that of id {ids[0]!r}")


@dataclass(frozen=True)
class Scratch:
    """Where the trials of a role have their tables.

    :param conn_id: names the database in messages
    :param source: the database of the reviews
    :param destination: the database that scores are published to; None to publish nothing
    """

    conn_id: str
    source: Engine
    source_schema: str | None
    ledger: ScratchLedger
    destination: Engine | None = None
    destination_schema: str | None = None

    @contextmanager
    def trial(self, *, has_text_ids: bool = False) -> Iterator[Trial]:
        """Create a table of reviews; drop it, and the table that the trial has published, at the end."""
        reviews = ScratchReviews(self.source, self.source_schema, has_text_ids=has_text_ids)
        name = reviews.table.name
        job = ScoringJob(
            name=name,
            source_conn_id=self.conn_id,
            source_schema=self.source_schema,
            source_table=name,
            target_conn_id=self.conn_id if self.source is self.ledger.engine else "scratch file",
            target_schema=self.ledger.schema,
            max_reviews=0,
        )
        destination = None
        if self.destination is not None:
            destination = destination_of(self.destination, name, scratch_name(), self.destination_schema)
        with ExitStack() as cleanup:
            cleanup.callback(reviews.drop)
            if destination is not None:
                cleanup.callback(drop, destination)
            reviews.create()
            yield Trial(reviews, self.ledger, job, destination)
