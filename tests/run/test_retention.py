"""Retention: the records of old runs go, what they scored stays, and whatever reads the records gives the same."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, event, insert, update

from review_scoring.airflow.web.pages import overview
from review_scoring.checks import judge
from review_scoring.concurrency.cancellation import StopFlag
from review_scoring.errors import ConfigurationError, ScoringInterruptedError
from review_scoring.job import Rescore
from review_scoring.run.checking import check_run
from review_scoring.run.retention import Retention, RetentionReport, apply_retention
from review_scoring.settings import FEWEST_RUN_DAYS
from review_scoring.warehouse.engine import writing
from review_scoring.warehouse.evaluations.benchmark_store import BenchmarkStore
from review_scoring.warehouse.history.run_figures import past_runs
from review_scoring.warehouse.ledger import old_runs
from review_scoring.warehouse.ledger.counts import Counts
from review_scoring.warehouse.ledger.ledger import Ledger
from review_scoring.warehouse.schema import FAILED, RUNNING, SUCCESS
from tests.run.nights import KEY, finish, night, plan
from tests.stubs import Warehouse, asked
from tests.warehouse.history.reading import read_days, record
from tests.warehouse.ledger.test_ledger import answers_lost, chunk

YEAR = Retention(runs=365)


def applied(warehouse: Warehouse, retention: Retention = YEAR, **options: Any) -> RetentionReport:
    ledger = Ledger(warehouse.engine, record(warehouse), options.pop("stop", None))
    return apply_retention(ledger, BenchmarkStore(warehouse.engine), retention, **options)


def age(warehouse: Warehouse, run_id: str, days: int) -> None:
    """Move a run into the past, with its leases."""
    runs, shards = warehouse.tables.runs, warehouse.tables.shards
    back = timedelta(days=days)
    with writing(warehouse.engine).begin() as connection:
        for run in connection.execute(runs.select().where(runs.c.dag_run_id == run_id)).all():
            of_run = connection.execute(shards.select().where(shards.c.run_id == run.id)).all()
            for table, row in ((runs, run), *((shards, each) for each in of_run)):
                names = [name for name in ("started_at", "ended_at", "lease_until") if name in table.c]
                moved = {name: getattr(row, name) and getattr(row, name) - back for name in names}
                connection.execute(update(table).where(table.c.id == row.id).values(moved))


def moved(warehouse: Warehouse, run_id: str, values: dict[str, Any], task_id: str = "score") -> None:
    """Change the times of one task's run."""
    runs = warehouse.tables.runs
    with writing(warehouse.engine).begin() as connection:
        mine = (runs.c.dag_run_id == run_id, runs.c.task_id == task_id)
        connection.execute(update(runs).where(*mine).values(values))


def kept(warehouse: Warehouse) -> list[str]:
    """Return the DAG runs that are still recorded."""
    return [run.dag_run_id for run in warehouse.runs()]


def nights(warehouse: Warehouse, **days: int) -> None:
    """Score ten new reviews in each of some runs, which ended so many days ago."""
    for run_id, back in days.items():
        ((newest,),) = warehouse.run("SELECT coalesce(max(id), 0) FROM reviews")
        warehouse.fill(10, first=newest + 1)
        night(warehouse, run_id, most=2, least=5)
        age(warehouse, run_id, back)


@pytest.fixture
def films(warehouse: Warehouse) -> Warehouse:
    """A job with three old runs of two shards each, and a recent one."""
    warehouse.create()
    nights(warehouse, a=500, b=400, c=366, d=364)
    return warehouse


def recorded(warehouse: Warehouse) -> int:
    return Ledger(warehouse.engine, record(warehouse)).shards.recorded()


def test_old_runs_go_and_their_scores_stay(films: Warehouse) -> None:
    before, shards = films.contents(), len(films.shards())
    report = applied(films)
    assert kept(films) == ["d"]
    assert {each.dag_run_id for each in films.shards()} == {"d"}
    assert (report.runs, report.shards) == (3, shards - len(films.shards()))
    assert films.contents() == before
    assert (applied(films).runs, kept(films)) == (0, ["d"])
    night(films, "e")
    assert films.contents() == before, "what removed runs scored is not new"


