"""A run is cut into shards that together are everything, whatever the ids are and wherever they are kept."""

from __future__ import annotations

import json
import random
import string
import uuid
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Engine, true

from review_scoring.errors import ConfigurationError, LeaseLostError, UnaccountedError
from review_scoring.job import Rescore
from review_scoring.request import RunKey, Selection
from review_scoring.run.finishing import finish_run
from review_scoring.run.planning import plan_run
from review_scoring.warehouse.ledger.ledger import Ledger
from review_scoring.warehouse.selection import shards as shards_module
from review_scoring.warehouse.selection import waiting
from review_scoring.warehouse.selection.candidates import Candidates
from review_scoring.warehouse.selection.shards import Shard, ShardLimits
from review_scoring.warehouse.source.stretches import Position
from tests.stubs import Warehouse, asked

KEY = RunKey("dag", "score", "night")
draw = random.Random(6)  # noqa: S311 reproducible, not secret


def drawn(letters: str) -> str:
    return "".join(draw.choices(letters, k=draw.randrange(1, 12)))


IDS: dict[str, list[Any]] = {
    "INTEGER PRIMARY KEY": draw.sample(range(-(10**6), 10**6), 300),
    "NUMERIC(30) PRIMARY KEY": [n * 10**20 for n in draw.sample(range(10**6), 300)],
    "VARCHAR(40) PRIMARY KEY": sorted({drawn(string.ascii_letters + " -_éà€") for _ in range(300)}),
    "UUID PRIMARY KEY": [uuid.UUID(int=draw.getrandbits(128), version=4) for _ in range(300)],
}


@pytest.fixture(params=["postgresql", "mariadb", "mariadb to postgresql"])
def shared(request: pytest.FixtureRequest) -> Warehouse:
    """A source with the scores beside it, or in a database of another kind."""
    source, _, target = request.param.partition(" to ")
    fixtures = {"postgresql": "postgres_engine", "mariadb": "mariadb_engine"}
    engines = [request.getfixturevalue(fixtures[name]) for name in (source, target) if name]
    return Warehouse(*engines)


def plan(warehouse: Warehouse, most: int, least: int = 1, run_id: str = "night", **options: Any) -> list[Shard]:
    request = asked(replace(KEY, dag_run_id=run_id), **options)
    return plan_run(warehouse.prepare(), request, ShardLimits(most=most, least=least))


def score(warehouse: Warehouse, shards: list[Shard], run_id: str = "night", **options: Any) -> list[int]:
    """Score each shard as a mapped task does, through the plain values that travel; return how many each has read."""
    id_type = warehouse.prepare().source.id_type
    travelled = [Shard.from_json(json.loads(json.dumps(shard.as_json())), id_type) for shard in shards]
    return [
        warehouse.score(run_id, shard=shard, map_index=n, **options).counts.read for n, shard in enumerate(travelled)
    ]


def ledger(warehouse: Warehouse) -> Ledger:
    found = warehouse.prepare().ledger
    assert found is not None
    return found


@pytest.mark.parametrize("declared", IDS)
def test_shards_are_of_equal_work_and_together_everything(shared: Warehouse, declared: str) -> None:
    shared.create(declared)
    shared.insert(*((id_, f"texte {n}") for n, id_ in enumerate(IDS[declared])))
    waiting = len(IDS[declared])
    shards = plan(shared, 7)
    assert len(shards) == 7
    read = score(shared, shards)
    assert sum(read) == waiting == len(shared.scores())
    assert max(read) - min(read) <= 1
    total = finish_run(ledger(shared), KEY, shards)
    assert str(total.counts) == f"read={waiting} scored={waiting} unchanged=0 rejected=0"


def test_only_what_is_new_is_cut(shared: Warehouse) -> None:
    shared.create()
    shared.fill(500)
    shared.score("before")
    shared.insert(*((n, "nouveau") for n in range(10_000, 10_040)))
    assert score(shared, plan(shared, 4)) == [10, 10, 10, 10]


