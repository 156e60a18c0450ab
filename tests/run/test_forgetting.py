"""Reviews whose ids somebody names are erased at once, unless the source still has them."""

from __future__ import annotations

import pytest

from review_scoring.errors import ConfigurationError, ErasureRefusedError
from review_scoring.warehouse.evaluations.records import LabelledReview
from tests.run.nights import night
from tests.run.reconciliations import OF_TABLE, dump, erasures, forgotten, load_set
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
    assert [(row.was, row.benchmark_texts, row.reason) for row in erasures(scored)] == [
        ("score", 1, "requested"),
        (None, 0, "requested"),
    ]
    assert "un texte qui a changé" not in dump(scored)


def test_a_review_that_was_never_scored_loses_its_text_in_a_benchmark_set(scored: Warehouse) -> None:
    load_set(scored, [LabelledReview("77", "du jeu seulement", "neg")], OF_TABLE)
    assert forgotten(scored, "77").erased.benchmark_texts == 1
    assert [(row.was, row.shard_id, row.benchmark_texts) for row in erasures(scored)] == [(None, None, 1)]


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
    assert len(erasures(scored)) == 2


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
