"""What is recorded of reviews that left the source is found, and erased only if that is plausible."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, event

from review_scoring.errors import ErasureRefusedError
from review_scoring.job import OnDelete, Rescore
from review_scoring.warehouse.engine import make_engine
from review_scoring.warehouse.erasure import Erasure, ErasureRequest
from review_scoring.warehouse.evaluations.records import LabelledReview
from review_scoring.warehouse.ledger.transactions import JobTransactions
from tests.conftest import seeds
from tests.run.nights import NEWEST, finish, night, plan
from tests.run.reconciliations import (
    OF_TABLE,
    dump,
    erasures,
    load_set,
    opened,
    reconciled,
    store_of,
    texts,
)
from tests.stubs import Warehouse

TEN = range(1, 11)


def body(number: int) -> str:
    return f"critique {number}, que personne ne doit relire"


@pytest.fixture
def scored(warehouse: Warehouse) -> Warehouse:
    """Forty reviews: one of them, 10, is empty and rejected, the others are scored."""
    warehouse.create()
    warehouse.insert(*((n, " " if n == 10 else body(n)) for n in range(1, 41)))
    night(warehouse, "first")
    return warehouse


def delete(warehouse: Warehouse, last: int = 10) -> None:
    warehouse.run("DELETE FROM reviews WHERE id <= :last", last=last)


def test_ten_of_forty_deleted_reviews_leave_nothing_but_a_row_each_in_erasures(scored: Warehouse) -> None:
    labelled = [LabelledReview(str(n), body(n), "neg") for n in (7, 8, 11)]
    loaded = load_set(scored, labelled)
    delete(scored)
    report = reconciled(scored)
    assert report.line == ("recorded=40 deleted=10 scores=9 rejects=1 benchmark_texts=2 superseded_texts=0 erased=10")
    assert sorted(map(int, {**scored.scores(), **scored.rejects()})) == list(range(11, 41))
    rows = erasures(scored)
    assert {row.review_hash for row in rows} == {hashlib.sha256(str(n).encode()).digest() for n in TEN}
    assert len(rows) == 10
    assert sorted(row.erased_from for row in rows) == ["reject", *["score"] * 9]
    assert {(row.reason, row.requested_by, row.erased_in) for row in rows} == {
        ("deleted", "alice", "reconcile_reviews of week 1")
    }
    assert [each.text for each in store_of(scored).reviews(loaded.id)] == [body(11), None, None]
    scored.run("DROP TABLE reviews")  # what is left is ours
    everything = dump(scored)
    assert body(11) in everything
    assert [n for n in range(1, 10) if body(n) in everything] == []


def test_a_second_reconciliation_finds_nothing(scored: Warehouse) -> None:
    delete(scored)
    reconciled(scored)
    report = reconciled(scored, "reconcile_reviews of week 2")
    assert (report.recorded, report.deleted, report.erased.reviews if report.erased else None) == (30, 0, 0)
    assert len(erasures(scored)) == 10


@pytest.mark.parametrize("how", [{"on_delete": OnDelete.KEEP}, {"dry_run": True}])
def test_without_being_asked_to_nothing_is_erased(scored: Warehouse, how: dict[str, Any]) -> None:
    delete(scored)
    before = dump(scored)
    report = reconciled(scored, **how)
    assert (report.deleted, report.erased) == (10, None)
    assert report.paragraph.endswith("Nothing was erased.")
    assert dump(scored) == before


def test_an_emptied_source_is_refused_whatever_the_limit(scored: Warehouse) -> None:
    delete(scored, 40)
    with pytest.raises(ErasureRefusedError, match="reviews has no reviews, so nothing was erased"):
        reconciled(scored, max_share=1.0)
    assert len(scored.scores()) == 39


def test_more_than_the_limit_is_refused_with_the_share_and_the_limit(scored: Warehouse) -> None:
    delete(scored)
    with pytest.raises(
        ErasureRefusedError, match=r"10 of 40 recorded reviews \(25.0%\) .*limit of 5.0%, so nothing was erased"
    ):
        reconciled(scored, max_share=0.05)
    assert erasures(scored) == []
    assert reconciled(scored, max_share=0.25).deleted == 10


def test_a_source_that_is_emptied_while_reviews_are_erased_loses_no_more_than_the_limit(
    scored: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("review_scoring.run.reconciling.PAGE_ROWS", 4)
    delete(scored, 4)
    erase = Erasure.erase

    def then_reload(self: Erasure, ids: Sequence[str], asked: ErasureRequest) -> None:
        erase(self, ids, asked)
        if ids:
            delete(scored, 36)  # the table is being loaded again: four reviews are there

    monkeypatch.setattr(Erasure, "erase", then_reload)
    with pytest.raises(ErasureRefusedError, match="while reviews were being erased"):
        reconciled(scored, max_share=0.2)
    assert 4 <= len(erasures(scored)) <= 8


def test_a_killed_reconciliation_goes_on_and_reports_all_that_it_erased(
    scored: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    delete(scored)
    monkeypatch.setattr("review_scoring.warehouse.erasure.ROWS_PER_TRANSACTION", 3)
    whole, done = Erasure._erase, [0, 0]

    def then_die(self: Erasure, connection: Connection, ids: Sequence[str], request: ErasureRequest) -> None:
        if not done:
            raise KeyboardInterrupt
        done.pop()
        whole(self, connection, ids, request)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Erasure, "_erase", then_die)
        reconciled(scored, max_share=0.25)
    assert len(erasures(scored)) == 6
    report = reconciled(scored, max_share=0.25)
    assert report.erased is not None
    assert (report.deleted, report.erased.reviews) == (4, 10)


def test_an_old_run_that_is_cleared_after_an_erasure_still_adds_up(scored: Warehouse) -> None:
    shards = plan(scored, "first")
    delete(scored)
    reconciled(scored)
    scored.score("first", shard=shards[0], map_index=0)
    assert str(finish(scored, shards, "first").counts) == "read=40 scored=39 unchanged=0 rejected=1"


def test_an_erased_review_that_comes_back_is_scored_again_and_its_runs_add_up(scored: Warehouse) -> None:
    delete(scored)
    reconciled(scored)
    scored.insert((3, body(3)))
    assert str(night(scored, "second").counts) == "read=1 scored=1 unchanged=0 rejected=0"
    shards = plan(scored, "first")
    scored.score("first", shard=shards[0], map_index=0)
    finish(scored, shards, "first")


@pytest.mark.parametrize("ids", ["texts", "uuids"])
def test_ids_of_every_type_are_compared_as_they_are(warehouse: Warehouse, ids: str) -> None:
    kinds: dict[str, tuple[str, list[object]]] = {
        "texts": ("VARCHAR(40) PRIMARY KEY", ["a1", "A1", "a1 ", "é", "%", "007", "'"]),
        "uuids": ("UUID PRIMARY KEY", [UUID(int=n) for n in range(7)]),
    }
    if ids == "uuids" and warehouse.engine.dialect.name == "sqlite":
        pytest.skip("SQLite has no UUIDs")
    type_, all_ids = kinds[ids]
    warehouse.create(type_)
    warehouse.insert(*((id_, f"texte {n}") for n, id_ in enumerate(all_ids)))
    night(warehouse)
    assert reconciled(warehouse).line.startswith("recorded=7 deleted=0 ")
    warehouse.run("DELETE FROM reviews WHERE body IN ('texte 1', 'texte 5')")
    assert reconciled(warehouse, max_share=0.3).deleted == 2
    assert set(warehouse.scores()) == {str(id_) for n, id_ in enumerate(all_ids) if n not in {1, 5}}


def test_source_and_ledger_may_be_in_different_databases(scored: Warehouse, tmp_path: Path) -> None:
    scored.target = make_engine(f"sqlite:///{tmp_path}/ledger.db")
    night(scored, "elsewhere")
    delete(scored)
    assert reconciled(scored).deleted == 10
    assert len(scored.scores()) == 30
    scored.target.dispose()


def test_ids_of_a_column_without_a_type_are_found_in_sqlite(sqlite_engine: Engine) -> None:
    warehouse = Warehouse(sqlite_engine)
    warehouse.run("CREATE TABLE reviews (id PRIMARY KEY, body TEXT)")
    warehouse.insert((7, "un"), ("8", "deux"), ("neuf", "trois"))
    night(warehouse)
    assert len(warehouse.scores()) == 3
    assert reconciled(warehouse).deleted == 0


def test_texts_under_the_ids_of_a_set_from_the_same_table_are_erased_though_they_were_edited(
    scored: Warehouse,
) -> None:
    old = [LabelledReview("7", "un texte d'avant", "neg"), LabelledReview("11", "un autre", "neg")]
    of_table = load_set(scored, old, OF_TABLE)
    of_file = load_set(scored, [LabelledReview("8", "du fichier", "neg")], name="of file")
    delete(scored)
    assert reconciled(scored).found.benchmark_texts == 1
    assert [each.text for each in store_of(scored).reviews(of_table.id)] == ["un autre", None]
    assert [each.text for each in store_of(scored).reviews(of_file.id)] == ["du fichier"]


def test_texts_that_only_an_earlier_content_of_a_set_has_are_erased_and_written_again_with_it(
    scored: Warehouse,
) -> None:
    first = [LabelledReview("a", "gardé", "neg"), LabelledReview("b", "parti", "neg")]
    loaded = load_set(scored, first)
    load_set(scored, first[:1])
    other = load_set(scored, [LabelledReview("x", "d'un autre jeu", "neg")], name="other")
    assert reconciled(scored, dry_run=True).found.superseded_texts == 1
    assert texts(scored) == 3
    reconciled(scored)
    assert [(each.erased_from, each.benchmark_texts) for each in erasures(scored)] == [(None, 1)]
    assert [each.text for each in store_of(scored).reviews(loaded.id)] == ["gardé", None]
    assert [each.text for each in store_of(scored).reviews(other.id)] == ["d'un autre jeu"]
    load_set(scored, first)
    assert [each.text for each in store_of(scored).reviews(loaded.id)] == ["gardé", "parti"]


def test_an_erased_text_stays_erased_when_its_set_is_loaded_again(scored: Warehouse) -> None:
    labelled = [LabelledReview("7", body(7), "neg"), LabelledReview("11", body(11), "neg")]
    loaded = load_set(scored, labelled)
    delete(scored)
    reconciled(scored)
    load_set(scored, labelled)
    assert [each.text for each in store_of(scored).reviews(loaded.id)] == [body(11), None]


def test_the_number_of_recorded_reviews_is_that_of_the_rows(scored: Warehouse) -> None:
    delete(scored)
    reconciled(scored)
    assert opened(scored).ledger.shards.recorded() == 30


def test_a_nightly_run_after_an_erasure_reads_nothing(scored: Warehouse) -> None:
    delete(scored)
    reconciled(scored)
    assert night(scored, "second", **NEWEST).counts.read == 0


@pytest.mark.parametrize("seed", seeds(1, 4))
def test_after_any_nights_deletions_rescores_and_erasures_every_run_adds_up(warehouse: Warehouse, seed: int) -> None:
    draw = random.Random(seed)  # noqa: S311 reproducible, not secret
    warehouse.create()
    warehouse.fill(30)
    there, count, plans, erased = set(range(1, 31)), 30, {"night 0": plan(warehouse, "night 0")}, 0
    night(warehouse, "night 0")
    for number in range(1, 6):
        for _ in range(draw.randrange(0, 6)):
            gone = draw.choice(sorted(there))
            warehouse.run("DELETE FROM reviews WHERE id = :id", id=gone)
            there.remove(gone)
        new = range(count + 1, count + 1 + draw.randrange(0, 8))
        back = set(draw.sample(range(1, count + 1), 3)) - there
        for n in [*new, *sorted(back)]:
            warehouse.insert((n, " " if n % 9 == 0 else body(n)))
        there, count = there | set(new) | back, count + len(new)
        rescore = draw.choice((Rescore.NOTHING, Rescore.NOTHING, Rescore.ALL))
        name, most = f"night {number}", draw.choice((1, 3))
        plans[name] = plan(warehouse, name, most, rescore=rescore)
        for index, shard in enumerate(plans[name]):
            if draw.random() < 0.3:
                erased += reconciled(warehouse, f"within {name} {index}").deleted
            warehouse.score(name, shard=shard, map_index=index, rescore=rescore, chunk_rows=5)
        if draw.random() < 0.5:
            erased += reconciled(warehouse, f"before the end of {name}").deleted
        finish(warehouse, plans[name], name)
        old = draw.choice(sorted(plans))
        for index, shard in enumerate(plans[old]):
            warehouse.score(old, shard=shard, map_index=index, rescore=shard.selection.rescore)
        finish(warehouse, plans[old], old)
    erased += reconciled(warehouse, "last").deleted
    night(warehouse, "last")
    assert {*warehouse.scores(), *warehouse.rejects()} == set(map(str, there))
    assert len(erasures(warehouse)) == erased > 0


@pytest.mark.parametrize(("share", "deleted"), [(0.29, 29), (0.03, 3), (0.0, 0)])
def test_a_share_that_is_just_the_limit_is_erased(warehouse: Warehouse, share: float, deleted: int) -> None:
    warehouse.create()
    warehouse.fill(100)
    night(warehouse)
    delete(warehouse, deleted)
    report = reconciled(warehouse, max_share=share)
    assert (report.deleted, report.erased and report.erased.reviews) == (deleted, deleted)
    delete(warehouse, deleted * 2 + 1)
    with pytest.raises(ErasureRefusedError, match="more than the limit"):
        reconciled(warehouse, "again", max_share=share)


def test_the_rows_of_a_run_and_its_erasures_are_counted_in_one_statement(scored: Warehouse) -> None:
    shards = opened(scored).ledger.shards
    statements: list[str] = []

    def note(*arguments: Any) -> None:
        statements.append(arguments[2])

    event.listen(scored.engine, "before_cursor_execute", note)
    counted = shards.rows_of([row.id for row in scored.shards()])
    event.remove(scored.engine, "before_cursor_execute", note)
    assert counted == (39, 1)
    assert len([each for each in statements if "erasures" in each or "review_scores" in each]) == 1


@pytest.mark.parametrize("engine", ["postgresql", "mariadb"], indirect=True)
def test_two_reconciliations_at_once_erase_an_earlier_text_once(scored: Warehouse) -> None:
    load_set(scored, [LabelledReview(str(n), f"ancien {n}", "neg") for n in range(50)])
    load_set(scored, [LabelledReview("a", "nouveau", "neg")])
    with ThreadPoolExecutor(2) as pool:
        reports = list(pool.map(partial(reconciled, scored), ["one", "two"]))
    assert sum(each.erased.superseded_texts for each in reports if each.erased) == 50
    assert len(erasures(scored)) == 50
    assert texts(scored) == 1


def test_an_earlier_text_of_a_set_keeps_no_review_of_the_job_from_being_scored(warehouse: Warehouse) -> None:
    warehouse.create()
    warehouse.fill(5)
    night(warehouse, "first")
    load_set(warehouse, [LabelledReview("6", "ancien", "neg")])
    load_set(warehouse, [LabelledReview("6", "nouveau", "neg")])
    warehouse.fill(1, first=6)

    def reconcile_meanwhile(texts: Sequence[str]) -> None:
        reconciled(warehouse)

    warehouse.classifier.before_batch = reconcile_meanwhile
    assert night(warehouse, "second").counts.scored == 1
    assert [(each.erased_from, each.reason) for each in erasures(warehouse)] == [(None, "superseded")]


def test_a_commit_whose_answer_was_lost_is_recognised_though_a_review_of_it_was_erased_meanwhile(
    scored: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored.insert(*((n, body(n)) for n in range(41, 46)))
    whole = JobTransactions._write
    lost: list[str] = []

    def losing(self: JobTransactions, what: str, work: Callable[[Connection], Any]) -> Any:
        result = whole(self, what, work)
        if what == "committing a chunk" and not lost:
            lost.append(what)
            scored.run("DELETE FROM reviews WHERE id = 42")
            reconciled(scored)
            return whole(self, what, work)
        return result

    monkeypatch.setattr(JobTransactions, "_write", losing)
    report = night(scored, "second", chunk_rows=3)
    assert (lost, report.counts.scored) == (["committing a chunk"], 5)
    assert {"41", "43", "44", "45"} <= set(scored.scores())