def test_a_row_that_is_committed_after_the_planning_has_a_shard_wherever_its_id_falls(shared: Warehouse) -> None:
    shared.create()
    shared.insert(*((n, f"texte {n}") for n in range(0, 1000, 10)))
    shards = plan(shared, 5)
    late = (-7, 5, 195, 201, 399, 995, 5000)
    shared.insert(*((n, "en retard") for n in late))
    assert sum(score(shared, shards)) == 100 + len(late)


def test_rows_without_an_id_are_counted_by_one_shard(shared: Warehouse) -> None:
    shared.create("INTEGER")
    shared.fill(50)
    shared.insert((None, "sans id"), (None, "sans id"), (7, "encore"))
    shards = plan(shared, 5)
    score(shared, shards)
    assert str(finish_run(ledger(shared), KEY, shards).counts) == "read=53 scored=50 unchanged=0 rejected=3"


def test_an_id_that_no_key_can_hold_is_no_shards_end(shared: Warehouse) -> None:
    shared.create("TEXT PRIMARY KEY")
    shared.insert(*((f"{n:02}" + "x" * 300 * (n % 2), "texte") for n in range(20)))
    shards = plan(shared, 20)
    assert len(shards) > 5
    assert sum(score(shared, shards)) == 20
    assert str(finish_run(ledger(shared), KEY, shards).counts) == "read=20 scored=10 unchanged=0 rejected=10"


def test_ids_that_repeat_fall_into_one_shard(shared: Warehouse) -> None:
    shared.create("INTEGER")
    shared.fill(100)
    shared.insert(*((50, f"encore {n}") for n in range(20)))
    shards = plan(shared, 40)
    score(shared, shards)
    assert str(finish_run(ledger(shared), KEY, shards).counts) == "read=120 scored=100 unchanged=0 rejected=20"


def test_nothing_new_is_one_shard_that_reads_nothing_again(shared: Warehouse) -> None:
    shared.create()
    shards = plan(shared, 8)
    assert shards == [Shard(stretches=(), planned=0)]
    assert score(shared, shards) == [0]
    assert str(finish_run(ledger(shared), KEY, shards).counts) == "read=0 scored=0 unchanged=0 rejected=0"


def test_a_small_night_is_one_shard_and_a_large_one_as_many_as_its_reviews_are_worth(shared: Warehouse) -> None:
    shared.create()
    shared.fill(100)
    assert len(plan(shared, 4, least=100)) == 1
    assert len(plan(shared, 4, least=99)) == 2
    assert len(plan(shared, 4, least=10)) == 4


def test_a_limit_holds_for_the_whole_run_whatever_comes_late_and_however_often_it_is_tried(shared: Warehouse) -> None:
    shared.create()
    shared.insert(*((n * 10, f"texte {n}") for n in range(100)))
    shards = plan(shared, 4, limit=30)
    assert [shard.limit for shard in shards] == [8, 7, 8, 7]
    shared.insert(*((n * 10 + 5, f"en retard {n}") for n in range(100)))
    assert sum(score(shared, shards)) == 30
    assert score(shared, shards) == [shard.limit for shard in shards]
    assert len(shared.scores()) == 30


def test_a_limit_holds_for_a_run_that_is_planned_anew(shared: Warehouse) -> None:
    shared.create()
    shared.fill(100)
    first = plan(shared, 5, limit=40)
    score(shared, first[:3])
    again = plan(shared, 2, limit=40)
    score(shared, again)
    assert len(shared.scores()) == 40


def test_a_shard_that_another_version_has_planned_is_refused_with_what_to_do() -> None:
    values = Shard().as_json()
    del values["rescore"]
    with pytest.raises(ConfigurationError, match=r"another version .*it has no rescore.*clear the task that plans"):
        Shard.from_json(values, "integer")


