"""A nightly run finds texts that changed since they were scored, by `updated_at`, and scores them again."""

from __future__ import annotations

import random
from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import CompileError

from review_scoring.job import OnChange, Order
from review_scoring.warehouse.engine import make_engine
from tests.conftest import seeds
from tests.run.nights import NEWEST, finish, night, plan
from tests.stubs import Warehouse, predicted


@pytest.fixture
def scored(warehouse: Warehouse) -> Warehouse:
    """Forty scored reviews, changed at the times 1001 to 1040."""
    warehouse.job = warehouse.job.replace(updated_at_column="updated_at", cursor_lookback=3)
    warehouse.create(extra=", updated_at INTEGER, seq INTEGER")
    fill(warehouse, range(1, 41))
    night(warehouse, "first", **NEWEST)
    return warehouse


def fill(warehouse: Warehouse, numbers: range) -> None:
    for n in numbers:
        warehouse.run("INSERT INTO reviews VALUES (:n, :body, 1000 + :n, :n)", n=n, body=f"critique {n}")


def edit(warehouse: Warehouse, id_: int, at: int | None, body: str = "une autre critique, plus longue") -> None:
    warehouse.run("UPDATE reviews SET body = :body, updated_at = :at WHERE id = :id", id=id_, at=at, body=body)


@pytest.mark.parametrize("cursor", [None, "seq"])
def test_an_edited_review_is_read_and_scored_again_the_next_night_and_no_other(
    scored: Warehouse, cursor: str | None
) -> None:
    scored.job = scored.job.replace(cursor_column=cursor)
    night(scored, "untouched", **NEWEST)
    before = scored.scores()["7"].label
    body = "bien" if predicted("bien").label != before else "bien!"
    edit(scored, 7, 2000, body)
    report = night(scored, "edited", **NEWEST)
    assert report.line == "read=1 scored=1 unchanged=0 rejected=0 relabelled=1"
    assert scored.scores()["7"].label == predicted(body).label != before
    assert night(scored, "untouched again", **NEWEST).counts.read == 0


def test_new_and_changed_reviews_are_scored_by_one_shard(scored: Warehouse) -> None:
    fill(scored, range(50, 53))
    edit(scored, 3, 2000)
    shards = plan(scored, "both", most=4, least=1000, **NEWEST)
    assert len(shards) == 1
    scored.score("both", shard=shards[0], map_index=0)
    assert str(finish(scored, shards, "both").counts) == "read=4 scored=4 unchanged=0 rejected=0"


def test_changes_can_be_ignored(scored: Warehouse) -> None:
    scored.job = scored.job.replace(on_change=OnChange.IGNORE)
    edit(scored, 3, 2000)
    assert night(scored, "second", **NEWEST).counts.read == 0


def test_a_time_that_changed_without_the_text_is_looked_at_once(scored: Warehouse) -> None:
    scored.run("UPDATE reviews SET updated_at = 3000 WHERE id <= 5")
    assert str(night(scored, "touched", **NEWEST).counts) == "read=5 scored=0 unchanged=5 rejected=0"
    assert night(scored, "again", **NEWEST).counts.read == 0


def test_a_change_that_was_committed_late_is_found_within_the_lookback_and_else_by_the_full_comparison(
    scored: Warehouse,
) -> None:
    edit(scored, 1, 2000)
    night(scored, "second", **NEWEST)
    edit(scored, 2, 1998)
    edit(scored, 3, 1500)
    edit(scored, 4, None)
    assert night(scored, "third", **NEWEST).counts.scored == 1
    scored.run("UPDATE scoring_jobs SET compared_at = '2026-01-01 00:00:00.000000'")
    assert str(night(scored, "full", **NEWEST).counts) == "read=2 scored=2 unchanged=0 rejected=0"


def test_a_table_that_was_touched_as_a_whole_does_not_keep_new_reviews_waiting(scored: Warehouse) -> None:
    scored.job = scored.job.replace(cursor_column="seq")
    night(scored, "with a cursor", **NEWEST)
    scored.run("UPDATE reviews SET updated_at = 5000")
    fill(scored, range(60, 63))
    report = night(scored, "touched", limit=10, **NEWEST)
    assert (report.counts.scored, report.counts.unchanged) == (3, 7)
    reports = [night(scored, f"then {n}", limit=10, **NEWEST) for n in range(5)]
    assert sum(each.counts.unchanged for each in reports) == 33
    assert (reports[-1].counts.read, reports[-1].waiting.reviews) == (0, 0)


def test_a_budget_that_ends_before_the_changes_does_not_forget_them(scored: Warehouse) -> None:
    scored.job = scored.job.replace(cursor_column="seq")
    night(scored, "with a cursor", **NEWEST)
    edit(scored, 3, 1045)
    fill(scored, range(50, 71))
    assert night(scored, "new ones", limit=10, **NEWEST).waiting.reviews == 12
    night(scored, "the rest", limit=100, **NEWEST)
    assert scored.scores()["3"].source_updated_at == "1045"


def test_changes_are_found_between_two_databases(sqlite_engine: Engine, tmp_path: Any) -> None:
    warehouse = Warehouse(sqlite_engine, make_engine(f"sqlite:///{tmp_path / 'scores.db'}"))
    warehouse.job = warehouse.job.replace(updated_at_column="updated_at", cursor_column="seq")
    warehouse.create(extra=", updated_at INTEGER, seq INTEGER")
    fill(warehouse, range(1, 41))
    night(warehouse, "1", **NEWEST)
    edit(warehouse, 9, 2000)
    fill(warehouse, range(60, 62))
    assert str(night(warehouse, "2", **NEWEST).counts) == "read=3 scored=3 unchanged=0 rejected=0"


