"""Metrics: what a run emits through Airflow's StatsD client, received by a listener while a real DAG run scores."""

from __future__ import annotations

import json
import logging
import re
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from importlib.util import find_spec
from typing import Any

import pytest
from sqlalchemy import Engine

from review_scoring.airflow import metrics
from review_scoring.airflow.compat import Stats
from review_scoring.airflow.metrics import METRICS, Sample, check_samples, run_samples
from review_scoring.demo import sample_reviews
from review_scoring.run.report import RunReport
from review_scoring.warehouse.ledger.counts import NONE, Counts, Tally
from review_scoring.warehouse.ledger.verdicts import FAILED, PASSED, SKIPPED, Verdict
from tests.airflow.runner import AirflowHome
from tests.airflow.test_score_reviews_dag import fill, query
from tests.conftest import LONG_FORM
from tests.requirements import not_here

REPORT = RunReport(
    job="film_reviews",
    counts=Counts(
        read=10, scored=6, unchanged=1, rejected=3, tokens=99, relabelled=2, labels={"neg": (2, 1.5), "pos": (4, 3.75)}
    ),
    model="french-reviews-small",
    revision="f" * 64,
    device="cpu bfloat16",
    seconds=2.5,
    reviews_per_second=100.0,
    waiting=Tally(7),
    waiting_since=datetime.fromtimestamp(1_799_900_000, UTC),
)
VERDICTS = [
    Verdict("labels", FAILED, 0.9, 0.8, "90.0% are neg."),
    Verdict("rejects", PASSED, 0.1, 0.5, "1 of 10 reviews were rejected."),
    Verdict("volume", SKIPPED, None, None, "There is too little to compare."),
]


def samples() -> list[Sample]:
    return [*run_samples(REPORT, 1_800_000_000.4), *check_samples("film_reviews", VERDICTS)]


def test_a_run_emits_what_its_report_says() -> None:
    values = {
        each.name.removeprefix("review_scoring.run."): each.value for each in run_samples(REPORT, 1_800_000_000.4)
    }
    assert values.pop("label_share") == pytest.approx(4 / 6, abs=1e-6)
    assert values == {
        "read": 10,
        "scored": 6,
        "rejected": 3,
        "unchanged": 1,
        "relabelled": 2,
        "waiting": 7,
        "oldest_waiting_seconds": 100_000,
        "seconds": 2.5,
        "reviews_per_second": 100.0,
        "tokens": 99,
        "ended": 1_800_000_000,
    }


def test_the_age_of_the_oldest_waiting_review_is_emitted_where_it_is_known() -> None:
    def emitted(**changes: Any) -> list[float]:
        found = run_samples(replace(REPORT, **changes), 1_800_000_000.4)
        return [each.value for each in found if each.name == "review_scoring.run.oldest_waiting_seconds"]

    assert emitted(waiting_since=None) == []
    assert emitted(waiting_since=None, waiting=NONE) == [0]
    assert emitted(waiting_since=datetime(2030, 1, 1, tzinfo=UTC)) == [0]  # written by a clock that is ahead


def test_every_metric_is_listed_with_its_tags_and_every_listed_one_is_emitted() -> None:
    listed = {metric.name: metric.tags for metric in METRICS}
    emitted = {each.name: tuple(each.tags) for each in samples()}
    assert emitted == listed


def test_a_check_is_in_one_state_and_a_skipped_one_has_no_figure() -> None:
    found = list(check_samples("film_reviews", VERDICTS))
    states = {(each.tags["check"], each.tags["state"]): each.value for each in found if "state" in each.tags}
    assert {key for key, value in states.items() if value} == {
        ("labels", "failed"),
        ("rejects", "passed"),
        ("volume", "skipped"),
    }
    assert len(states) == 12, "the state of the run before is set to 0"
    figures = {each.tags["check"]: each.value for each in found if each.name == "review_scoring.check.figure"}
    assert figures == {"labels": 0.9, "rejects": 0.1}


@pytest.fixture
def gauges(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, float, dict[str, str]]]:
    """What the code under test gives to Airflow's Stats."""
    found: list[tuple[str, float, dict[str, str]]] = []
    monkeypatch.setattr(Stats, "gauge", lambda name, value, tags: found.append((name, value, tags)))
    return found


