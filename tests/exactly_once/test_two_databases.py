"""Reviews in one database and scores in another of another kind: rows come late and out of order, workers die."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import text

from review_scoring.warehouse.engine import writing
from tests.conftest import PROVE
from tests.exactly_once.test_kills import differences
from tests.exactly_once.worker import Telemetry, finish, kill_at, moments, start
from tests.stubs import Warehouse, predicted

ROWS = 3000 if PROVE else 400
KILLS = 60 if PROVE else 8


@pytest.fixture(params=["mariadb to postgresql", "postgresql to mariadb"])
def apart(request: pytest.FixtureRequest) -> Warehouse:
    """A source and a target that no statement can name both."""
    source, _, target = request.param.partition(" to ")
    fixtures = {"postgresql": "postgres_engine", "mariadb": "mariadb_engine"}
    return Warehouse(request.getfixturevalue(fixtures[source]), target=request.getfixturevalue(fixtures[target]))


@contextmanager
def arriving(warehouse: Warehouse, batches: list[list[int]]) -> Iterator[Callable[[], None]]:
    """Insert each batch in a transaction of its own, which stays open while later ones are committed.

    Yields a function that waits until all are committed.
    """

    def arrive(part: list[list[int]], delay_s: float) -> None:
        for ids in part:
            with writing(warehouse.engine).begin() as connection:
                rows = [{"id": n, "body": body(n)} for n in ids]
                connection.execute(text("INSERT INTO reviews (id, body) VALUES (:id, :body)"), rows)
                threading.Event().wait(delay_s)

    threads = [threading.Thread(target=arrive, args=(batches[n::3], 0.15 * (n + 1))) for n in range(3)]

    def wait() -> None:
        for thread in threads:
            thread.join()

    for thread in threads:
        thread.start()
    try:
        yield wait
    finally:
        wait()


def body(number: int) -> str | None:
    return None if number % 50 == 0 else f"critique numéro {number} " + "mot " * (number % 7)


@pytest.mark.prove
def test_late_rows_and_killed_workers_between_two_databases_leave_every_review_scored_once(
    apart: Warehouse, capsys: pytest.CaptureFixture[str]
) -> None:
    draw = random.Random(20260601)  # noqa: S311 reproducible, not secret
    apart.create()
    apart.prepare()
    ids = draw.sample(range(-(10**9), 10**9), ROWS)
    batches = [ids[n : n + 20] for n in range(0, ROWS, 20)]
    killed: list[Telemetry] = []
    with arriving(apart, batches) as all_committed:
        for number, progress in enumerate(moments(KILLS, 6, seed=11)):
            process = start(apart, f"night {number // 3}", telemetry := Telemetry.fresh(), chunk_rows=5, batch_s=0.02)
            if kill_at(process, telemetry, progress):
                killed.append(telemetry)
            expire(apart)
        all_committed()
    finish(start(apart, "the last night", Telemetry.fresh()))

    scores, rejects = apart.scores(), apart.rejects()
    assert scores.keys() == {str(n) for n in ids if body(n) is not None}
    assert rejects.keys() == {str(n) for n in ids if body(n) is None}
    for review_id, row in scores.items():
        expected = predicted(str(body(int(review_id))))
        assert (row.label, row.score, row.token_count) == (expected.label, expected.score, expected.token_count)
    counted = apart.shards()
    assert sum(run.scored for run in counted) == len(scores)
    assert sum(run.rejected for run in counted) == len(rejects)
    assert apart.score("afterwards").counts.read == 0
    with capsys.disabled():
        commits = " ".join(str(telemetry.commits.value) for telemetry in killed)
        print(f"\nfrom {apart.engine.dialect.name}: {len(killed)} workers killed, after so many commits: {commits}")
    assert any(telemetry.commits.value for telemetry in killed)


def expire(warehouse: Warehouse) -> None:
    """Let the leases of killed runs run out at once."""
    target = Warehouse(warehouse.target or warehouse.engine)
    target.run("UPDATE scoring_shards SET lease_until = '2026-01-01 00:00:00' WHERE state = 'running'")


def test_the_tables_are_those_of_an_undisturbed_run(apart: Warehouse) -> None:
    apart.create()
    apart.insert(*((n, body(n)) for n in range(1, 200)))
    finish(start(apart, "undisturbed", Telemetry.fresh()))
    expected = apart.contents()
    target = Warehouse(apart.target or apart.engine)
    for table in ("review_scores", "review_rejects", "scoring_shards", "scoring_runs"):
        target.run(f"DELETE FROM {table}")
    for progress in moments(4, 5, seed=3):
        kill_at(start(apart, "night", telemetry := Telemetry.fresh(), batch_s=0.03), telemetry, progress)
    finish(start(apart, "night", Telemetry.fresh()))
    assert differences(apart.contents(), expected) == []