def test_about_how_many_reviews_are_recorded_does_not_change(films: Warehouse) -> None:
    films.insert((1000, None))
    night(films, "rejects")
    night(films, "again", rescore=Rescore.ALL)
    for run_id in ("rejects", "again"):
        age(films, run_id, 370)
    films.fill(3, first=2000)
    night(films, "new")
    assert recorded(films) == 44
    assert applied(films).runs == 5
    assert recorded(films) == 44
    films.fill(6, first=3000)
    night(films, "newer")
    assert recorded(films) == 50


def test_the_last_run_with_a_speed_stays_and_so_does_the_newest_shard(warehouse: Warehouse) -> None:
    warehouse.create()
    nights(warehouse, a=500, b=490)
    for run_id in ("nothing new", "nothing new either"):
        night(warehouse, run_id)
        age(warehouse, run_id, 480)
    speed = warehouse.prepare().existing_ledger.shards.past_speed()
    assert speed is not None
    applied(warehouse)
    assert kept(warehouse) == ["b", "nothing new either"]
    assert warehouse.prepare().existing_ledger.shards.past_speed() == speed


def test_the_number_of_a_removed_shard_is_not_given_again(warehouse: Warehouse) -> None:
    warehouse.create()
    warehouse.insert((1, None), (2, ""))
    night(warehouse, "of rejects alone")
    age(warehouse, "of rejects alone", 500)
    applied(warehouse)
    warehouse.fill(5, first=10)
    assert night(warehouse, "new").counts.scored == 5, "counts and tables agree: its shard has no other rows"


def test_a_run_in_progress_stays_however_long_ago_it_began(films: Warehouse) -> None:
    ledger = films.prepare().existing_ledger
    apart: dict[str, Any] = {"overlap": lambda *_: False}
    lease = ledger.leases.take(asked(replace(KEY, dag_run_id="long")), **apart)
    moved(films, "long", {"started_at": films.runs()[0].started_at})
    ledger.leases.end(ledger.leases.take(asked(replace(KEY, dag_run_id="newest shard")), **apart), SUCCESS)
    applied(films)
    assert "long" in kept(films)
    ledger.chunks.commit(lease, chunk("x"))


def test_an_old_run_that_is_planned_again_stays(films: Warehouse) -> None:
    plan(films, "b")
    applied(films)
    assert "b" in kept(films)


def test_a_run_that_was_killed_and_never_resumed_goes(films: Warehouse) -> None:
    ledger = films.prepare().existing_ledger
    ledger.chunks.commit(ledger.leases.take(asked(replace(KEY, dag_run_id="killed"))), chunk("x"))
    assert films.runs()[-1].ended_at is None
    age(films, "killed", 370)
    nights(films, newest=1)
    age(films, "killed", 370)  # the newest run has taken its lease
    applied(films)
    assert kept(films) == ["d", "newest"]
    assert "x" in films.scores()


def test_a_run_that_was_killed_and_whose_lease_nobody_took_goes(films: Warehouse) -> None:
    ledger = films.prepare().existing_ledger
    ledger.leases.take(asked(replace(KEY, dag_run_id="killed")))
    apart: dict[str, Any] = {"overlap": lambda *_: False}
    ledger.leases.end(ledger.leases.take(asked(replace(KEY, dag_run_id="newest shard")), **apart), SUCCESS)
    age(films, "killed", 370)
    assert [run.dag_run_id for run in films.runs() if run.state == RUNNING and run.ended_at is None][:1] == ["killed"]
    applied(films)
    assert kept(films) == ["d", "newest shard"]


def test_what_may_have_replaced_the_scores_of_a_run_stays_as_long_as_that_run(films: Warehouse) -> None:
    shards = plan(films, "a")
    for run_id in ("again", "and again"):
        night(films, run_id, rescore=Rescore.ALL)
        age(films, run_id, 390)
    for index, shard in enumerate(shards):
        films.score("a", shard=shard, map_index=index)
    nights(films, newest=1)
    applied(films)
    assert {"a", "and again"} <= set(kept(films))
    finish(films, shards, "a")