def test_a_reject_whose_text_was_corrected_is_scored(scored: Warehouse) -> None:
    edit(scored, 5, 2000, "")
    assert night(scored, "emptied", **NEWEST).counts.rejected == 1
    edit(scored, 5, 2001, "enfin un texte")
    assert night(scored, "corrected", **NEWEST).counts.scored == 1
    assert not scored.rejects()


def test_the_first_night_over_a_backlog_compares_nothing(warehouse: Warehouse) -> None:
    warehouse.job = warehouse.job.replace(updated_at_column="updated_at", cursor_column="seq", cursor_lookback=0)
    warehouse.create(extra=", updated_at INTEGER, seq INTEGER")
    fill(warehouse, range(1, 101))
    (shard,) = plan(warehouse, "1", limit=10, **NEWEST)
    (changed,) = (each for each in shard.stretches if each.changed)
    assert (changed.since, changed.upto) == (1100, None)
    night(warehouse, "2", limit=10, **NEWEST)
    edit(warehouse, 95, 2000)
    report = night(warehouse, "3", limit=10, **NEWEST)
    assert (report.counts.scored, report.counts.read) == (10, 10)
    assert warehouse.scores()["95"].source_updated_at == "2000"


def test_times_find_changes_by_the_index(postgres_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    warehouse = Warehouse(postgres_engine)
    warehouse.job = warehouse.job.replace(updated_at_column="changed", cursor_column="written", cursor_lookback=60)
    warehouse.create(extra=", written timestamptz, changed timestamptz")
    warehouse.run("CREATE INDEX reviews_changed ON reviews (changed)")
    warehouse.run("CREATE INDEX reviews_written ON reviews (written)")
    warehouse.run(
        "INSERT INTO reviews SELECT n, 'critique ' || n, t, t FROM generate_series(1, 5000) n,"
        " LATERAL (SELECT now() - (5000 - n) * interval '1 minute' AS t) AS at"
    )
    night(warehouse, "1", **NEWEST)
    warehouse.run("UPDATE reviews SET body = 'changée', changed = now() WHERE id = 77")
    shards = plan(warehouse, "2", **NEWEST)
    source = warehouse.prepare().source
    plans = []
    real: Any = type(source).fetch

    def explained(self: Any, statement: Any, **options: Any) -> Any:
        with suppress(CompileError), postgres_engine.begin() as connection:  # ids that are fetched are no literals
            compiled = statement.compile(postgres_engine, compile_kwargs={"literal_binds": True})
            connection.execute(text("SET LOCAL enable_seqscan = off"))
            plans.append("\n".join(connection.scalars(text(f"EXPLAIN {compiled}")).all()))
        return real(self, statement, **options)

    monkeypatch.setattr(type(source), "fetch", explained)
    warehouse.score("2", shard=shards[0], map_index=0)
    monkeypatch.undo()
    assert str(finish(warehouse, shards, "2").counts) == "read=1 scored=1 unchanged=0 rejected=0"
    assert any("reviews_changed" in each for each in plans)
    assert not [each for each in plans if "Seq Scan on reviews" in each]


@pytest.mark.parametrize("seed", seeds(1, 4))
def test_any_edits_and_budgets_end_with_the_scores_of_the_texts_that_are_there(warehouse: Warehouse, seed: int) -> None:
    draw = random.Random(seed)  # noqa: S311 reproducible, not secret
    warehouse.job = warehouse.job.replace(
        updated_at_column="updated_at", cursor_column=draw.choice((None, "seq")), cursor_lookback=3
    )
    warehouse.create(extra=", updated_at INTEGER, seq INTEGER")
    clock = count = 0
    for number in range(10):
        for _ in range(draw.randrange(0, 30)):
            clock += 1
            if count and draw.random() < 0.4:
                warehouse.run(
                    "UPDATE reviews SET body = :body, updated_at = :at WHERE id = :id",
                    id=draw.randrange(1, count + 1), at=clock, body=draw.choice(("", f"modifié {clock}")),
                )  # fmt: skip
            else:
                count += 1
                warehouse.run("INSERT INTO reviews VALUES (:n, 'avis', :at, :at)", n=count, at=clock)
        options = {"order": draw.choice(list(Order)), "limit": draw.choice((None, 4, 15))}
        night(warehouse, f"night {number}", most=draw.choice((1, 3)), chunk_rows=5, **options)
    warehouse.run("UPDATE scoring_jobs SET full_pass_at = '2026-01-01 00:00:00', compared_at = '2026-01-01 00:00:00'")
    assert night(warehouse, "last", **NEWEST).waiting.reviews == 0
    found = {id_: row.label for id_, row in warehouse.scores().items()}
    there = {str(row.id): row.body for row in warehouse.run("SELECT id, body FROM reviews")}
    assert found == {id_: predicted(body).label for id_, body in there.items() if body}
    assert warehouse.rejects().keys() == {id_ for id_, body in there.items() if not body}


def test_a_datetime_without_a_zone_is_compared_as_well(postgres_engine: Engine) -> None:
    warehouse = Warehouse(postgres_engine)
    warehouse.job = warehouse.job.replace(updated_at_column="changed", cursor_lookback=0)
    warehouse.create(extra=", changed timestamp")
    warehouse.run("INSERT INTO reviews SELECT n, 'un', now() - interval '2 days' FROM generate_series(1, 10) n")
    night(warehouse, "1", **NEWEST)
    warehouse.run("UPDATE reviews SET body = 'deux', changed = now() WHERE id = 3")
    assert night(warehouse, "2", **NEWEST).counts.scored == 1
