"""The list of jobs: its order, what it costs, who sees which job, and jobs of which nothing can be read."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import cast

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import ColumnElement, Engine, event, update

from review_scoring.airflow.web import dag_runs, job_lines
from review_scoring.airflow.web.dag_runs import DagRunState, DagState
from review_scoring.airflow.web.job_lines import JobLine
from review_scoring.airflow.web.run_history import Overdue, RunLine
from review_scoring.airflow.web.sparkline import Bar, sparkline
from review_scoring.job import Rescore
from review_scoring.warehouse.engine import writing
from review_scoring.warehouse.history.daily_labels import DailyLabels
from review_scoring.warehouse.ledger.jobs import find_job
from tests.airflow.web.app_state import state, without_login
from tests.stubs import Warehouse

Pages = Callable[..., TestClient]
KEYS = {"source_conn_id": "reviews", "source_table": "reviews", "text_column": "body"}


def define(monkeypatch: pytest.MonkeyPatch, *names: str, **others: dict[str, str]) -> None:
    jobs = {**dict.fromkeys(names, KEYS), **others}
    monkeypatch.setenv("AIRFLOW_VAR_REVIEW_SCORING_JOBS", json.dumps(jobs))


def score(
    warehouse: Warehouse, job: str, run_id: str = "run 1", rescore: Rescore = Rescore.NOTHING, limit: int | None = None
) -> None:
    warehouse.job = warehouse.job.replace(name=job)
    warehouse.score(run_id, rescore, dag_id=f"score_{job}", limit=limit)


def set_runs(warehouse: Warehouse, job: str, *which: ColumnElement[bool], **values: object) -> None:
    """Change those runs of a job for which conditions hold."""
    with writing(warehouse.engine).begin() as connection:
        record = find_job(connection, warehouse.tables, job)
        assert record is not None
        runs = warehouse.tables.runs
        connection.execute(update(runs).where(runs.c.job_id == record.id, *which).values(values))


def date_back(warehouse: Warehouse, job: str, by: timedelta) -> None:
    """Move the only run of the only job to an earlier time."""
    at = datetime.now(UTC) - by
    set_runs(warehouse, job, started_at=at, ended_at=at)
    with writing(warehouse.engine).begin() as connection:
        connection.execute(update(warehouse.tables.shards).values(started_at=at, ended_at=at))


def rows(client: TestClient, path: str = "/") -> dict[str, str]:
    """Return the texts of the lines by job, in their order."""
    body = client.get(path).text.split("<tbody>")[1].split("</tbody>")[0]
    texts = [re.sub(r"\s+", " ", re.sub(r"<[^>]+>|&nbsp;", " ", row)).strip() for row in body.split("</tr>")[:-1]]
    return {text.split(" ")[0]: text for text in texts}


CHECKS = '{"verdicts": [{"name": "labels", "state": "STATE", "figure": 1, "limit": 0, "text": "-"}], "figures": {}}'


def test_jobs_that_need_attention_come_first(
    pages: Pages, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse.create()
    warehouse.fill(40)
    names = ("a_fine", "b_warned", "c_new", "d_unlikely", "e_failed", "h_fine")
    define(monkeypatch, *names, g_wrong={"source_conn_id": "reviews", "tabel": "reviews"})
    for name in names:
        if name != "c_new":
            score(warehouse, name)
    set_runs(warehouse, "e_failed", state="failed")
    set_runs(warehouse, "b_warned", checks=CHECKS.replace("STATE", "warned"))
    set_runs(warehouse, "d_unlikely", checks=CHECKS.replace("STATE", "failed"))
    found = rows(pages())
    assert list(found) == ["g_wrong", "e_failed", "d_unlikely", "b_warned", "a_fine", "c_new", "h_fine"]
    assert "The scoring setup is incomplete." in found["g_wrong"]
    assert "1 check failed" in found["d_unlikely"]
    assert "1 check warned" in found["b_warned"]
    assert "has not run yet" in found["c_new"]
    assert re.search(r"success .* 0 min ago 0 Label shares on 1 of 30 days; on the newest: ", found["a_fine"])


def test_a_rescore_hides_neither_the_last_success_nor_what_it_left_waiting(
    pages: Pages, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse.create()
    warehouse.fill(10)
    define(monkeypatch, "books", "films")
    score(warehouse, "films", limit=4)
    date_back(warehouse, "films", timedelta(days=3))
    score(warehouse, "films", "again", Rescore.ALL)
    found = rows(pages())["films"]
    assert "rescore" in found
    assert "3 days ago 6 Label shares" in found


def test_a_run_whose_checks_failed_is_not_the_last_success(
    pages: Pages, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse.create()
    warehouse.fill(10)
    define(monkeypatch, "books", "films")
    score(warehouse, "films")
    date_back(warehouse, "films", timedelta(days=3))
    checked = warehouse.tables.runs.c
    for n in range(2):
        warehouse.fill(10, first=20 + 10 * n)
        score(warehouse, "films", f"run {n + 2}", limit=6 + n)
        set_runs(warehouse, "films", checked.dag_run_id == f"run {n + 2}", checks=CHECKS.replace("STATE", "failed"))
    found = rows(pages())["films"]
    assert "success 1 check failed" in found
    assert "3 days ago 7 Label shares" in found


def test_what_a_run_left_is_a_lower_bound_if_its_minutes_ended_it_and_unknown_if_it_was_not_counted(
    pages: Pages, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse.create()
    warehouse.fill(10)
    define(monkeypatch, "books", "films")
    score(warehouse, "films", limit=4)
    warehouse.run("UPDATE scoring_shards SET ended_early = true, scored = 3, unchanged = unchanged + 1")
    client = pages()
    assert "ago more than 6 Label shares" in rows(client)["films"]
    set_runs(warehouse, "films", waiting=None)
    assert "ago \N{EN DASH} Label shares" in rows(client)["films"]


def test_the_page_takes_as_many_statements_for_six_jobs_as_for_two(
    pages: Pages, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse.create()
    warehouse.fill(5)
    names = [f"job_{n}" for n in range(6)]
    for name in names:
        score(warehouse, name)
    client = pages()
    define(monkeypatch, *names[:2])
    rows(client)
    engine: Engine = state(client).databases.engine("reviews")
    statements: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda _c, _u, statement, *_: statements.append(statement))
    counted = []
    for count in (2, 6):
        define(monkeypatch, *names[:count])
        statements.clear()
        assert len(rows(client)) == count
        counted.append(len(statements))
    assert counted[0] == counted[1]


def test_a_database_that_does_not_answer_affects_its_own_jobs_only(
    pages: Pages, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse.create()
    warehouse.fill(5)
    score(warehouse, "films")
    monkeypatch.setenv("AIRFLOW_CONN_DOWN", "postgresql://nobody:s3cret@127.0.0.1:9/gone")
    define(monkeypatch, "films", books={**KEYS, "target_conn_id": "down"}, posts={**KEYS, "target_conn_id": "no_such"})
    client = pages()
    found = rows(client)
    assert list(found) == ["books", "posts", "films"]
    assert "The warehouse does not answer." in found["books"]
    assert "The scoring setup is incomplete." in found["posts"]
    assert "success" in found["films"]
    assert "s3cret" not in client.get("/").text
    monkeypatch.setattr(job_lines, "PATIENCE_S", -1.0)
    assert "Not read: another database took too long" in rows(client)["films"]


def test_tables_of_an_earlier_version_are_said_and_tables_that_are_missing_are_no_problem(
    pages: Pages, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse.create()
    define(monkeypatch, "books", "films")
    client = pages()
    assert "has not run yet" in rows(client)["films"]
    warehouse.fill(5)
    score(warehouse, "films")
    warehouse.run("DROP VIEW review_labels")
    warehouse.run("ALTER TABLE scoring_shards RENAME TO of_an_earlier_version")
    assert "The scoring tables do not exist, or are from an earlier version." in rows(client)["films"]


def test_only_the_jobs_whose_dags_the_user_may_read_are_listed_and_asked_about(
    pages: Pages, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse.create()
    define(monkeypatch, "books", "films", "posts")
    asked: list[set[str]] = []

    def states(dag_ids: set[str], **_: object) -> dict[str, DagState]:
        asked.append(dag_ids)
        return {}

    monkeypatch.setattr(dag_runs, "dag_states", states)
    app = cast(FastAPI, pages().app)
    two = TestClient(without_login(app, {"score_films", "score_posts"}.intersection), headers={"Accept": "text/html"})
    assert list(rows(two)) == ["films", "posts"]
    assert "books" not in two.get("/jobs").text
    assert asked[0] == {"score_films", "score_posts"}
    one = TestClient(without_login(app, {"score_films"}.intersection), headers={"Accept": "text/html"})
    assert "<h1>Overview</h1>" in one.get("/").text
    none = TestClient(without_login(app, lambda _: set()), headers={"Accept": "text/html"})
    assert none.get("/jobs").status_code == 403


def test_a_run_that_is_overdue_or_failed_before_it_scored_is_known_from_airflow(
    pages: Pages, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse.create()
    warehouse.fill(3)
    define(monkeypatch, "books", "films", "posts")
    score(warehouse, "films")
    date_back(warehouse, "films", timedelta(days=2))
    now = datetime.now(UTC)
    due = now - timedelta(hours=3)
    failed = DagRunState(
        dag_id="score_posts", dag_run_id="1", state="failed", is_scheduled=False, due_at=now, started_at=now
    )
    states = {
        name: DagState(dag_id=name, is_paused=True, has_import_errors=False, next_due_at=next_due, runs=newest)
        for name, next_due, newest in (("score_films", due, []), ("score_posts", None, [failed]))
    }
    monkeypatch.setattr(dag_runs, "dag_states", lambda ids, **_: states)
    found = rows(pages())
    assert list(found) == ["posts", "films", "books"]
    assert "failed" in found["posts"]
    assert "overdue The DAG is paused." in found["films"]


def test_the_navigation_leads_to_the_list_only_if_there_are_several_jobs(
    pages: Pages, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse.create()
    link = '<a href="./">All jobs</a>'
    assert link not in pages().get("/reviews").text
    define(monkeypatch, "books", "films")
    client = pages()
    assert link in client.get("/reviews?job=films").text
    assert "<h1>Overview</h1>" in client.get("/?job=films").text
    assert '<a href="./" aria-current="page">All jobs</a>' in client.get("/").text


def test_a_sparkline_has_a_column_for_each_day_in_which_shares_fill_the_height() -> None:
    days = [
        DailyLabels(date(2026, 11, 1), {"pos": (1, 1.0)}),
        DailyLabels(date(2026, 11, 24), {"pos": (30, 27.0), "neg": (10, 9.0)}),
    ]
    drawn = sparkline(days, date(2026, 11, 25), 3)
    assert drawn.width == 12
    assert drawn.bars == [Bar("neg", 4, 18.0, 6.0), Bar("pos", 4, 0.0, 18.0)]
    assert drawn.summary == "Label shares on 1 of 3 days; on the newest: 25% neg, 75% pos."
    assert sparkline([], date(2026, 11, 25), 3).summary == "No labels."


def test_labels_of_other_names_have_different_colours_in_a_sparkline() -> None:
    stars = {f"{n} stars": (10, 9.0) for n in range(1, 5)}
    drawn = sparkline([DailyLabels(date(2026, 11, 25), stars)], date(2026, 11, 25), 3)
    assert [bar.colour for bar in drawn.bars] == ["c1", "c2", "c3", "c4"]


def test_the_order_of_attention_is_total() -> None:
    now = datetime.now(UTC)
    late = Overdue("score_a", now, None, "The DAG is paused.")
    runs = {
        state: RunLine("score_a", "1", state, now, (), None) for state in ("failed", "stalled", "running", "success")
    }
    ordered = [
        JobLine("a", "score_a", problem="gone"),
        JobLine("a", "score_a", last=runs["failed"]),
        JobLine("a", "score_a", last=runs["stalled"], overdue=late),
        JobLine("a", "score_a", last=runs["stalled"]),
        JobLine("a", "score_a", last=runs["running"]),
        JobLine("a", "score_a", last=runs["success"]),
    ]
    assert [line.attention for line in ordered] == [0, 1, 2, 3, 6, 7]
    assert JobLine("a", "score_a").attention == 7