def test_tasks_of_one_dag_run_stay_together(films: Warehouse) -> None:
    ledger = films.prepare().existing_ledger
    ledger.leases.end(ledger.leases.take(asked(replace(KEY, task_id="other", dag_run_id="d"))), FAILED)
    age(films, "d", 400)
    nights(films, newest=1)
    moved(films, "d", {"ended_at": films.runs()[-1].ended_at})
    applied(films)
    assert [run.task_id for run in films.runs() if run.dag_run_id == "d"] == ["score", "other"]


def test_a_dry_run_counts_and_removes_nothing(films: Warehouse) -> None:
    shards = len(films.shards())
    report = applied(films, dry_run=True)
    assert len(kept(films)) == 4
    assert len(films.shards()) == shards
    assert report.line == f"dry run: runs=3 shards={report.shards} predictions=0"
    removed = applied(films)
    assert (removed.runs, removed.shards) == (report.runs, report.shards)


def test_a_cleared_dag_run_whose_records_are_gone_begins_as_a_new_run(films: Warehouse) -> None:
    before = films.contents()
    applied(films)
    films.fill(2, first=500)
    assert night(films, "a", most=2, least=1).counts.scored == 2
    assert kept(films) == ["d", "a"]
    assert len(films.scores()) == len(before[0]) + 2


def test_a_cleared_scoring_task_whose_records_are_gone_begins_as_a_new_run(warehouse: Warehouse) -> None:
    warehouse.create()
    warehouse.fill(10)
    shards = plan(warehouse, "a", most=2, least=5)
    for index, shard in enumerate(shards):
        warehouse.score("a", shard=shard, map_index=index)
    finish(warehouse, shards, "a")
    age(warehouse, "a", 500)
    warehouse.fill(3, first=100)
    night(warehouse, "b")
    applied(warehouse)
    assert kept(warehouse) == ["b"]
    for index, shard in reversed(list(enumerate(shards))):
        warehouse.score("a", shard=shard, map_index=index)
    assert finish(warehouse, shards, "a").counts.scored == 0
    assert {run.dag_run_id: run.state for run in warehouse.runs()} == {"a": "success", "b": "success"}


def test_charts_and_checks_are_the_same_at_the_lowest_number_of_days(warehouse: Warehouse) -> None:
    warehouse.create()
    warehouse.fill(200)
    warehouse.score("new")
    add_a_run_a_day(warehouse, 140)
    warehouse.score("newest shard")
    ledger = warehouse.prepare().existing_ledger
    key = replace(KEY, dag_run_id="new", map_index=-1)
    back, newest = timedelta(weeks=9), warehouse.runs()[0].started_at
    with warehouse.engine.connect() as connection:
        compared = past_runs(connection, ledger.job, before=newest, back=back)
    days, report = read_days(warehouse, overview.BACK), check_run(ledger, warehouse.job.checks, key)
    assert report is not None
    assert len(days) > overview.BACK.days
    assert report.of("passed")
    assert applied(warehouse, Retention(runs=FEWEST_RUN_DAYS)).runs == 140 - FEWEST_RUN_DAYS + 1
    assert read_days(warehouse, overview.BACK) == days
    assert check_run(ledger, warehouse.job.checks, key) == report
    with warehouse.engine.connect() as connection:
        assert past_runs(connection, ledger.job, before=newest, back=back) == compared


def test_the_lowest_number_of_days_covers_what_charts_and_checks_read() -> None:
    whole_day = timedelta(days=1)
    assert timedelta(days=FEWEST_RUN_DAYS) > max(overview.BACK, judge.BACK) + whole_day


