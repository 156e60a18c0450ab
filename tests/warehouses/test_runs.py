"""Runs over an emulated warehouse: in shards, with the ledger in a server, and killed between two of their chunks."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial

import pytest

from review_scoring.warehouse.ledger.counts import Counts
from tests.conftest import ENGINES
from tests.exactly_once.worker import Telemetry, kill_at, start
from tests.run.nights import night
from tests.stubs import Warehouse, predicted
from tests.warehouses.conftest import Emulated
from tests.warehouses.processes import reopened
from tests.warehouses.test_source import body, create, fill, with_updates

SHARDS = 3
CHUNK = 10
KILLS = (0, 2, 3)
"""After so many commits of its own, or one more, each try is killed; the run has ten chunks."""


@pytest.fixture(params=["postgresql", "mariadb"])
def in_server(request: pytest.FixtureRequest, scored: Warehouse) -> Warehouse:
    """A job that reads from an emulated warehouse, and keeps its scores in a server."""
    return replace(scored, target=request.getfixturevalue(ENGINES[request.param]))


def assert_scored_once(scored: Warehouse, *numbers: int) -> None:
    """Compare the tables with the reviews of these numbers, and the counts of the shards with the tables."""
    found = scored.scores()
    assert found.keys() == {str(n) for n in numbers}
    assert {review_id: row.label for review_id, row in found.items()} == {
        str(n): predicted(body(n)).label for n in numbers
    }
    counts = sum((Counts.from_row(shard) for shard in scored.shards()), Counts())
    assert (counts.read, counts.scored, counts.rejected) == (len(numbers), len(numbers), 0)


def test_shards_share_a_run_whose_ledger_is_in_a_server(warehouse: Emulated, in_server: Warehouse) -> None:
    with_updates(in_server)
    create(warehouse)
    fill(warehouse, 1, 90)
    assert night(in_server, "1", most=SHARDS).counts.scored == 90
    assert [shard.scored for shard in in_server.shards()] == [30] * SHARDS
    assert_scored_once(in_server, *range(1, 91))
    fill(warehouse, 200, 205)
    warehouse.run("UPDATE {table} SET body = 'autre', updated_at = '2026-05-02 00:00:00' WHERE id = 7")
    assert night(in_server, "2", most=SHARDS).counts.read == 7
    found = in_server.scores()
    assert found.keys() == {str(n) for n in (*range(1, 91), *range(200, 206))}
    assert found["7"].label == predicted("autre").label


def test_a_run_that_is_killed_between_its_chunks_loses_and_doubles_nothing(
    warehouse: Emulated, scored: Warehouse
) -> None:
    create(warehouse)
    fill(warehouse, 1, 100)
    scored.prepare()
    reopen = partial(reopened, warehouse.name, dict(os.environ))
    for commits in KILLS:
        telemetry = Telemetry.fresh()
        telemetry.hold.value = commits  # the worker waits there, so that it cannot end before it is killed
        assert kill_at(start(scored, "night", telemetry, chunk_rows=CHUNK, reopen=reopen), telemetry, commits + 0.5)
        assert len(scored.scores()) % CHUNK == 0
    assert CHUNK * sum(KILLS) <= len(scored.scores()) < 100
    assert scored.score("night", chunk_rows=CHUNK).counts.scored == 100
    assert_scored_once(scored, *range(1, 101))
    assert scored.score("afterwards").counts.read == 0
