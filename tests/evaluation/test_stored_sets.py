"""Benchmark sets in the warehouse: each text is kept once, and can be erased."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, delete, func, select

from review_scoring.warehouse.engine import writing
from review_scoring.warehouse.evaluations.records import LabelledReview
from tests.evaluation.synthetic import Bench

FIRST = [
    LabelledReview("1", "bien", "pos"),
    LabelledReview("2", "mal", "neg"),
    LabelledReview("3", None, "neg"),
    LabelledReview("4", "bien", "pos"),
]


@pytest.fixture
def bench(engine: Engine) -> Bench:
    return Bench.on(engine)


def texts(bench: Bench) -> int:
    """Return how many texts are kept."""
    with bench.store.engine.connect() as connection:
        return connection.scalar(select(func.count()).select_from(bench.store.tables.benchmark_texts)) or 0


def test_a_text_that_several_reviews_and_sets_have_is_kept_once(bench: Bench) -> None:
    first = bench.load(FIRST)
    assert texts(bench) == 2
    changed = [*FIRST[:3], LabelledReview("4", "très bien", "pos")]
    second = bench.load(changed, content="b")
    assert texts(bench) == 3
    assert (second.is_new, second.changed) == (True, True)
    assert bench.store.reviews(first.id) == FIRST
    assert bench.store.reviews(second.id) == changed


def test_four_weekly_changes_of_a_set_keep_each_text_once(bench: Bench) -> None:
    reviews = [LabelledReview(str(n), f"critique {n}", "neg") for n in range(1000)]
    for week, content in enumerate("abcd"):
        reviews[week] = LabelledReview(str(week), f"critique {week}, modifiée", "neg")
        bench.load(reviews, content=content)
    assert texts(bench) == 1000 + 3  # the first load has the first change


def test_an_erased_text_is_missing_in_every_set_and_the_labels_stay(bench: Bench) -> None:
    loaded = [bench.load(FIRST), bench.load(FIRST[:3], name="other", content="b")]
    erased = bench.store.tables.benchmark_texts
    with writing(bench.store.engine).begin() as connection:
        connection.execute(delete(erased).where(erased.c.text == "bien"))
    for each in loaded:
        assert [(r.id, r.text, r.label) for r in bench.store.reviews(each.id)][:2] == [
            ("1", None, "pos"),
            ("2", "mal", "neg"),
        ]