def test_more_than_a_thousand_shards_are_refused_by_name() -> None:
    with pytest.raises(ConfigurationError, match="number of shards is 1001; it must be from 1 to 1000"):
        ShardLimits(most=1001)


def test_a_database_with_one_writer_gets_one_shard(sqlite_engine: Engine) -> None:
    warehouse = Warehouse(sqlite_engine)
    warehouse.create()
    warehouse.fill(100)
    shards = plan(warehouse, 8)
    assert len(shards) == 1
    assert score(warehouse, shards) == [100]


def test_few_places_are_kept_of_many_ids_and_still_cut_them_evenly(
    shared: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "MARKS", 160)
    monkeypatch.setattr(waiting._Walk, "_new", lambda *_: ((Position(id_), id_) for id_ in range(1, 100_001)))
    shared.create()
    prepared = shared.prepare()
    candidates = Candidates(prepared.source, prepared.ledger, asked(KEY))
    monkeypatch.setattr(Candidates, "condition", lambda *_: true())
    found = waiting.find_waiting(candidates)
    ends = shards_module._ends(found, 10)
    assert (found.covered, len(ends), len(found.places) < 160) == (100_000, 9, True)
    for number, place in enumerate(ends, 1):
        assert place.position.id == place.number == pytest.approx(number * 10_000, abs=100_000 / 80)


def test_the_name_of_a_shard_fits_airflow_and_says_its_range(shared: Warehouse) -> None:
    shared.create("VARCHAR(250) PRIMARY KEY")
    shared.insert(*((letter * 250, "texte") for letter in "abc"))
    names = [shard.as_json()["name"] for shard in plan(shared, 3)]
    assert names[0].startswith("up to aaa")
    assert names[1].startswith("above aaa")
    assert all(len(name) <= 250 for name in names)


def test_a_changed_text_is_found_by_the_shard_of_its_id(shared: Warehouse) -> None:
    shared.create()
    shared.fill(60)
    shared.score("before")
    shared.run("UPDATE reviews SET body = 'autre chose' WHERE id IN (3, 33, 59)")
    shards = plan(shared, 3, rescore=Rescore.CHANGED)
    assert score(shared, shards) == [20, 20, 20]
    assert str(finish_run(ledger(shared), KEY, shards).counts) == "read=60 scored=3 unchanged=57 rejected=0"


def test_a_rescore_of_all_that_is_planned_anew_scores_no_review_twice(shared: Warehouse) -> None:
    shared.create()
    shared.fill(60)
    shared.score("before")
    shared.classifier.calls.clear()
    score(shared, plan(shared, 3, rescore=Rescore.ALL)[:2])
    shards = plan(shared, 2, rescore=Rescore.ALL)
    score(shared, shards)
    assert str(finish_run(ledger(shared), KEY, shards).counts) == "read=60 scored=60 unchanged=0 rejected=0"
    assert len(shared.classifier.calls) == 60


def test_a_rescore_of_changed_texts_that_is_planned_anew_counts_no_unchanged_review_twice(shared: Warehouse) -> None:
    shared.create()
    shared.fill(60)
    shared.score("before")
    shared.run("UPDATE reviews SET body = 'autre chose' WHERE id IN (3, 33, 40)")
    score(shared, plan(shared, 4, rescore=Rescore.CHANGED)[:3])
    shards = plan(shared, 2, rescore=Rescore.CHANGED)
    score(shared, shards)
    assert str(finish_run(ledger(shared), KEY, shards).counts) == "read=60 scored=3 unchanged=57 rejected=0"


def test_a_rescore_by_time_of_change_that_is_planned_anew_keeps_the_unchanged_it_will_not_meet_again(
    shared: Warehouse,
) -> None:
    shared.job = shared.job.replace(updated_at_column="updated_at")
    shared.create(extra=", updated_at INTEGER")
    shared.fill(60)
    shared.score("before")
    shared.run("UPDATE reviews SET updated_at = 2")
    score(shared, plan(shared, 4, rescore=Rescore.CHANGED)[:3])
    shards = plan(shared, 2, rescore=Rescore.CHANGED)
    score(shared, shards)
    assert str(finish_run(ledger(shared), KEY, shards).counts) == "read=60 scored=0 unchanged=60 rejected=0"