def add_a_run_a_day(warehouse: Warehouse, days: int) -> None:
    """Add runs before the only one, one a day, with a shard each and about as many labels of each kind."""
    runs, shards = warehouse.tables.runs, warehouse.tables.shards
    run = warehouse.runs()[0]._asdict()
    with writing(warehouse.engine).begin() as connection:
        shard = connection.execute(shards.select()).one()._asdict()
        del run["id"], shard["id"]
        for n in range(1, days + 1):
            back = timedelta(days=n)
            counts = Counts(read=60, scored=60, labels={"neg": (30 + n % 5, 25.0), "pos": (30 - n % 5, 25.0)})
            times = {name: run[name] - back for name in ("started_at", "ended_at")}
            of_run = {**run, **counts.as_columns(), **times, "dag_run_id": f"night {n}"}
            added = connection.execute(insert(runs).values(of_run)).inserted_primary_key
            assert added is not None
            of_shard = {**shard, **counts.as_columns(), **times, "run_id": added[0]}
            connection.execute(insert(shards).values({**of_shard, "lease_until": shard["lease_until"] - back}))


def test_a_removal_that_is_cancelled_goes_on_the_next_time(films: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(old_runs, "MOST_RUNS", 1)
    stop = StopFlag()
    with (
        statements(films.engine, "DELETE FROM scoring_runs", lambda _: stop.set()),
        pytest.raises(ScoringInterruptedError),
    ):
        applied(films, stop=stop)
    assert kept(films) == ["b", "c", "d"]
    assert recorded(films) == 40
    assert applied(films).runs == 2
    assert kept(films) == ["d"]
    assert recorded(films) == 40


def test_one_transaction_removes_a_bounded_number_of_shards(films: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(old_runs, "MOST_SHARDS", 1)
    with statements(films.engine, "DELETE FROM scoring_runs") as found:
        assert applied(films).runs == 3
    assert len(found) == 3


def test_a_run_whose_removal_fails_half_way_keeps_its_shards(films: Warehouse) -> None:
    shards = len(films.shards())

    def fail(_: str) -> None:
        raise RuntimeError("killed")

    with statements(films.engine, "DELETE FROM scoring_runs", fail), pytest.raises(RuntimeError):
        applied(films)
    assert (len(films.runs()), len(films.shards())) == (4, shards)
    assert recorded(films) == 40


def test_a_removal_whose_answer_was_lost_counts_once(films: Warehouse) -> None:
    with answers_lost(films.engine, 2):  # of the reading, and of the removal
        assert applied(films).runs == 3
    assert kept(films) == ["d"]
    assert recorded(films) == 40


def test_another_jobs_runs_stay(films: Warehouse) -> None:
    films.job = films.job.replace(name="others")
    night(films, "x")
    age(films, "x", 500)
    films.job = films.job.replace(name="films")
    applied(films)
    assert kept(films) == ["d", "x"]


@contextmanager
def statements(engine: Engine, begin: str, call: Callable[[str], object] = lambda _: None) -> Iterator[list[str]]:
    """Note the statements that begin with a text, and call a function before each of them is executed."""
    found: list[str] = []

    def note(_c: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith(begin):
            found.append(statement)
            call(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(engine, "before_cursor_execute", note)


@pytest.mark.parametrize("wrong", [{"runs": 1}, {"runs": FEWEST_RUN_DAYS - 1}, {"runs": -1}, {"predictions": -1}])
def test_a_number_of_days_that_is_too_small_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigurationError, match=r"keep_(runs|predictions)_days is -?\d+; it must"):
        Retention(**wrong)


def test_a_report_names_what_was_removed() -> None:
    report = RetentionReport(
        job="films", retention=Retention(runs=400, predictions=90), runs=1, shards=4, predictions=2734
    )
    assert report.line == "runs=1 shards=4 predictions=2734"
    assert report.paragraph == (
        "films: 1 run with 4 shards that ended more than 400 days ago and 2,734 predictions of evaluations that ended "
        "more than 90 days ago removed."
    )
    assert json.loads(json.dumps(report.as_xcom()))["shards"] == 4
    dry = replace(report, retention=Retention(predictions=90), is_dry_run=True)
    assert dry.paragraph == (
        "films: 2,734 predictions of evaluations that ended more than 90 days ago would be removed. This was a dry "
        "run; nothing was removed."
    )
