"""The view `review_labels`: what an analyst joins, on every database."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Engine

from review_scoring.job import Rescore
from tests.stubs import MODEL, Warehouse

OTHER = replace(MODEL, revision="1" * 64)


def test_the_view_has_one_row_for_each_scored_review_of_a_job(warehouse: Warehouse) -> None:
    warehouse.create()
    warehouse.fill(5)
    warehouse.insert((6, None))
    warehouse.score("1")
    warehouse.fill(1, first=7)
    warehouse.score("2", Rescore.NOTHING, model=OTHER)
    films = warehouse.scores()
    warehouse.job = warehouse.job.replace(name="again")
    warehouse.score("3")
    rows = warehouse.run("SELECT job, review_id, label, score, model, revision, scored_at FROM review_labels")
    assert len(rows) == 2 * len(films)
    found = {row.review_id: row for row in rows if row.job == "films"}
    assert found.keys() == films.keys() == {"1", "2", "3", "4", "5", "7"}
    for review_id, row in found.items():
        known = films[review_id]
        assert (row.label, row.score, row.model, row.revision) == (known.label, known.score, "stub", known.revision)
    assert {row.revision for row in found.values()} == {MODEL.revision, OTHER.revision}
    assert {row.job for row in rows} == {"films", "again"}


def test_the_readmes_join_returns_a_row_for_each_review(postgres_engine: Engine) -> None:
    warehouse = Warehouse(postgres_engine)
    warehouse.job = warehouse.job.replace(name="film_reviews", target_schema="scoring")
    warehouse.create()
    warehouse.fill(4)
    warehouse.score()
    join = "SELECT r.*, l.label, l.score FROM reviews r"
    rows = warehouse.run(
        f"{join} JOIN scoring.review_labels l ON l.review_id = CAST(r.id AS text) AND l.job = 'film_reviews'"
    )
    assert len(rows) == 4
