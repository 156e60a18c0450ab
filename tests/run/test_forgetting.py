"""Reviews whose ids somebody names are erased at once, unless the source still has them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from sqlalchemy import Engine

from review_scoring.errors import ConfigurationError, ErasureRefusedError
from review_scoring.job import Rescore
from review_scoring.run.forgetting import ForgetReport
from review_scoring.warehouse.evaluations.records import LabelledReview
from tests.run.nights import finish, night, plan
from tests.run.reconciliations import OF_TABLE, dump, erasures, forgotten, load_set, store_of
from tests.stubs import Warehouse


@pytest.fixture
def scored(warehouse: Warehouse) -> Warehouse:
    """Forty scored reviews, of which 3 and 4 have left the source."""
    warehouse.create()
    warehouse.fill(40)
    night(warehouse)
    warehouse.run("DELETE FROM reviews WHERE id IN (3, 4)")
    return warehouse


def test_given_reviews_are_erased_at_once_and_no_other(scored: Warehouse) -> None:
    load_set(
        scored, [LabelledReview("3", "un texte qui a changé", "neg"), LabelledReview("5", "gardé", "neg")], OF_TABLE
    )
    report = forgotten(scored, " 3", "003", "999")
    assert report.paragraph == (
        "films: 2 ids given. 1 score, 0 rejects and 1 text of benchmark sets erased. Nothing was stored under 1 id; "
        "ids are compared exactly, with case and blanks."
    )
    assert set(scored.scores()) == {str(n) for n in range(1, 41) if n != 3}
    assert [(row.erased_from, row.benchmark_texts, row.reason) for row in erasures(scored)] == [
        ("score", 1, "requested"),
        (None, 0, "requested"),
    ]
    assert "un texte qui a changé" not in dump(scored)


def test_a_review_that_was_never_scored_loses_its_text_in_a_benchmark_set(scored: Warehouse) -> None:
    load_set(scored, [LabelledReview("77", "du jeu seulement", "neg")], OF_TABLE)
    assert forgotten(scored, "77").erased.benchmark_texts == 1
    assert [(row.erased_from, row.shard_id, row.benchmark_texts) for row in erasures(scored)] == [(None, None, 1)]


def test_a_review_that_is_still_in_the_source_is_refused(scored: Warehouse) -> None:
    with pytest.raises(ErasureRefusedError, match="2 of 3 given ids still exist in reviews, and would") as refused:
        forgotten(scored, "1", "2", "3")
    assert refused.value.ids == ("1", "2")
    assert erasures(scored) == []
    assert forgotten(scored, "1", "2", "3", even_if_in_source=True).erased.scores == 3


def test_a_dry_run_counts_and_erases_nothing(scored: Warehouse) -> None:
    before = dump(scored)
    assert forgotten(scored, "3", "4", dry_run=True).paragraph == (
        "films: 2 ids given. 2 scores, 0 rejects and 0 texts of benchmark sets would be erased."
    )
    assert dump(scored) == before


def test_another_try_reports_what_the_first_has_erased(scored: Warehouse) -> None:
    forgotten(scored, "3", "4")
    assert forgotten(scored, "3", "4").erased.scores == 2
    assert sorted(str(row.erased_from) for row in erasures(scored)) == ["None", "None", "score", "score"]


@pytest.mark.parametrize(
    ("ids", "error"),
    [
        ([], "no ids"),
        ([" ", ""], "no ids"),
        (["3", "trois", "4.5", "1_1", "٣"], "4 of 5 given ids cannot be ids of reviews"),
    ],
)
def test_what_is_no_id_is_refused(scored: Warehouse, ids: list[str], error: str) -> None:
    with pytest.raises(ConfigurationError, match=error):
        forgotten(scored, *ids)
    assert len(scored.scores()) == 40


def test_ids_that_are_texts_are_taken_as_they_are(warehouse: Warehouse) -> None:
    warehouse.create("VARCHAR(40) PRIMARY KEY")
    warehouse.insert(("a", "un"), ("a ", "deux"), ("A", "trois"))
    night(warehouse)
    warehouse.run("DELETE FROM reviews")
    forgotten(warehouse, "a ")
    assert set(warehouse.scores()) == {"a", "A"}


@pytest.mark.parametrize("rescore", [Rescore.NOTHING, Rescore.ALL])
def test_a_run_that_has_read_a_review_before_it_was_forgotten_does_not_write_it(
    warehouse: Warehouse, rescore: Rescore
) -> None:
    warehouse.create()
    warehouse.fill(10)
    if rescore is not Rescore.NOTHING:
        night(warehouse, "before")
    reports: list[ForgetReport] = []

    def forget_two(texts: Sequence[str]) -> None:
        if texts and not reports:
            warehouse.run("DELETE FROM reviews WHERE id IN (3, 4)")
            reports.append(forgotten(warehouse, "3", "4"))

    warehouse.classifier.before_batch = forget_two
    shards = plan(warehouse, "during", rescore=rescore)
    warehouse.score("during", shard=shards[0], map_index=0, rescore=rescore)
    assert finish(warehouse, shards, "during").counts.scored == 8
    assert set(warehouse.scores()) == set(map(str, range(1, 11))) - {"3", "4"}
    assert len(erasures(warehouse)) == 2


def test_a_forgotten_review_that_comes_back_during_a_run_is_not_written_when_it_is_forgotten_again(
    warehouse: Warehouse,
) -> None:
    warehouse.create()
    warehouse.fill(3)
    night(warehouse, "before")
    warehouse.run("DELETE FROM reviews WHERE id = 3")
    forgotten(warehouse, "3")
    warehouse.insert((3, "de retour"))

    def forget_again(texts: Sequence[str]) -> None:
        warehouse.run("DELETE FROM reviews WHERE id = 3")
        forgotten(warehouse, "3")

    warehouse.classifier.before_batch = forget_again
    night(warehouse, "during")
    assert set(warehouse.scores()) == {"1", "2"}


def test_a_review_that_was_forgotten_twice_is_one(scored: Warehouse) -> None:
    forgotten(scored, "1", even_if_in_source=True)
    night(scored, "again")
    report = forgotten(scored, "1", even_if_in_source=True)
    assert (report.erased.reviews, report.erased.scores) == (1, 2)
    assert "Nothing was stored" not in report.paragraph


@pytest.mark.parametrize("id_", ["99999999999", "99999999999999999999999", "-1"])
def test_a_number_that_the_column_cannot_hold_is_in_no_row(scored: Warehouse, id_: str) -> None:
    assert forgotten(scored, id_).erased.reviews == 0
    assert len(scored.scores()) == 40


def test_what_is_recorded_can_be_forgotten_though_it_is_no_id_any_more(sqlite_engine: Engine) -> None:
    warehouse = Warehouse(sqlite_engine)
    warehouse.create("INTEGER")
    warehouse.insert((1, "un"), ("8x", "deux"))
    night(warehouse)
    warehouse.run("DELETE FROM reviews WHERE id = '8x'")
    assert forgotten(warehouse, "8x").erased.scores == 1
    assert set(warehouse.scores()) == {"1"}


def test_the_text_of_another_review_in_a_set_from_the_same_table_stays(scored: Warehouse) -> None:
    same = "Super film !"
    loaded = load_set(scored, [LabelledReview("3", same, "pos"), LabelledReview("5", same, "pos")], OF_TABLE)
    of_file = load_set(scored, [LabelledReview("a", same, "pos")], name="of file")
    forgotten(scored, "3")
    assert [each.text for each in store_of(scored).reviews(loaded.id)] == [None, same]
    assert [each.text for each in store_of(scored).reviews(of_file.id)] == [same]


def test_the_id_of_a_set_by_another_column_is_not_that_of_a_review(scored: Warehouse) -> None:
    loaded = load_set(scored, [LabelledReview("3", "d'un autre", "pos")], "connection reviews, reviews (film_id)")
    forgotten(scored, "3")
    assert [each.text for each in store_of(scored).reviews(loaded.id)] == ["d'un autre"]


def test_an_empty_review_takes_no_empty_text_with_it(warehouse: Warehouse) -> None:
    warehouse.create()
    warehouse.insert((1, ""), (2, "bien"))
    night(warehouse)
    loaded = load_set(warehouse, [LabelledReview("a", "", "pos")])
    warehouse.run("DELETE FROM reviews WHERE id = 1")
    assert forgotten(warehouse, "1").erased.rejects == 1
    assert [each.text for each in store_of(warehouse).reviews(loaded.id)] == [""]
