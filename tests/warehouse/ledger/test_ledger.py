"""One transaction for each chunk, and who may write it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine, event
from sqlalchemy.exc import OperationalError

from review_scoring.errors import JobBusyError, LeaseLostError
from review_scoring.request import RunKey
from review_scoring.reviews import Prediction, Reject, RejectReason, Review
from review_scoring.warehouse import schema
from review_scoring.warehouse.ledger import held_lease as held
from review_scoring.warehouse.ledger import writing as chunk_writer
from review_scoring.warehouse.ledger.chunk import ChunkResult, Outcome
from review_scoring.warehouse.ledger.counts import Counts
from review_scoring.warehouse.ledger.ledger import Ledger
from review_scoring.warehouse.ledger.writing import write_chunk
from tests.stubs import Warehouse, asked

ONE, OTHER = RunKey("dag", "score", "one"), RunKey("dag", "score", "other")


@pytest.fixture
def ledger(warehouse: Warehouse) -> Ledger:
    warehouse.create()
    found = warehouse.prepare().ledger
    assert found is not None
    return found


def chunk(*ids: str, label: str = "pos") -> ChunkResult:
    return ChunkResult(
        [
            Outcome(Review(i, "texte"), b"h" * 32, Prediction(label, 0.75, (0.25, 0.75), 5, truncated=False))
            for i in ids
        ],
        device="stub",
    )


def test_what_was_committed_is_recorded_with_its_hash_and_shard(ledger: Ledger) -> None:
    lease = ledger.leases.take(asked(ONE))
    ledger.chunks.commit(lease, chunk("a", "b"))
    recorded = ledger.records.of(["a", "c"])
    assert recorded.keys() == {"a"}
    assert (recorded["a"].text_hash, recorded["a"].shard_id) == (b"h" * 32, lease.shard_id)


def test_an_end_whose_answer_was_lost_is_no_lost_lease(ledger: Ledger, warehouse: Warehouse) -> None:
    lease = ledger.chunks.commit(ledger.leases.take(asked(ONE)), chunk("a"))
    with answers_lost(ledger.engine, 1):
        ledger.leases.end(lease, schema.SUCCESS)
    assert [run.state for run in warehouse.shards()] == [schema.SUCCESS]
    with pytest.raises(LeaseLostError):
        ledger.leases.end(lease, schema.FAILED)


def test_a_commit_whose_answer_was_lost_is_neither_lost_nor_doubled(ledger: Ledger, warehouse: Warehouse) -> None:
    lease = ledger.leases.take(asked(ONE))
    rejected = ChunkResult([Outcome(Review("x", None), b"h" * 32, Reject(RejectReason.NULL_TEXT, "NULL"))])
    with answers_lost(ledger.engine, 1):
        lease = ledger.chunks.commit(lease, rejected)
    assert warehouse.rejects()["x"].attempts == 1
    with answers_lost(ledger.engine, 1):
        lease = ledger.chunks.commit(lease, chunk("a", "b"))
    ledger.leases.end(lease, schema.SUCCESS)
    assert warehouse.scores().keys() == {"a", "b"}
    (run,) = warehouse.shards()
    assert (run.chunks, run.read, run.scored, run.rejected) == (2, 3, 2, 1)


def test_a_commit_that_fails_half_way_leaves_nothing(
    ledger: Ledger, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = ledger.leases.take(asked(ONE))
    monkeypatch.setattr(chunk_writer, "_write_rejects", lambda *_: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        ledger.chunks.commit(lease, chunk("a", "b"))
    assert warehouse.scores() == {}
    assert [(run.chunks, run.read, run.scored) for run in warehouse.shards()] == [(0, 0, 0)]


def test_the_last_commit_of_a_killed_client_is_waited_for_and_counted(postgres_engine: Engine) -> None:
    warehouse = Warehouse(postgres_engine)
    warehouse.create()
    ledger = warehouse.prepare().ledger
    assert ledger is not None
    killed = ledger.leases.take(asked(ONE))
    with ThreadPoolExecutor(1) as pool, postgres_engine.connect() as client:
        # The server is at work on a commit whose client is gone, and the rerun begins.
        after = killed.after(chunk("a", "b").counts())
        held.advance(client, ledger.job, killed, after, datetime.now(UTC), device="stub")
        write_chunk(client, ledger.job, killed, chunk("a", "b"), datetime.now(UTC))
        rerun = pool.submit(ledger.leases.take, asked(ONE))
        time.sleep(0.5)
        assert not rerun.done()
        client.commit()
        lease = rerun.result()
    assert (lease.chunks, lease.counts.scored) == (1, 2)
    ledger.chunks.commit(lease, chunk("c"))
    assert warehouse.scores().keys() == {"a", "b", "c"}


def test_a_review_is_in_the_scores_or_in_the_rejects_never_in_both(ledger: Ledger, warehouse: Warehouse) -> None:
    lease = ledger.leases.take(asked(ONE))
    lease = ledger.chunks.commit(lease, chunk("a"))
    lease = ledger.chunks.commit(
        lease, ChunkResult([Outcome(Review("a", None), b"h" * 32, Reject(RejectReason.NULL_TEXT, ""))])
    )
    assert (set(warehouse.scores()), set(warehouse.rejects())) == (set(), {"a"})
    ledger.chunks.commit(lease, chunk("a"))
    assert (set(warehouse.scores()), set(warehouse.rejects())) == ({"a"}, set())


def test_a_run_that_was_taken_over_cannot_write(ledger: Ledger, warehouse: Warehouse) -> None:
    first = ledger.leases.take(asked(ONE))
    second = ledger.leases.take(asked(ONE))
    with pytest.raises(LeaseLostError):
        ledger.chunks.commit(first, chunk("a", label="neg"))
    with pytest.raises(LeaseLostError):
        ledger.leases.renew(first)
    with pytest.raises(LeaseLostError):
        ledger.leases.end(first, schema.FAILED)
    ledger.chunks.commit(second, chunk("a"))
    assert warehouse.scores()["a"].label == "pos"


def test_a_living_run_keeps_other_runs_out_until_it_ends(ledger: Ledger) -> None:
    lease = ledger.leases.take(asked(ONE))
    with pytest.raises(JobBusyError):
        ledger.leases.take(asked(OTHER))
    ledger.leases.end(lease, schema.FAILED)
    ledger.leases.take(asked(OTHER))


def test_a_dead_run_is_taken_over_when_its_lease_has_run_out(ledger: Ledger, warehouse: Warehouse) -> None:
    dead = ledger.leases.take(asked(ONE))
    warehouse.run("UPDATE scoring_shards SET lease_until = '2026-01-01 00:00:00.000000'")
    ledger.leases.take(asked(OTHER))
    with pytest.raises(LeaseLostError):
        ledger.chunks.commit(dead, chunk("a"))
    states = warehouse.run("SELECT state FROM scoring_shards ORDER BY id")
    assert [row.state for row in states] == ["abandoned", "running"]


def test_a_sign_of_life_prolongs_the_lease(ledger: Ledger, warehouse: Warehouse) -> None:
    lease = ledger.leases.take(asked(ONE))
    warehouse.run("UPDATE scoring_shards SET lease_until = '2026-01-01 00:00:00.000000'")
    ledger.leases.renew(lease)
    with pytest.raises(JobBusyError):
        ledger.leases.take(asked(OTHER))


def test_fencing_tokens_only_grow(ledger: Ledger) -> None:
    tokens = [ledger.leases.take(asked(ONE)).fencing_token for _ in range(3)]
    assert tokens == sorted(set(tokens))


def test_counts_that_do_not_add_up_cannot_be_made() -> None:
    with pytest.raises(AssertionError, match="rows unaccounted for"):
        Counts(read=3, scored=1, rejected=1)


@contextmanager
def answers_lost(engine: Engine, times: int) -> Iterator[None]:
    """Let commits happen, and lose the connection before the client hears of it."""
    left = iter(range(times))

    def lose(connection: object) -> None:
        if next(left, None) is not None:
            connection.connection.dbapi_connection.commit()  # type: ignore[attr-defined]  # a SQLAlchemy Connection
            raise OperationalError("COMMIT", {}, ConnectionError("cut"), connection_invalidated=True)

    event.listen(engine, "commit", lose)
    try:
        yield
    finally:
        event.remove(engine, "commit", lose)
