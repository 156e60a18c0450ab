"""Which reviews a rescore looks at again, and how many labels it changes."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from review_scoring.errors import ConfigurationError, JobBusyError, YieldedError
from review_scoring.job import Rescore
from review_scoring.request import KeyRange, RunKey, Selection, TimeRange
from review_scoring.reviews import RejectReason
from review_scoring.run.finishing import finish_run
from review_scoring.run.planning import plan_run
from review_scoring.warehouse import schema
from review_scoring.warehouse.dialects import Dialect
from review_scoring.warehouse.engine import writing
from review_scoring.warehouse.ledger import held_lease as held
from review_scoring.warehouse.ledger.ledger import Ledger
from review_scoring.warehouse.selection.shards import Shard, ShardLimits
from review_scoring.warehouse.source.table import SourceTable
from tests.run.nights import finish, plan
from tests.stubs import MODEL, Warehouse, asked

OTHER = replace(MODEL, revision="1" * 64)
NIGHT, AGAIN = RunKey("night", "score", "1"), RunKey("rescore", "score", "1")


@pytest.fixture
def warehouse(warehouse: Warehouse) -> Warehouse:
    """Thirty scored reviews and a rejected one."""
    warehouse.create()
    warehouse.fill(30)
    warehouse.insert((31, None))
    warehouse.score("before")
    return warehouse


def ledger(warehouse: Warehouse) -> Ledger:
    found = warehouse.prepare().ledger
    assert found is not None
    return found


def test_a_new_revision_scores_what_another_one_has_scored_and_nothing_twice(warehouse: Warehouse) -> None:
    assert warehouse.score("same", Rescore.REVISION).counts.read == 0
    half = warehouse.score(
        "half", shard=Shard(selection=Selection(rescore=Rescore.REVISION, keys=KeyRange(upto=10))), model=OTHER
    )
    assert str(half.counts) == "read=10 scored=10 unchanged=0 rejected=0"
    rest = warehouse.score("rest", Rescore.REVISION, model=OTHER)
    assert str(rest.counts) == "read=21 scored=20 unchanged=0 rejected=1"
    assert warehouse.score("none", Rescore.REVISION, model=OTHER).counts.read == 0
    assert {row.revision for row in warehouse.scores().values()} == {OTHER.revision}


def test_another_model_of_the_same_revision_is_another(warehouse: Warehouse) -> None:
    assert warehouse.score("2", Rescore.REVISION, model=replace(MODEL, name="another")).counts.scored == 30


def test_only_what_was_scored_in_a_time_is_scored_again(warehouse: Warehouse) -> None:
    now = datetime.now(UTC)
    warehouse.run("UPDATE review_scores SET scored_at = '2026-01-01 12:00:00.000000' WHERE review_id IN ('3', '4')")
    january = TimeRange(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC))
    warehouse.insert((100, "nouveau"))
    shard = Shard(selection=Selection(rescore=Rescore.ALL, scored=january))
    assert Shard.from_json(shard.as_json(), "integer") == shard
    assert warehouse.score("2", shard=shard).counts.read == 2
    later = Shard(selection=Selection(rescore=Rescore.ALL, scored=TimeRange(now + timedelta(days=1))))
    assert warehouse.score("3", shard=later).counts.read == 0


def test_a_key_range_is_cut_within_its_ends(warehouse: Warehouse) -> None:
    keys = KeyRange(after=5, upto=25)
    request = asked(AGAIN, rescore=Rescore.ALL, keys=keys, yields=True)
    shards = plan_run(warehouse.prepare(), request, ShardLimits(most=4, least=1))
    assert (shards[0].selection.keys.after, shards[-1].selection.keys.upto) == (5, 25)
    read = [
        warehouse.score("1", shard=shard, map_index=n, dag_id="rescore").counts.read for n, shard in enumerate(shards)
    ]
    assert sum(read) == 20
    assert finish_run(ledger(warehouse), AGAIN, shards).counts.scored == 20


def test_how_many_labels_changed_is_counted_over_all_tries(warehouse: Warehouse) -> None:
    labels = {id_: row.label for id_, row in warehouse.scores().items()}
    warehouse.run("UPDATE reviews SET body = 'x' WHERE id <= 6")
    warehouse.run("UPDATE reviews SET body = 'xy' WHERE id > 6 AND id <= 12")
    warehouse.run("UPDATE reviews SET body = 'enfin' WHERE id = 31")
    for _ in range(2):
        summary = warehouse.score("2", Rescore.ALL, chunk_rows=7)
    changed = sum(row.label != labels[id_] for id_, row in warehouse.scores().items() if id_ in labels)
    assert changed > 0
    assert summary.counts.relabelled == changed
    assert warehouse.shards()[-1].relabelled == changed


def test_a_rescore_gives_way_between_two_chunks_and_goes_on_later(warehouse: Warehouse) -> None:
    books = ledger(warehouse)
    warehouse.classifier.calls.clear()

    def want(texts: object) -> None:
        if len(warehouse.classifier.calls) == 10:
            books.preemption.request(NIGHT)

    warehouse.classifier.before_batch = want
    with pytest.raises(YieldedError):
        warehouse.score("again", Rescore.ALL, chunk_rows=5, yields=True)
    assert (warehouse.shards()[-1].state, warehouse.shards()[-1].scored) == (schema.YIELDED, 15)
    with pytest.raises(YieldedError, match="'films' is requested by night of 1"):
        warehouse.score("again", Rescore.ALL, chunk_rows=5, yields=True)
    lease = books.leases.take(asked(NIGHT))
    books.leases.end(lease, schema.SUCCESS)
    books.preemption.withdraw(NIGHT)
    summary = warehouse.score("again", Rescore.ALL, chunk_rows=5, yields=True)
    assert str(summary.counts) == "read=31 scored=30 unchanged=0 rejected=1"
    assert len(warehouse.classifier.calls) == 30


def test_a_run_that_waits_for_the_lease_makes_a_rescore_give_way(warehouse: Warehouse) -> None:
    books = ledger(warehouse)
    books.leases.take(asked(AGAIN, yields=True))
    with pytest.raises(JobBusyError):
        books.leases.take(asked(NIGHT, wait_s=0.01))
    assert books.preemption.is_requested()


def test_a_wish_is_forgotten_when_its_run_has_ended_and_after_an_hour(warehouse: Warehouse) -> None:
    books = ledger(warehouse)
    books.preemption.request(NIGHT)
    books.preemption.withdraw(RunKey("night", "score", "2"))
    assert books.preemption.is_requested()
    books.preemption.withdraw(RunKey("night", "summarise", "1"))
    assert not books.preemption.is_requested()
    books.preemption.request(NIGHT)
    warehouse.run("UPDATE scoring_jobs SET requested_until = '2026-01-01 00:00:00.000000'")
    assert not books.preemption.is_requested()


def test_a_night_whose_shard_takes_longer_than_its_wish_still_wants_the_job(warehouse: Warehouse) -> None:
    books = ledger(warehouse)
    shards = plan_run(warehouse.prepare(), asked(NIGHT), ShardLimits(most=2, least=1))
    lease = books.leases.take(asked(replace(NIGHT, map_index=0), keys=shards[0].selection.keys))
    warehouse.run("UPDATE scoring_jobs SET requested_until = '2026-01-01 00:00:00.000000'")
    books.leases.renew(lease)
    assert books.preemption.is_requested()
    books.leases.end(lease, schema.SUCCESS)
    books.preemption.withdraw(NIGHT)
    assert not books.preemption.is_requested()


def test_a_sign_of_life_of_a_run_that_has_ended_or_that_gives_way_is_no_wish(warehouse: Warehouse) -> None:
    books = ledger(warehouse)
    rescore = books.leases.take(asked(AGAIN, yields=True))
    books.leases.renew(rescore)
    assert not books.preemption.is_requested()
    books.leases.end(rescore, schema.SUCCESS)
    night = books.leases.take(asked(NIGHT))
    books.leases.end(night, schema.SUCCESS)
    books.preemption.withdraw(NIGHT)
    with writing(books.engine).begin() as connection:
        held.renew_request(connection, books.job, night, datetime.now(UTC))
    assert not books.preemption.is_requested()


def test_the_end_of_one_run_leaves_the_wish_of_another(warehouse: Warehouse) -> None:
    books = ledger(warehouse)
    day = RunKey("day", "score", "1")
    shards = plan_run(warehouse.prepare(), asked(NIGHT), ShardLimits(most=1))
    plan_run(warehouse.prepare(), asked(day), ShardLimits(most=1))
    books.preemption.withdraw(day)
    assert books.preemption.is_requested()
    warehouse.score("by hand", dag_id="operator")
    assert books.preemption.is_requested()
    books.preemption.request(day)
    books.preemption.withdraw(NIGHT)
    assert not books.preemption.is_requested()
    lease = books.leases.take(asked(day, keys=shards[0].selection.keys))
    assert books.preemption.is_requested()
    books.leases.end(lease, schema.SUCCESS)
    books.preemption.withdraw(day)
    assert not books.preemption.is_requested()


def test_the_end_of_a_rescore_leaves_the_request_of_another_task_of_its_dag_run(warehouse: Warehouse) -> None:
    books = ledger(warehouse)
    warehouse.classifier.before_batch = lambda texts: books.preemption.request(RunKey("dag", "other", "1"))
    warehouse.run("UPDATE reviews SET body = 'autre' WHERE id = 1")
    warehouse.score("1", Rescore.CHANGED, yields=True)
    assert books.preemption.is_requested()


def test_a_night_that_is_planned_wants_the_job_until_it_is_added_up(warehouse: Warehouse) -> None:
    books = ledger(warehouse)
    shards = plan_run(warehouse.prepare(), asked(NIGHT), ShardLimits(most=2, least=1))
    assert books.preemption.is_requested()
    warehouse.score("1", shard=shards[0], map_index=0, dag_id="night")
    assert books.preemption.is_requested()
    finish_run(books, NIGHT, shards)
    assert not books.preemption.is_requested()


def test_a_rescore_that_is_planned_wants_nothing_and_runs_do_not_wait_for_it(warehouse: Warehouse) -> None:
    plan_run(warehouse.prepare(), asked(AGAIN, rescore=Rescore.ALL, yields=True), ShardLimits(most=2, least=1))
    assert not ledger(warehouse).preemption.is_requested()


def rejected(warehouse: Warehouse, count: int) -> None:
    """Add rejects of two kinds, and correct the texts of the empty ones."""
    warehouse.insert(*((n, " ") for n in range(1000, 1000 + count)), *((n, None) for n in range(5000, 5003)))
    warehouse.score("rejects")
    warehouse.run("UPDATE reviews SET body = 'corrigée' WHERE id >= 1000 AND id < 5000")


def test_a_thousand_corrected_rejects_are_scored_without_a_search_of_the_source(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    rejected(warehouse, 1000)
    statements: list[str] = []
    real: Any = SourceTable.fetch

    def fetch(self: Any, statement: Any, **options: Any) -> Any:
        statements.append(str(statement))
        return real(self, statement, **options)

    prepared = warehouse.prepare()
    monkeypatch.setattr(SourceTable, "fetch", fetch)
    report = warehouse.score("again", Rescore.REJECTS, prepared=prepared, reject_reason=RejectReason.EMPTY_TEXT)
    assert str(report.counts) == "read=1000 scored=1000 unchanged=0 rejected=0"
    assert statements
    in_these = re.compile(r"WHERE reviews\.id (IN \(|= ANY)")
    assert [each for each in statements if not in_these.search(each)] == []
    assert {row.reason for row in warehouse.rejects().values()} == {"null_text"}


def test_rejects_of_all_reasons_are_tried_again_and_counted_once_however_often_a_run_is_tried(
    warehouse: Warehouse,
) -> None:
    rejected(warehouse, 10)
    for _ in range(2):
        report = warehouse.score("again", Rescore.REJECTS)
        assert str(report.counts) == "read=14 scored=10 unchanged=0 rejected=4"
    assert {row.attempts for row in warehouse.rejects().values()} == {2}
    assert warehouse.runs()[-1].rescore == "rejects"


def test_rejects_are_split_into_shards(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    if warehouse.engine.dialect.name in {"sqlite", "duckdb"}:
        pytest.skip("one writer at a time gets one shard")
    monkeypatch.setattr(Dialect, "id_page_rows", 7)
    rejected(warehouse, 40)
    shards = plan(warehouse, "again", most=3, rescore=Rescore.REJECTS, limit=30)
    assert len(shards) == 3
    for index, shard in enumerate(shards):
        warehouse.score("again", shard=shard, map_index=index)
    report = finish(warehouse, shards, "again")
    assert (report.counts.scored + report.counts.rejected, report.waiting.reviews) == (30, 14)


def test_rejects_cannot_be_filtered_by_the_order_of_the_source() -> None:
    with pytest.raises(ConfigurationError, match="above and upto cannot be used with rescore='rejects'"):
        Selection(rescore=Rescore.REJECTS, keys=KeyRange(after=5))
    with pytest.raises(ConfigurationError, match="reject_reason is for rescore='rejects' only"):
        Selection(rescore=Rescore.ALL, reject_reason=RejectReason.EMPTY_TEXT)