def test_plain_statsd_gets_the_tags_in_the_name_and_a_dot_in_a_tag_adds_no_part(
    gauges: list[tuple[str, float, dict[str, str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__METRICS__STATSD_ON", "True")
    metrics.emit_checks("films.v2", [Verdict("labels", PASSED, 0.5, 0.8, "")])
    assert ("review_scoring.check.figure.films_v2.labels", 0.5) in [each[:2] for each in gauges]


def test_a_backend_with_tags_gets_the_listed_name(
    gauges: list[tuple[str, float, dict[str, str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__METRICS__OTEL_ON", "True")
    metrics.emit_run(REPORT)
    assert {name for name, _, _ in gauges} == {each.name for each in run_samples(REPORT, 0)}
    assert gauges[0][2] == {"scoring_job": "film_reviews", "model": "french-reviews-small", "kind": "new"}


def test_a_label_with_characters_of_the_protocol_is_emitted_all_the_same(
    gauges: list[tuple[str, float, dict[str, str]]],
) -> None:
    counts = Counts(read=1, scored=1, labels={"très bon: 4,5=|": (1, 0.5)})
    report = RunReport(**{**vars(REPORT), "counts": counts})
    metrics.emit_run(report)
    assert [tags["label"] for _, _, tags in gauges if "label" in tags] == ["tr_s_bon__4_5__"]


def test_an_error_of_the_backend_is_logged_and_fails_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*given: Any, **more: Any) -> None:
        raise RuntimeError("https://user:hunter2@metrics.example.org does not answer")

    monkeypatch.setattr(Stats, "gauge", broken)
    with caplog.at_level(logging.DEBUG):
        metrics.emit_run(REPORT)
        metrics.emit_checks("film_reviews", VERDICTS)
    assert "are not emitted: RuntimeError" in caplog.text
    assert "hunter2" not in caplog.text


class Listener:
    """A StatsD server: receives what a DAG run sends to its port."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(0.2)
        self._stop = threading.Event()
        self._lines: list[str] = []
        self._thread = threading.Thread(target=self._receive)
        self._thread.start()
        self.port: int = self._socket.getsockname()[1]

    def _receive(self) -> None:
        while not self._stop.is_set():
            try:
                self._lines += self._socket.recv(65_536).decode().splitlines()
            except TimeoutError:
                continue

    def own(self) -> dict[str, float]:
        """Return the gauges of this project, by name."""
        found = (re.fullmatch(r"airflow\.(review_scoring\..+):([^:|]+)\|g", line) for line in self._lines)
        return {match[1]: float(match[2]) for match in found if match}

    def close(self) -> None:
        """Receive what is still on the way, and end."""
        self._stop.set()
        self._thread.join()
        self._socket.close()


@pytest.fixture
def listener(monkeypatch: pytest.MonkeyPatch) -> Iterator[Listener]:
    """A StatsD server to which the DAG runs of a test send."""
    if find_spec("statsd") is None:
        not_here("statsd is not installed; the extra `statsd` brings it")
    found = Listener()
    monkeypatch.setenv("AIRFLOW__METRICS__STATSD_ON", "True")
    monkeypatch.setenv("AIRFLOW__METRICS__STATSD_HOST", "127.0.0.1")
    monkeypatch.setenv("AIRFLOW__METRICS__STATSD_PORT", str(found.port))
    yield found
    found.close()


def in_the_tables(engine: Engine) -> dict[str, float]:
    """Return the counts of the only run as the tables have them."""
    scored = query(engine, "SELECT count(*) FROM review_scores")[0][0]
    rejected = query(engine, "SELECT count(*) FROM review_rejects")[0][0]
    tokens = query(engine, "SELECT sum(token_count) FROM review_scores")[0][0]
    shares = {
        label: n / scored for label, n in query(engine, "SELECT label, count(*) FROM review_scores GROUP BY label")
    }
    ((read, waiting),) = query(engine, "SELECT count(*), 0 FROM reviews")
    return {
        "read": read,
        "scored": scored,
        "rejected": rejected,
        "waiting": waiting,
        "oldest_waiting_seconds": 0,
        "tokens": tokens,
        "unchanged": 0,
        "relabelled": 0,
        **{f"label_share {label}": round(share, 6) for label, share in shares.items()},
    }


@pytest.mark.parametrize("tags", ["plain", pytest.param("influxdb", marks=LONG_FORM)])
def test_what_a_dag_run_emits_equals_the_counts_of_the_tables(
    airflow_home: AirflowHome, sqlite_engine: Engine, listener: Listener, tags: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__METRICS__STATSD_INFLUXDB_ENABLED", str(tags == "influxdb"))
    rows: list[tuple[int, str | None]] = [(int(r["id"]), r["text"]) for r in sample_reviews()[:40]]
    fill(sqlite_engine, [*rows, (1000, None)])
    if tags == "influxdb":  # a dry run emits nothing; once is enough
        dry = airflow_home.dags_test("score_film_reviews", sqlite_engine, {"source_table": "reviews"}, dry_run=True)
        assert dry.returncode == 0, dry.stdout
    run = airflow_home.dags_test("score_film_reviews", sqlite_engine, {"source_table": "reviews"})
    assert run.returncode == 0, run.stdout
    listener.close()
    received = listener.own()

    job, model = "film_reviews", "french-reviews-small"
    of_run = f".{job}.{model}.new" if tags == "plain" else f",scoring_job={job},model={model},kind=new"
    of_label = f"{of_run}." if tags == "plain" else f"{of_run},label="
    run_values = {
        name.removeprefix("review_scoring.run.").replace(of_label, " ").replace(of_run, ""): value
        for name, value in received.items()
        if name.startswith("review_scoring.run.")
    }
    assert run_values.pop("seconds") > 0
    assert run_values.pop("reviews_per_second") > 0
    assert run_values.pop("ended") > 1_700_000_000
    assert run_values == in_the_tables(sqlite_engine)

    verdicts = json.loads(query(sqlite_engine, "SELECT checks FROM scoring_runs")[0][0])["verdicts"]
    of_check = ".film_reviews.{}.{}" if tags == "plain" else ",scoring_job=film_reviews,check={},state={}"
    for each in verdicts:
        assert received["review_scoring.check.state" + of_check.format(each["name"], each["state"])] == 1
    assert sum(value for name, value in received.items() if name.startswith("review_scoring.check.state")) == 8