def test_a_run_that_is_planned_anew_counts_no_unusable_id_twice(shared: Warehouse) -> None:
    shared.create("TEXT PRIMARY KEY")
    shared.insert(*((f"{n:02}" + "x" * 300 * (n % 2), "texte") for n in range(20)))
    score(shared, plan(shared, 4)[:3])
    shards = plan(shared, 2)
    score(shared, shards)
    assert str(finish_run(ledger(shared), KEY, shards).counts) == "read=20 scored=10 unchanged=0 rejected=10"


def test_a_shard_of_an_earlier_plan_is_given_up_at_once_and_cannot_write(shared: Warehouse) -> None:
    shared.create()
    shared.fill(80)
    first, books = plan(shared, 4), ledger(shared)
    lease = books.leases.take(asked(replace(KEY, map_index=3), keys=first[3].selection.keys))
    shards = plan(shared, 2)
    with pytest.raises(LeaseLostError):
        books.leases.renew(lease)
    assert sum(score(shared, shards)) == 80


def test_the_cursor_moves_when_all_shards_are_done_and_not_before(shared: Warehouse) -> None:
    shared.job = shared.job.replace(cursor_column="seq", cursor_lookback=5)
    shared.create(extra=", seq INTEGER")
    shared.fill(40)
    shared.run("UPDATE reviews SET seq = id")
    shards = plan(shared, 4)
    score(shared, shards)
    assert ledger(shared).cursor.state().seen is None
    finish_run(ledger(shared), KEY, shards)
    assert ledger(shared).cursor.state().seen == '["seq", 40]'

    shared.run("INSERT INTO reviews VALUES (200, 'encore', 41), (201, 'trop tard', 3)")
    night = replace(KEY, dag_run_id="night 2")
    shards = plan(shared, 4, run_id="night 2")
    assert score(shared, shards, "night 2") == [1]
    finish_run(ledger(shared), night, shards)
    assert ledger(shared).cursor.state().seen == '["seq", 41]'


def test_a_run_whose_shards_are_not_all_done_is_not_added_up(shared: Warehouse) -> None:
    shared.create()
    shared.fill(40)
    shards = plan(shared, 4)
    score(shared, shards[:3])
    with pytest.raises(UnaccountedError, match=r"of the 4 shard\(s\) .* not done: 3 \(above 30\)"):
        finish_run(ledger(shared), KEY, shards)


@pytest.mark.parametrize(
    "tampering",
    [
        "DELETE FROM review_scores WHERE review_id = '7'",
        "DELETE FROM review_rejects",
        "UPDATE scoring_shards SET scored = scored - 1, unchanged = unchanged + 1 WHERE map_index = 1",
        "UPDATE scoring_shards SET scored = scored + 1, rejected = rejected - 1 WHERE map_index = 3",
    ],
)
def test_a_sum_that_the_tables_do_not_bear_out_is_told_loudly(shared: Warehouse, tampering: str) -> None:
    shared.create()
    shared.fill(40)
    shared.insert((50, None))
    shards = plan(shared, 4)
    score(shared, shards)
    finish_run(ledger(shared), KEY, shards)
    Warehouse(shared.target or shared.engine).run(tampering)
    with pytest.raises(UnaccountedError, match="rows unaccounted for"):
        finish_run(ledger(shared), KEY, shards)


def test_rows_that_another_run_has_replaced_since_are_still_accounted_for(shared: Warehouse) -> None:
    shared.create()
    shared.fill(40)
    shards = plan(shared, 4)
    score(shared, shards)
    shared.score("a rescore", shard=Shard(selection=Selection(rescore=Rescore.ALL), limit=15))
    assert finish_run(ledger(shared), KEY, shards).counts.scored == 40
