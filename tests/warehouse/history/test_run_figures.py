"""The figures that the checks judge agree with the tables."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from review_scoring.job import Rescore
from review_scoring.request import RunKey
from review_scoring.warehouse.engine import writing
from review_scoring.warehouse.history.run_figures import SCORE_EDGES, RunFigures, past_runs, run_figures
from review_scoring.warehouse.ledger.verdicts import Verdict, figures_in, verdicts_in
from tests.stubs import Warehouse
from tests.warehouse.history.reading import date_back, record

BACK = timedelta(days=30)


def figures(warehouse: Warehouse, run: str) -> RunFigures:
    with warehouse.engine.connect() as connection:
        found = run_figures(connection, record(warehouse), key=RunKey("dag", "score", run))
    assert found is not None
    return found


def test_what_a_run_wrote_is_counted_in_the_tables(warehouse: Warehouse) -> None:
    warehouse.create()
    warehouse.fill(70)
    warehouse.insert((100, None), (101, " "), (102, " "))
    warehouse.score("1", chunk_rows=16)
    warehouse.fill(10, first=200)
    warehouse.score("2")
    with writing(warehouse.engine).begin() as connection:
        connection.execute(text("UPDATE review_scores SET score = 0.4 WHERE review_id = '1'"))
        connection.execute(text("UPDATE review_scores SET score = 0.6, truncated = TRUE WHERE review_id = '2'"))
        connection.execute(text("UPDATE review_scores SET score = 1.0 WHERE review_id = '3'"))
    found = figures(warehouse, "1")
    mine = [row for row in warehouse.scores().values() if int(row.review_id) <= 70]
    upto = [sum(row.score <= edge for row in mine) for edge in SCORE_EDGES[1:]]
    assert (found.scores.scored, found.scores.truncated) == (70, 1)
    assert list(found.scores.by_score) == [b - a for a, b in zip([0, *upto], upto, strict=False)]
    assert found.scores.uncertain == sum(row.score <= 0.6 for row in mine)
    assert found.reasons == Counter({"empty_text": 2, "null_text": 1})
    assert (found.counts.scored, found.counts.rejected, found.is_cut, found.newest_at) == (70, 3, False, None)
    assert (found.model, found.revision, found.is_rescore) == ("stub", "0" * 64, False)
    assert figures(warehouse, "2").scores.scored == 10


def test_a_run_that_has_not_begun_has_no_figures(warehouse: Warehouse) -> None:
    warehouse.create()
    warehouse.score("1")
    with warehouse.engine.connect() as connection:
        assert run_figures(connection, record(warehouse), key=RunKey("dag", "score", "2")) is None
    assert figures(warehouse, "1").scores.by_score == (0,) * 10, "a run without reviews"


def test_past_runs_are_those_with_new_reviews_before_a_time(warehouse: Warehouse) -> None:
    warehouse.create()
    for n, back in enumerate((40, 3, 2, 1)):
        warehouse.fill(10 + n, first=100 * n)
        warehouse.score(str(n))
        date_back(warehouse, str(n), timedelta(days=back))
    warehouse.score("a rescore", Rescore.ALL)
    date_back(warehouse, "a rescore", timedelta(days=2))
    newest = figures(warehouse, "3").started_at
    with warehouse.engine.connect() as connection:
        found = past_runs(connection, record(warehouse), before=newest, back=BACK)
    assert [each.counts.scored for each in found] == [11, 12]
    assert [each.scores for each in found] == [None, None]


def test_verdicts_and_figures_are_kept_until_the_run_is_scored_again(warehouse: Warehouse) -> None:
    warehouse.create()
    warehouse.fill(40)
    warehouse.score("1")
    key, ledger = RunKey("dag", "score", "1"), warehouse.prepare().existing_ledger
    verdict = Verdict("rejects", "passed", 0.25, 0.5, "a sentence with an \xe9 and a \u2019")
    for state in ("failed", "passed"):
        again = Verdict("rejects", state, 0.25, 0.5, "a sentence with an \xe9 and a \u2019")
        ledger.verdicts.write(key, [again], figures(warehouse, "1").scores.as_json())
    (row,) = warehouse.runs()
    assert verdicts_in(row.checks) == (verdict,)
    assert figures_in(row.checks)["scored"] == 40
    with warehouse.engine.connect() as connection:
        (past,) = past_runs(connection, record(warehouse), before=row.started_at + BACK, back=2 * BACK)
    assert (past.scores, past.has_failed) == (figures(warehouse, "1").scores, False)
    ledger.verdicts.write(key, [verdict, Verdict("labels", "failed", 1.0, 0.5, "")], {})
    with warehouse.engine.connect() as connection:
        (past,) = past_runs(connection, record(warehouse), before=row.started_at + BACK, back=2 * BACK)
    assert (past.scores, past.has_failed) == (None, True)
    warehouse.score("1")
    assert warehouse.runs()[0].checks is None


def test_the_newest_review_is_the_highest_time_that_the_run_has_seen(warehouse: Warehouse) -> None:
    if warehouse.engine.dialect.name == "sqlite":
        pytest.skip("SQLite has no times that could be a cursor")
    warehouse.job = warehouse.job.replace(cursor_column="added")
    warehouse.create(extra=", added TIMESTAMP NULL")
    warehouse.fill(3)
    for n in (1, 3, 2):
        warehouse.run("UPDATE reviews SET added = :at WHERE id = :id", at=datetime(2026, 11, n, 10), id=n)
    warehouse.score("1")
    assert figures(warehouse, "1").newest_at == datetime(2026, 11, 3, 10, tzinfo=UTC)
    warehouse.score("2", limit=1)
    assert figures(warehouse, "2").newest_at == datetime(2026, 11, 3, 10, tzinfo=UTC), "a run with a budget, too"
    warehouse.score("3", Rescore.ALL)
    assert figures(warehouse, "3").newest_at is None
