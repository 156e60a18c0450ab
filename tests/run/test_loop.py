"""The loop, on real databases with a stub in place of the model."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from sqlalchemy import Engine, select, text
from sqlalchemy.exc import OperationalError

from review_scoring.concurrency.cancellation import StopFlag
from review_scoring.errors import ConfigurationError, JobBusyError, ScoringInterruptedError
from review_scoring.job import Rescore
from review_scoring.request import RunKey
from review_scoring.reviews import RejectReason
from review_scoring.run import heartbeat
from review_scoring.run.classifier import LazyClassifier
from review_scoring.run.reader import Reader
from review_scoring.warehouse import retry
from review_scoring.warehouse.history.runs import last_runs
from review_scoring.warehouse.ledger import held_lease as held
from review_scoring.warehouse.ledger import writing as chunk_writer
from review_scoring.warehouse.ledger.jobs import find_job
from review_scoring.warehouse.ledger.ledger import Ledger
from review_scoring.warehouse.ledger.writing import ChunkWriter
from review_scoring.warehouse.selection.candidates import Candidates
from tests.conftest import ENGINES, engine_of_kind
from tests.stubs import StubClassifier, Warehouse, asked, predicted


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Engine:
    """An empty database, once of each kind, which the other tests of runs leave to the long form for DuckDB."""
    return engine_of_kind(request)


def test_every_new_review_gets_the_score_of_its_text(warehouse: Warehouse) -> None:
    warehouse.create()
    warehouse.fill(25)
    summary = warehouse.score(chunk_rows=10)
    assert str(summary.counts) == "read=25 scored=25 unchanged=0 rejected=0"
    texts = {str(row.id): row.body for row in warehouse.run("SELECT id, body FROM reviews")}
    scores = warehouse.scores()
    assert scores.keys() == texts.keys()
    for review_id, row in scores.items():
        expected = predicted(texts[review_id])
        assert (row.label, row.score, row.token_count) == (
            expected.label,
            expected.score,
            expected.token_count,
        )
        assert row.model == "stub"


def test_a_second_run_reads_nothing_and_does_not_load_the_model(warehouse: Warehouse) -> None:
    warehouse.create()
    warehouse.fill(25)
    warehouse.score("night 1")
    before = warehouse.contents()
    calls = len(warehouse.classifier.calls)
    second = warehouse.score("night 2")
    assert str(second.counts) == "read=0 scored=0 unchanged=0 rejected=0"
    assert second.device is None
    assert len(warehouse.classifier.calls) == calls
    assert warehouse.contents() == before


def test_loading_the_model_does_not_make_a_small_run_look_slow(sqlite_engine: Engine) -> None:
    warehouse = Warehouse(sqlite_engine)
    warehouse.create()
    warehouse.fill(20)
    load_s, classify_s = 1.0, 0.1
    warehouse.classifier.on_prepare = lambda _: time.sleep(load_s)
    warehouse.classifier.before_batch = lambda _: time.sleep(classify_s)
    summary = warehouse.score("night 1")
    assert summary.reviews_per_second <= 20 / classify_s
    assert summary.seconds - 20 / summary.reviews_per_second > 0.9 * load_s, "the load is no part of the speed"
    with sqlite_engine.connect() as connection:
        job = find_job(connection, warehouse.tables, "films")
        assert job is not None
        (run,) = last_runs(connection, job, limit=1)
    assert round(run.reviews_per_second, 1) == summary.reviews_per_second


def test_rows_that_come_late_in_the_middle_of_the_range_are_found(warehouse: Warehouse) -> None:
    warehouse.create()
    warehouse.insert(*((n, f"review {n}") for n in range(0, 100, 2)))
    warehouse.score("night 1", chunk_rows=7)
    late = range(1, 20, 2)
    warehouse.insert(*((n, f"late {n}") for n in late))
    second = warehouse.score("night 2", chunk_rows=7)
    assert str(second.counts) == "read=10 scored=10 unchanged=0 rejected=0"
    assert {str(n) for n in late} <= warehouse.scores().keys()


def test_texts_that_cannot_be_scored_are_rejected_with_their_reason_and_the_run_goes_on(
    warehouse: Warehouse,
) -> None:
    warehouse.create()
    warehouse.insert((1, "bien"), (2, None), (3, ""), (4, " \n\t\u00a0"), (5, "nul"))
    summary = warehouse.score(chunk_rows=2)
    assert str(summary.counts) == "read=5 scored=2 unchanged=0 rejected=3"
    reasons = {review_id: row.reason for review_id, row in warehouse.rejects().items()}
    assert reasons == {
        "2": RejectReason.NULL_TEXT,
        "3": RejectReason.EMPTY_TEXT,
        "4": RejectReason.EMPTY_TEXT,
    }


def test_a_duplicate_id_costs_only_the_repeated_rows(warehouse: Warehouse) -> None:
    warehouse.create("INTEGER")
    warehouse.fill(30)
    warehouse.insert((7, "encore"), (7, "et encore"), (30, "la fin"))
    summary = warehouse.score(chunk_rows=7)
    assert str(summary.counts) == "read=33 scored=30 unchanged=0 rejected=3"
    assert summary.counts.unkeyed == {"duplicate_id": 3}
    assert len(warehouse.scores()) == 30


def test_which_of_two_rows_with_one_id_is_scored_does_not_depend_on_their_order(warehouse: Warehouse) -> None:
    warehouse.create("INTEGER")
    bodies = ("un", "deux", "trois", "quatre")
    warehouse.insert(*((1, body) for body in bodies), *((2, body) for body in reversed(bodies)))
    warehouse.insert(*((n, "seul") for n in range(3, 90)))
    warehouse.score()
    scores = warehouse.scores()
    assert scores["1"].text_hash == scores["2"].text_hash


def test_a_null_id_is_counted_as_a_reject_every_night(warehouse: Warehouse) -> None:
    warehouse.create("INTEGER")
    warehouse.fill(12)
    warehouse.insert((None, "sans id"))
    for night, expected in (
        ("1", "read=13 scored=12 unchanged=0 rejected=1"),
        ("2", "read=1 scored=0 unchanged=0 rejected=1"),
    ):
        summary = warehouse.score(night)
        assert str(summary.counts) == expected
        assert summary.counts.unkeyed == {"null_id": 1}


def test_a_retry_of_a_task_does_not_count_rows_without_an_id_twice(warehouse: Warehouse) -> None:
    warehouse.create("INTEGER")
    warehouse.fill(12)
    warehouse.insert((None, "sans id"))
    for _ in range(2):
        summary = warehouse.score("the same run")
        assert str(summary.counts) == "read=13 scored=12 unchanged=0 rejected=1"


def test_ids_that_differ_by_case_or_trailing_blanks_are_different_reviews(warehouse: Warehouse) -> None:
    warehouse.create("VARCHAR(20) PRIMARY KEY")
    ids = ["a1", "A1", "a1 ", "é", "e\u0301", "-5", "05", "5"]
    warehouse.insert(*((id_, f"texte {n}") for n, id_ in enumerate(ids)))
    warehouse.score(chunk_rows=3)
    assert warehouse.scores().keys() == set(ids)


def test_an_id_that_no_key_can_hold_is_counted_and_costs_nothing_else(warehouse: Warehouse) -> None:
    warehouse.create("TEXT PRIMARY KEY")
    warehouse.insert(("a", "un"), ("b" * 300, "deux"), ("c", "trois"))
    summary = warehouse.score(chunk_rows=1)
    assert str(summary.counts) == "read=3 scored=2 unchanged=0 rejected=1"
    assert summary.counts.unkeyed == {"unusable_id": 1}


def test_changed_texts_are_scored_again_only_when_rescore_says_so(warehouse: Warehouse) -> None:
    warehouse.create()
    warehouse.fill(20)
    warehouse.score("1")
    warehouse.run("UPDATE reviews SET body = 'autre chose' WHERE id IN (3, 4)")
    assert warehouse.score("2").counts.read == 0
    third = warehouse.score("3", Rescore.CHANGED, chunk_rows=6)
    assert str(third.counts) == "read=20 scored=2 unchanged=18 rejected=0"
    assert warehouse.scores()["3"].score == predicted("autre chose").score


def test_with_an_updated_at_column_only_touched_rows_are_fetched(warehouse: Warehouse) -> None:
    job = warehouse.job
    warehouse.job = type(job)(**{**vars(job), "updated_at_column": "changed"})
    warehouse.create(extra=", changed TIMESTAMP")
    warehouse.fill(20)
    warehouse.run("UPDATE reviews SET changed = '2026-01-01 00:00:00'")
    warehouse.score("1")
    warehouse.run("UPDATE reviews SET changed = '2026-02-01 00:00:00' WHERE id < 6")
    warehouse.run("UPDATE reviews SET body = 'autre chose' WHERE id = 2")
    assert str(warehouse.score("2", Rescore.CHANGED).counts) == "read=5 scored=1 unchanged=4 rejected=0"
    assert warehouse.score("3", Rescore.CHANGED).counts.read == 0


def test_a_rejected_review_whose_text_was_mended_moves_to_the_scores(warehouse: Warehouse) -> None:
    warehouse.create()
    warehouse.insert((1, None), (2, "bien"))
    warehouse.score("1")
    warehouse.run("UPDATE reviews SET body = 'enfin un texte' WHERE id = 1")
    warehouse.run("UPDATE reviews SET body = NULL WHERE id = 2")
    second = warehouse.score("2", Rescore.CHANGED)
    assert str(second.counts) == "read=2 scored=1 unchanged=0 rejected=1"
    assert warehouse.scores().keys() == {"1"}
    assert warehouse.rejects().keys() == {"2"}


def test_rescoring_all_scores_each_review_once_even_when_its_task_is_retried(warehouse: Warehouse) -> None:
    warehouse.create()
    warehouse.fill(20)
    warehouse.score("1")
    warehouse.classifier.before_batch = _fail_at_call(3)
    with pytest.raises(RuntimeError, match="planned"):
        warehouse.score("2", Rescore.ALL, chunk_rows=5)
    warehouse.classifier = StubClassifier()
    second = warehouse.score("2", Rescore.ALL, chunk_rows=5)
    assert str(second.counts) == "read=20 scored=20 unchanged=0 rejected=0"
    assert len(warehouse.classifier.calls) == 10


def test_a_rejected_review_that_is_tried_again_keeps_when_it_was_first_seen(warehouse: Warehouse) -> None:
    warehouse.create()
    warehouse.insert((1, None))
    warehouse.score("1")
    first = warehouse.rejects()["1"]
    warehouse.score("2", Rescore.ALL)
    again = warehouse.rejects()["1"]
    assert (first.attempts, again.attempts) == (1, 2)
    assert again.first_seen == first.first_seen


def test_a_limit_is_kept_over_all_tries_of_a_run(warehouse: Warehouse) -> None:
    warehouse.create()
    warehouse.fill(30)
    for _ in range(2):
        assert warehouse.score("1", limit=12, chunk_rows=5).counts.scored == 12
    assert len(warehouse.scores()) == 12
    assert warehouse.score("2", limit=100).counts.scored == 18


def test_a_failed_run_keeps_what_it_committed_and_gives_the_job_free_at_once(warehouse: Warehouse) -> None:
    warehouse.create()
    warehouse.fill(20)
    warehouse.classifier.before_batch = _fail_at_call(3)
    with pytest.raises(RuntimeError, match="planned"):
        warehouse.score("1", chunk_rows=5)
    assert len(warehouse.scores()) == 10
    warehouse.classifier.before_batch = lambda texts: None
    assert str(warehouse.score("2").counts) == "read=10 scored=10 unchanged=0 rejected=0"


def test_a_commit_that_fails_gives_the_job_free_at_once(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    warehouse.create()
    warehouse.fill(20)
    with monkeypatch.context() as broken:
        broken.setattr(chunk_writer, "_write_scores", lambda *_: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            warehouse.score("1", chunk_rows=5)
    assert warehouse.score("2").counts.scored == 20


def test_a_model_that_loads_slowly_does_not_cost_the_lease(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held, "LEASE_S", 1)
    monkeypatch.setattr(heartbeat, "HEARTBEAT_S", 0.2)
    warehouse.create()
    warehouse.fill(3)
    ledger = _ledger(warehouse)
    busy: list[bool] = []

    def slow(_: Sequence[str]) -> None:
        time.sleep(1.5)
        with pytest.raises(JobBusyError):
            ledger.leases.take(asked(RunKey("dag", "score", "another")))
        busy.append(True)

    warehouse.classifier.before_batch = slow
    assert warehouse.score().counts.scored == 3
    assert busy == [True]


def test_the_next_chunk_is_prepared_while_one_is_classified(warehouse: Warehouse) -> None:
    warehouse.create()
    warehouse.fill(20)
    prepared = threading.Semaphore(0)
    warehouse.classifier.on_prepare = lambda texts: prepared.release()
    waited: list[bool] = []

    def classifying(_: Sequence[str]) -> None:
        if not waited:
            waited.append(all(prepared.acquire(timeout=10) for _ in range(2)))  # its own, and the next one's

    warehouse.classifier.before_batch = classifying
    assert warehouse.score(chunk_rows=5).counts.scored == 20
    assert waited == [True]


def test_a_chunk_that_cannot_be_prepared_ends_the_run_and_costs_nothing_before_it(warehouse: Warehouse) -> None:
    warehouse.create()
    warehouse.fill(20)
    warehouse.classifier.on_prepare = _fail_at_call(3)
    with pytest.raises(RuntimeError, match="planned"):
        warehouse.score("1", chunk_rows=5)
    assert len(warehouse.scores()) == 10
    warehouse.classifier.on_prepare = lambda texts: None
    assert str(warehouse.score("2").counts) == "read=10 scored=10 unchanged=0 rejected=0"


def test_preparing_ends_when_the_run_is_told_to_stop(sqlite_engine: Engine) -> None:
    warehouse = Warehouse(sqlite_engine)
    warehouse.create()
    warehouse.fill(1)
    ready, stop = warehouse.prepare(), StopFlag()
    stub = StubClassifier(on_prepare=lambda texts: stop.set())
    candidates = Candidates(ready.source, ready.ledger, asked(RunKey("dag", "score", "run")))
    reader = Reader(candidates, LazyClassifier(lambda: stub, stop), stop)
    with pytest.raises(ScoringInterruptedError):
        reader._next().result()
    reader.close()


def test_two_jobs_that_share_a_task_and_a_run_keep_their_counts_apart(warehouse: Warehouse) -> None:
    warehouse.create()
    warehouse.fill(5)
    assert warehouse.score("the same run").counts.scored == 5
    warehouse.job = warehouse.job.replace(name="films_again")
    assert str(warehouse.score("the same run").counts) == "read=5 scored=5 unchanged=0 rejected=0"


def test_a_retry_does_not_count_unchanged_reviews_twice(warehouse: Warehouse) -> None:
    warehouse.create()
    warehouse.fill(20)
    warehouse.score("1")
    warehouse.run("UPDATE reviews SET body = 'autre' WHERE id = 18")
    warehouse.classifier.before_batch = _fail_at_call(1)
    with pytest.raises(RuntimeError, match="planned"):
        warehouse.score("2", Rescore.CHANGED, chunk_rows=5)
    warehouse.classifier.before_batch = lambda texts: None
    assert str(warehouse.score("2", Rescore.CHANGED).counts) == "read=20 scored=1 unchanged=19 rejected=0"


def test_a_rerun_without_texts_to_classify_keeps_the_device(warehouse: Warehouse) -> None:
    warehouse.create("INTEGER")
    warehouse.fill(3)
    warehouse.insert((None, "sans id"))
    for _ in range(2):
        warehouse.score("the same run")
        assert warehouse.shards()[0].device == "stub"


def test_a_limit_counts_the_repeats_of_the_reviews_within_it_only(warehouse: Warehouse) -> None:
    warehouse.create("INTEGER")
    warehouse.fill(20)
    warehouse.insert((1, "encore"), (2, "encore"))
    assert str(warehouse.score("1", limit=1).counts) == "read=2 scored=1 unchanged=0 rejected=1"
    assert str(warehouse.score("2", limit=1).counts) == "read=2 scored=1 unchanged=0 rejected=1"
    assert str(warehouse.score("3").counts) == "read=18 scored=18 unchanged=0 rejected=0"


def test_a_run_that_is_told_to_stop_never_ends_as_success(warehouse: Warehouse) -> None:
    warehouse.create()
    warehouse.fill(20)

    def stop_in_third(texts: Sequence[str]) -> None:
        if len(warehouse.classifier.calls) >= 10:
            warehouse.stop.set()

    warehouse.classifier.before_batch = stop_in_third
    with pytest.raises(ScoringInterruptedError):
        warehouse.score("1", chunk_rows=5)
    assert len(warehouse.scores()) == 10
    assert warehouse.run("SELECT state FROM scoring_shards")[0].state == "failed"


def test_another_run_of_the_job_is_refused_while_one_holds_the_lease(warehouse: Warehouse) -> None:
    warehouse.create()
    warehouse.fill(3)
    ledger = _ledger(warehouse)
    ledger.leases.take(asked(RunKey("dag", "score", "first")))
    with pytest.raises(JobBusyError, match=r"'films' is being scored by dag\.score of first"):
        warehouse.score("second")
    assert warehouse.classifier.calls == []


def test_a_passing_failure_of_the_database_does_not_repeat_the_devices_work(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse.create()
    warehouse.fill(20)
    real = chunk_writer._write_scores
    failures = iter([True, True])

    def flaky(*args: Any) -> None:
        real(*args)
        if next(failures, False):
            raise OperationalError("COMMIT", {}, ConnectionError(), connection_invalidated=True)

    monkeypatch.setattr(chunk_writer, "_write_scores", flaky)
    monkeypatch.setattr(retry, "BACKOFF", lambda state: 0.01)
    assert warehouse.score(chunk_rows=5).counts.scored == 20
    assert len(warehouse.classifier.calls) == 20
    assert len(warehouse.scores()) == 20


def test_the_counts_of_a_run_agree_with_the_tables(warehouse: Warehouse) -> None:
    warehouse.create("INTEGER")
    warehouse.fill(40)
    warehouse.insert((41, None), (42, " "), (5, "double"), (None, "sans id"))
    summary = warehouse.score(chunk_rows=9)
    tables_, (shard,) = warehouse.tables, warehouse.shards()
    with warehouse.engine.connect() as connection:
        scored = connection.execute(select(tables_.scores).where(tables_.scores.c.shard_id == shard.id)).all()
        rejected = connection.execute(select(tables_.rejects).where(tables_.rejects.c.shard_id == shard.id)).all()
        rows = connection.scalar(text("SELECT count(*) FROM reviews"))
    counts = summary.counts
    assert (counts.scored, counts.rejected) == (len(scored), len(rejected) + sum(counts.unkeyed.values()))
    assert counts.read == rows == 44
    assert counts.tokens == sum(row.token_count for row in scored)


@pytest.mark.parametrize(
    ("options", "named"), [({"chunk_rows": 0}, "chunk_rows is 0"), ({"limit": 0}, "max_reviews is 0")]
)
def test_options_out_of_range_are_refused_by_name(options: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        asked(RunKey("dag", "score", "run"), **options)


def _fail_at_call(number: int) -> Callable[[Sequence[str]], None]:
    calls = iter(range(1, number + 1))

    def fail(texts: Sequence[str]) -> None:
        if next(calls) == number:
            raise RuntimeError("planned")

    return fail


def _ledger(warehouse: Warehouse) -> Ledger:
    ledger = warehouse.prepare().ledger
    assert ledger is not None
    return ledger


@pytest.mark.parametrize("lost", [1, 2, 3])
def test_a_commit_that_fails_for_good_fails_the_run_and_the_next_one_does_the_rest(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, lost: int
) -> None:
    warehouse.create()
    warehouse.fill(6)
    commit, commits = ChunkWriter.commit, []

    def failing(self: ChunkWriter, lease: Any, chunk: Any) -> Any:
        commits.append(chunk)
        if len(commits) == lost:
            raise ZeroDivisionError
        return commit(self, lease, chunk)

    with monkeypatch.context() as patched, pytest.raises(ZeroDivisionError):
        patched.setattr(ChunkWriter, "commit", failing)
        warehouse.score("night", chunk_rows=2)
    assert warehouse.shards()[0].state == "failed"
    assert len(warehouse.scores()) == 2 * (lost - 1)
    assert warehouse.score("night", chunk_rows=2).counts.scored == 6


def test_a_change_at_the_end_of_a_long_text_is_found(warehouse: Warehouse) -> None:
    long = "Un film sans fin. " * 20_000
    warehouse.create()
    warehouse.insert((1, long + "Bien."), (2, long))
    warehouse.score("night")
    warehouse.run("UPDATE reviews SET body = :body WHERE id = 1", body=long + "Nul !")
    counts = warehouse.score("rescore", Rescore.CHANGED).counts
    assert (counts.scored, counts.unchanged) == (1, 1)
