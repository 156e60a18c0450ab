"""The pages on all databases, with a stub in place of the model."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from datetime import timedelta
from itertools import product
from urllib.parse import unquote_plus

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import delete, update
from sqlalchemy.exc import DBAPIError

from review_scoring.airflow.web.pages import rejects
from review_scoring.airflow.web.pages import reviews as reviews_page
from review_scoring.airflow.web.selected_job import SelectedJob
from review_scoring.job import Rescore
from review_scoring.warehouse.engine import writing
from review_scoring.warehouse.errors import Fault, fault_of
from tests.airflow.web.app_state import state
from tests.run.test_retention import age, applied
from tests.stubs import Warehouse

Pages = Callable[..., TestClient]

ADDRESSES = ("/", "/reviews", "/rejects", "/models", "/review?id=1")
HOSTILE = {
    1: "<script>alert(1)</script>",
    2: "a" * 10_000,
    3: "\u202e\u0641\u064a\u0644\u0645\u202e </td></table><img src=x onerror=alert(2)>",
    4: "{{ 7 * 7 }} {% raw %} ' \" &lt;b&gt;",
}


def test_before_the_first_run_each_page_shows_the_next_step(pages: Pages, warehouse: Warehouse) -> None:
    warehouse.create()
    warehouse.fill(3)
    client = pages()
    assert "Nothing has been scored yet" in client.get("/").text
    assert "Nothing has been scored yet" in client.get("/reviews").text
    assert "No review is rejected" in client.get("/rejects").text
    assert "It is waiting for the next run" in client.get("/review?id=1").text
    assert client.get("/live-counts").json()["waiting"] == 3
    assert client.get("/progress").json() == {"run": None}


def test_the_overview_shows_what_the_last_run_did(pages: Pages, warehouse: Warehouse) -> None:
    warehouse.create()
    warehouse.fill(40)
    warehouse.insert((100, None), (101, "  "))
    warehouse.score("run 1")
    warehouse.insert((102, "late"), (103, "later"))
    client = pages()
    shown = client.get("/").text
    assert "run 1" not in shown.split("<main")[0]
    assert "../dags/dag/runs/run%201" in shown
    for words in ("Labels per day", "Mean score per day", "Throughput per run", "success", "stub"):
        assert words in shown
    counted = client.get("/live-counts").json()
    assert (counted["waiting"], counted["scored"], counted["rejected"]) == (2, 40, 2)
    assert {each["reason"]: each["count"] for each in counted["rejects"]} == {"null_text": 1, "empty_text": 1}
    progress = client.get("/progress").json()
    assert (progress["state"], progress["read"], progress["scored"], progress["rejected"]) == ("success", 42, 40, 2)

    warehouse.score("run 2")
    assert client.get("/live-counts").json()["waiting"] == 0, "counted again after the end of a run"
    shown = client.get("/run", params={"dag_id": "dag", "run_id": "run 2"}).text
    assert "films: 2 reviews read, 2 scored" in shown
    assert client.get("/run", params={"dag_id": "dag", "run_id": "run 9"}).status_code == 404


def test_pages_do_without_the_record_of_a_run_that_retention_has_removed(pages: Pages, warehouse: Warehouse) -> None:
    warehouse.create()
    warehouse.fill(10)
    warehouse.insert((11, None))
    warehouse.score("old")
    age(warehouse, "old", 500)
    warehouse.insert((100, "bien"), (101, "mal"))
    warehouse.score("new")
    client = pages()
    addresses = ("/review?id=1", "/review?id=11", "/reviews", "/rejects")
    before = {address: client.get(address).text for address in addresses}
    assert "run_id=old" in client.get("/").text
    assert applied(warehouse).runs == 1
    for address, shown in before.items():
        assert client.get(address).text == shown
    assert "run_id=old" not in client.get("/").text
    assert "run_id=new" in client.get("/").text
    counted = client.get("/live-counts").json()
    assert (counted["scored"], counted["rejected"]) == (12, 1)
    gone = client.get("/run", params={"dag_id": "dag", "run_id": "old"})
    assert gone.status_code == 404
    assert "its record was removed after keep_runs_days" in gone.text


def test_a_rescore_is_marked_and_excluded_from_the_charts(pages: Pages, warehouse: Warehouse) -> None:
    warehouse.create()
    warehouse.fill(40)
    warehouse.score("run 1")
    client = pages()
    before = client.get("/").text
    assert "rescore" not in before
    warehouse.score("again", Rescore.ALL)
    after = client.get("/").text
    assert "Rescores are excluded from the charts" in after
    assert after.count('<span class="state">rescore</span>') == 3, "in the card, the panel and the list of runs"
    assert re.findall(r"<figure.*?</figure>", after, re.DOTALL) == re.findall(r"<figure.*?</figure>", before, re.DOTALL)
    assert "rescore" in client.get("/run", params={"dag_id": "dag", "run_id": "again"}).text
    assert "rescore" not in client.get("/run", params={"dag_id": "dag", "run_id": "run 1"}).text


def test_an_hourly_schedule_is_charted_by_day_and_compared_with_a_month(pages: Pages, warehouse: Warehouse) -> None:
    warehouse.create()
    warehouse.fill(1)
    warehouse.score("0")
    with writing(warehouse.engine).begin() as connection:
        runs, shards = warehouse.tables.runs, warehouse.tables.shards
        run = connection.execute(runs.select()).one()._asdict()
        shard = connection.execute(shards.select()).one()._asdict() | {"read": 100, "scored": 100}
        connection.execute(delete(shards))
        connection.execute(delete(runs))
        del run["id"], shard["id"]
        midnight = run["started_at"].replace(hour=0, minute=0, second=0, microsecond=0)
        for day, hour in product(range(40), range(0, 24, 6)):
            at = midnight - timedelta(days=day) + timedelta(hours=hour)
            bad = 90 if day == 0 else 50 + day % 3
            counts = json.dumps({"neg": [bad, 0.8 * bad], "pos": [100 - bad, 0.8 * (100 - bad)]})
            times = {"started_at": at, "ended_at": at}
            new = connection.execute(runs.insert().values({**run, "dag_run_id": f"{day} {hour}", **times}))
            assert new.inserted_primary_key is not None
            of_run = {"run_id": new.inserted_primary_key[0], "label_counts": counts}
            connection.execute(shards.insert().values({**shard, **of_run, **times}))
    shown = pages().get("/").text
    labels = shown[shown.index("Labels per day") : shown.index("Mean score per day")]
    days = re.findall(r'<time datetime="([\d-]+)" data-day>', labels)
    assert len(days) == 40
    assert days == sorted(set(days))
    assert re.findall(r'<tr class="unusual".*?<time datetime="([\d-]+)"', labels, re.DOTALL) == days[-1:]
    warned = re.search(r"The share of pos is unusual:</strong>(.*?)</p>", shown, re.DOTALL)
    assert warned is not None
    warning = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", warned[1])).split(" (")[0].strip()
    assert warning == f"10.0 % on {days[-1]}, compared with 46.6 % to 51.4 % in the previous 28 days"


def test_the_total_of_a_run_in_progress_is_shown_if_known(pages: Pages, warehouse: Warehouse) -> None:
    warehouse.create()
    warehouse.fill(8)
    warehouse.score("run 1")
    warehouse.fill(2, first=9)
    client = pages()
    assert client.get("/live-counts").json()["total"] is None, "no run is in progress"

    def in_progress(**values: object) -> tuple[int | None, int | None]:
        state(client).live_counts.clear()
        runs, shards = warehouse.tables.runs, warehouse.tables.shards
        until = warehouse.shards()[-1].lease_until + timedelta(hours=1)
        with writing(warehouse.engine).begin() as connection:
            connection.execute(update(shards).values(state="running", ended_at=None, lease_until=until))
            connection.execute(update(runs).values(state="running", ended_at=None, **values))
        found = client.get("/live-counts").json()
        return found["waiting"], found["total"]

    assert in_progress(read=8) == (2, 10)
    assert in_progress(max_reviews=9) == (2, 9)
    assert in_progress(max_reviews=100) == (2, 10)
    assert in_progress(max_reviews=None, rescore="all") == (2, None)


def test_the_total_of_a_run_stays_while_cached_counts_are_shown(pages: Pages, warehouse: Warehouse) -> None:
    if warehouse.engine.dialect.name == "duckdb":
        pytest.skip("DuckDB is read only when nothing writes")
    warehouse.create()
    warehouse.fill(10)
    client = pages()
    totals: list[tuple[int, int, int]] = []

    def look(texts: object) -> None:
        found, progress = client.get("/live-counts").json(), client.get("/progress").json()
        totals.append((found["total"], found["waiting"], progress["read"]))

    warehouse.classifier.before_batch = look
    warehouse.score(chunk_rows=2)
    assert [total for total, _, _ in totals] == [10] * 5
    assert totals[-1][2] > totals[0][2], "the run has made progress"


def test_a_run_that_has_committed_nothing_yet_shows_no_zeros_and_no_device(pages: Pages, warehouse: Warehouse) -> None:
    warehouse.create()
    warehouse.fill(3)
    warehouse.score("run 1")
    shards = warehouse.tables.shards
    nothing = {"read": 0, "scored": 0, "tokens": 0, "device": None, "device_seconds": 0.0, "label_counts": "{}"}
    until = warehouse.shards()[-1].lease_until + timedelta(hours=1)
    with writing(warehouse.engine).begin() as connection:
        connection.execute(update(shards).values(state="running", ended_at=None, lease_until=until, **nothing))
    client = pages()
    for address in ("/", "/run?dag_id=dag&run_id=run 1"):
        shown = client.get(address).text
        facts = dict(re.findall(r"<dt>([^<]+)</dt><dd>([^<]*)</dd>", shown))
        assert (facts["Read"], facts["Scored"], facts["Reviews/s"]) == ("\N{EN DASH}",) * 3
        assert facts["Device"] == "known after the first commit"
    assert client.get("/progress").json()["begun"] is False


def test_hostile_texts_are_shown_as_texts(pages: Pages, warehouse: Warehouse) -> None:
    warehouse.create("VARCHAR(200) PRIMARY KEY")
    warehouse.insert(*((str(n), text) for n, text in HOSTILE.items()), ("<b>7</b>&'\"", None))
    warehouse.score()
    client = pages()
    listed = client.get("/reviews").text
    for n, text in HOSTILE.items():
        whole = client.get("/review", params={"id": str(n)}).text
        assert str(html.escape(text, quote=False)) in whole.replace("&#39;", "'").replace("&#34;", '"'), n
        for shown in (listed, whole):
            assert "<script>alert" not in shown
            assert "<img src=x" not in shown
    assert "49" not in re.sub(r'<time.*?</time>|[^>]*">', "", listed)
    rejected = client.get("/rejects").text
    assert "<b>7" not in rejected
    assert "&lt;b&gt;7&lt;/b&gt;" in rejected
    named = re.search(r"review\?job=films&amp;id=([^\"]+)", rejected)
    assert named is not None
    assert unquote_plus(html.unescape(named[1])) == "<b>7</b>&'\""


def test_paging_shows_every_review_once_the_least_certain_first(pages: Pages, warehouse: Warehouse) -> None:
    warehouse.create()
    warehouse.fill(3 * reviews_page.ROWS + 7)
    warehouse.score()
    client = pages()
    address, seen = "/reviews?job=films", list[str]()
    for _ in range(4):
        shown = client.get(address).text
        seen += re.findall(r'id=(\d+)"><bdi>', shown)
        following = re.search(r'rel="next" href="(reviews\?[^"]+)"', shown)
        address = "/" + html.unescape(following[1]) if following else ""
    assert address == ""
    scores = {key: row.score for key, row in warehouse.scores().items()}
    assert seen == sorted(scores, key=lambda key: (scores[key], key))


def test_reviews_of_one_score_are_not_lost_between_two_pages(pages: Pages, warehouse: Warehouse) -> None:
    warehouse.create()
    warehouse.fill(2 * reviews_page.ROWS + 3)
    warehouse.score()
    warehouse.run("UPDATE review_scores SET score = 0.7")
    client = pages()
    address, seen = "/reviews", list[str]()
    while address:
        shown = client.get(address).text
        seen += re.findall(r'id=(\d+)"><bdi>', shown)
        following = re.search(r'rel="next" href="(reviews\?[^"]+)"', shown)
        address = "/" + html.unescape(following[1]) if following else ""
    assert seen == sorted(warehouse.scores())


def test_filters_give_what_the_table_has(pages: Pages, warehouse: Warehouse) -> None:
    warehouse.create()
    warehouse.fill(60)
    warehouse.score()
    client = pages()

    def found(**asked: str) -> set[str]:
        return set(re.findall(r'id=(\d+)"><bdi>', client.get("/reviews", params=asked).text))

    rows = warehouse.scores()
    low = sorted(row.score for row in rows.values())[14]
    wanted = {key for key, row in rows.items() if row.label == "pos" and row.score <= low}
    assert found(label="pos", score_to=str(low)) == wanted
    left_empty = dict.fromkeys(("score_from", "scored_from", "scored_to", "model", "truncated", "after_id", "job"), "")
    assert found(label="pos", score_to=str(low), **left_empty) == wanted
    assert found(model="another") == set()
    assert found(truncated="yes") == set()
    assert found(scored_from="2020-01-01", scored_to="2020-12-31") == set()
    day = next(iter(rows.values())).scored_at.date().isoformat()
    assert found(scored_from=day, scored_to=day, score_to=str(low), truncated="no", model="stub") == {
        key for key, row in rows.items() if row.score <= low
    }


@pytest.mark.parametrize("asked", ["score_from=x", "score_to=7", "scored_from=yesterday", "id=" + "a" * 300])
def test_invalid_fields_are_named(pages: Pages, warehouse: Warehouse, asked: str) -> None:
    warehouse.create()
    address = "/review" if asked.startswith("id") else "/reviews"
    answer = pages().get(f"{address}?{asked}")
    assert answer.status_code == 422
    assert "Check these fields" in answer.text


def test_texts_can_be_hidden(pages: Pages, warehouse: Warehouse) -> None:
    warehouse.create()
    warehouse.insert((1, "Un secret de famille"))
    warehouse.score()
    assert "Un secret" in pages().get("/reviews").text
    client = pages(hide_texts=True)
    for address in ADDRESSES:
        assert "Un secret" not in client.get(address).text
    assert "Texts are hidden in this deployment" in client.get("/review?id=1").text


def test_a_review_with_a_hidden_text_is_not_reported_as_missing(pages: Pages, warehouse: Warehouse) -> None:
    warehouse.create()
    warehouse.fill(1)
    shown = pages(hide_texts=True).get("/review?id=1").text
    assert "neither scored nor rejected" in shown
    assert "Whether it is waiting for the next run is unknown" in shown
    assert "The source does not contain it" not in shown


@pytest.mark.parametrize("id_", [str(2**63), "9" * 20, "-" + "9" * 30])
def test_a_number_beyond_64_bits_finds_no_review(pages: Pages, warehouse: Warehouse, id_: str) -> None:
    warehouse.create("BIGINT PRIMARY KEY")
    warehouse.fill(1)
    answer = pages().get(f"/review?id={id_}")
    assert answer.status_code == 200
    assert "The source does not contain it either" in answer.text


def test_rejects_are_listed_with_what_to_do(
    pages: Pages, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rejects, "ROWS", 4)
    warehouse.create("INTEGER")
    warehouse.insert(*((n, None) for n in range(6)), (10, ""), (11, "bon"), (11, "mauvais"), (None, "sans id"))
    warehouse.score()
    client = pages()
    shown = client.get("/rejects").text
    for words in ("null_text", "empty_text", "duplicate_id", "null_id", "correct the source", "make the id unique"):
        assert words in shown
    seen = re.findall(r'id=(\d+)"><bdi>', shown)
    following = re.search(r'rel="next" href="(rejects\?[^"]+)"', shown)
    assert following is not None
    seen += re.findall(r'id=(\d+)"><bdi>', client.get("/" + html.unescape(following[1])).text)
    assert sorted(seen, key=int) == ["0", "1", "2", "3", "4", "5", "10"]
    assert re.findall(r'id=(\d+)"><bdi>', client.get("/rejects?reason=empty_text").text) == ["10"]


def test_the_pages_connection_cannot_write(pages: Pages, warehouse: Warehouse) -> None:
    warehouse.create()
    warehouse.engine.dispose()
    app = state(pages())
    engine = SelectedJob(app.known_jobs.all()["films"], ("films",), app.databases).engine
    with pytest.raises(DBAPIError) as error, engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO reviews (id, body) VALUES (1, 'x')")
    assert fault_of(error.value) is Fault.READ_ONLY
