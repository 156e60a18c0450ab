"""The champion of a job: promotions, and the evaluation that a model must have passed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pymysql
import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from review_scoring.errors import (
    ConfigurationError,
    ModelError,
    NotApprovedError,
    PreflightError,
    WarehouseUnavailableError,
)
from review_scoring.evaluation.champion import as_required, model_of_job, newest_evaluations, require_benchmark
from review_scoring.evaluation.promotion import PromotionRequest, promote_model
from review_scoring.models.catalogue import DEFAULT_MODEL, find_entry, find_model
from review_scoring.models.folder import ModelFolder
from review_scoring.models.settings import ModelSettings
from review_scoring.run.preflight import Resources, preflight
from review_scoring.warehouse import migrate, preflight_errors
from review_scoring.warehouse.evaluations.benchmark_store import BenchmarkStore
from review_scoring.warehouse.evaluations.promotions import Promotion, StoredPromotion, champion
from review_scoring.warehouse.schema import tables
from tests.evaluation.synthetic import Bench
from tests.models.own_catalogue import archive_entry, settings
from tests.stubs import MODEL, Warehouse

BUNDLED = find_model(DEFAULT_MODEL)
WRONG = [f"r{n:03}" for n in range(40)]


@pytest.fixture
def bench(warehouse: Warehouse) -> Bench:
    """A job with reviews, and benchmark tables in its warehouse."""
    warehouse.create()
    warehouse.fill(5)
    warehouse.prepare()
    return Bench.on(warehouse.engine)


def chosen(warehouse: Warehouse, model: str = "champion") -> ModelFolder:
    return model_of_job(model, warehouse.job, lambda: warehouse.engine, ModelSettings(store=Path("/nowhere")))


def promoted(warehouse: Warehouse, bench: Bench, run_id: str = "run", **options: Any) -> Promotion:
    values: dict[str, Any] = {
        "evaluation": None,
        "required": "any",
        "without_passing": False,
        "reason": "as good, and smaller",
    }
    migrate_tables = options.pop("migrate_tables", True)
    values.update(options)
    request = PromotionRequest(
        model=values.pop("model", DEFAULT_MODEL), promoted_by="ada", dag_id="promote_model", dag_run_id=run_id, **values
    )
    return promote_model(
        warehouse.job,
        bench.store,
        request,
        source_engine=lambda: warehouse.engine,
        settings=ModelSettings(store=Path("/nowhere")),
        migrate_tables=migrate_tables,
    )


def champion_of(engine: Engine, job: str) -> StoredPromotion | None:
    with engine.connect() as connection:
        return champion(connection, tables(), job=job)


def test_until_one_is_promoted_the_champion_is_the_model_that_comes_with_the_package(
    warehouse: Warehouse, bench: Bench
) -> None:
    assert chosen(warehouse) == BUNDLED
    assert champion_of(bench.store.engine, "films") is None


def test_an_empty_database_has_no_champion_and_no_evaluations(engine: Engine) -> None:
    assert champion_of(engine, "films") is None
    assert newest_evaluations(Bench.on(engine).store, MODEL) == []


def test_a_promotion_is_recorded_with_who_when_why_and_on_which_evaluation(warehouse: Warehouse, bench: Bench) -> None:
    evaluation = bench.evaluate(bench.load(), model=BUNDLED).id
    promoted(warehouse, bench)
    row = champion_of(warehouse.engine, "films")
    assert row is not None
    assert (row.model, row.revision, row.benchmark_run_id) == (BUNDLED.name, BUNDLED.revision, evaluation)
    assert (row.promoted_by, row.reason, row.dag_run_id) == ("ada", "as good, and smaller", "run")
    assert row.promoted_at is not None
    assert chosen(warehouse) == BUNDLED


@pytest.mark.parametrize("without_passing", [False, True])
def test_the_newest_evaluation_is_the_last_one_whatever_the_name_of_its_set(
    warehouse: Warehouse, bench: Bench, without_passing: bool
) -> None:
    wrong = WRONG if without_passing else ()
    bench.evaluate(bench.load(name="zebras"), wrong, model=BUNDLED)
    newest = bench.evaluate(bench.load(name="antelopes", content="b"), wrong, model=BUNDLED).id
    assert promoted(warehouse, bench, without_passing=without_passing).benchmark_run_id == newest


def test_a_promotion_that_is_tried_again_is_recorded_once(warehouse: Warehouse, bench: Bench) -> None:
    bench.evaluate(bench.load(), model=BUNDLED)
    promoted(warehouse, bench)
    promoted(warehouse, bench)
    assert warehouse.run("SELECT count(*) FROM promotions")[0][0] == 1


def test_a_promotion_creates_no_tables_where_a_dba_does(warehouse: Warehouse) -> None:
    warehouse.create()
    bench = Bench(BenchmarkStore(warehouse.engine))
    with pytest.raises(PreflightError, match=r"'reviews' are missing, this version needs .*`review-scoring ddl"):
        promoted(warehouse, bench, migrate_tables=False)
    assert migrate.current(warehouse.engine, None) is None


@pytest.mark.parametrize("passes", [True, False])
def test_a_promotion_waits_for_a_lock_as_a_run_does(
    warehouse: Warehouse, bench: Bench, monkeypatch: pytest.MonkeyPatch, passes: bool
) -> None:
    bench.evaluate(bench.load(), model=BUNDLED)
    busy = OperationalError("ALTER TABLE", {}, pymysql.err.OperationalError(1205, "lock wait timeout"))
    results = iter([busy, None])

    def upgrade(*_: object) -> None:
        if (error := next(results) if passes else busy) is not None:
            raise error

    monkeypatch.setattr(migrate, "upgrade", upgrade)
    monkeypatch.setattr(preflight_errors, "PATIENCE_S", 1.0)
    if passes:
        assert promoted(warehouse, bench).model == BUNDLED.name
    else:
        with pytest.raises(WarehouseUnavailableError, match=r"^connection 'reviews' is busy \(OperationalError 1205\)"):
            promoted(warehouse, bench)


def test_an_old_run_that_is_cleared_does_not_promote_again(warehouse: Warehouse, bench: Bench) -> None:
    good = bench.evaluate(bench.load(), model=BUNDLED).id
    first = promoted(warehouse, bench, "first", evaluation=good)
    assert promoted(warehouse, bench, "first", evaluation=good, reason="as good") == first
    bench.evaluate(bench.load(), model=BUNDLED)
    assert promoted(warehouse, bench, "first") == first, "what is stored, not what would be now"
    promoted(warehouse, bench, "second")
    with pytest.raises(ConfigurationError, match=r"this run already promoted .* on .*; trigger a new run"):
        promoted(warehouse, bench, "first")
    assert warehouse.run("SELECT count(*) FROM promotions")[0][0] == 2


def test_a_run_that_promoted_one_model_cannot_promote_another(warehouse: Warehouse, bench: Bench) -> None:
    job = warehouse.prepare().ledger
    assert job is not None
    fields: dict[str, Any] = {"benchmark_run_id": None, "promoted_by": "ada", "reason": "why", "dag_id": "d"}
    choice = Promotion(model="m", revision="r" * 64, dag_run_id="run", **fields)
    assert bench.store.promote(job.job.id, choice) == choice
    for other in (replace(choice, model="n"), replace(choice, revision="s" * 64)):
        with pytest.raises(ConfigurationError, match="this run already promoted m at revision rrrrrrrrrrrr"):
            bench.store.promote(job.job.id, other)


def test_the_last_promotion_counts_and_each_job_has_its_own(warehouse: Warehouse, bench: Bench) -> None:
    prepared = warehouse.prepare()
    assert prepared.ledger is not None
    fields: dict[str, Any] = {"benchmark_run_id": None, "promoted_by": "ada", "reason": "why", "dag_id": "d"}
    for n in range(3):
        choice = Promotion(model=f"m{n}", revision="r" * 64, dag_run_id=f"run {n}", **fields)
        bench.store.promote(prepared.ledger.job.id, choice)
    last = champion_of(bench.store.engine, "films")
    assert last is not None
    assert last.model == "m2"
    assert champion_of(bench.store.engine, "books") is None


def test_a_champion_without_files_is_reported_by_name_and_revision(
    warehouse: Warehouse, bench: Bench, tmp_path: Path
) -> None:
    prepared = warehouse.prepare()
    assert prepared.ledger is not None
    gone = Promotion(
        model="mini-bert",
        revision="f" * 64,
        benchmark_run_id=None,
        promoted_by="ada",
        reason="why",
        dag_id="d",
        dag_run_id="r",
    )
    bench.store.promote(prepared.ledger.job.id, gone)
    own = settings(tmp_path, archive_entry("mini-bert"))
    with pytest.raises(
        ModelError, match="revision f{64} of model 'mini-bert' is in the catalogue, but not in the model"
    ):
        model_of_job("champion", warehouse.job, lambda: warehouse.engine, own)


def test_a_model_without_a_passing_evaluation_is_promoted_only_on_request(warehouse: Warehouse, bench: Bench) -> None:
    with pytest.raises(NotApprovedError, match="not promoted: .* has no evaluation on any benchmark set"):
        promoted(warehouse, bench)
    loaded = bench.load()
    good = bench.evaluate(loaded, model=BUNDLED).id
    bad = bench.evaluate(loaded, WRONG, model=BUNDLED).id
    with pytest.raises(NotApprovedError, match=f"has not passed evaluation {bad} on benchmark set 'films'"):
        promoted(warehouse, bench)
    with pytest.raises(NotApprovedError, match=f"evaluation {bad} did not pass: .* accuracy fell by 40.0 points"):
        promoted(warehouse, bench, evaluation=bad)
    assert promoted(warehouse, bench, "run 1", evaluation=good).benchmark_run_id == good
    assert promoted(warehouse, bench, "run 2", without_passing=True).benchmark_run_id == bad


def test_a_limited_evaluation_does_not_allow_a_promotion(warehouse: Warehouse, bench: Bench) -> None:
    limited = bench.evaluate(bench.load(), model=BUNDLED, limit=50).id
    with pytest.raises(NotApprovedError, match=f"evaluation {limited} is limited to 50 reviews"):
        promoted(warehouse, bench, evaluation=limited)
    assert promoted(warehouse, bench, evaluation=limited, without_passing=True).benchmark_run_id == limited


def test_where_a_set_is_required_passing_on_another_does_not_promote(warehouse: Warehouse, bench: Bench) -> None:
    books = bench.evaluate(bench.load(name="books"), model=BUNDLED).id
    for evaluation, why in ((None, "no evaluation on"), (books, f"evaluation {books} is on benchmark set 'books'")):
        with pytest.raises(NotApprovedError, match=f"{why}.*'films'"):
            promoted(warehouse, bench, required="films", evaluation=evaluation)
    films = bench.evaluate(bench.load(), model=BUNDLED).id
    assert promoted(warehouse, bench, required="films").benchmark_run_id == films


def test_an_evaluation_of_another_model_is_no_reason(warehouse: Warehouse, bench: Bench) -> None:
    other = bench.evaluate(bench.load(), model=MODEL).id
    with pytest.raises(ConfigurationError, match=f"evaluation {other} is of stub at revision 0{{12}}, and "):
        promoted(warehouse, bench, evaluation=other)
    with pytest.raises(ConfigurationError, match="evaluation 999 does not exist"):
        promoted(warehouse, bench, evaluation=999)


def test_a_promotion_needs_a_reason(warehouse: Warehouse, bench: Bench) -> None:
    with pytest.raises(ConfigurationError, match="a promotion needs a reason"):
        promoted(warehouse, bench, reason="  ")


def test_a_revision_without_a_passing_evaluation_is_refused_in_preflight(warehouse: Warehouse, bench: Bench) -> None:
    def ready(benchmark: str) -> object:
        return warehouse.prepare(benchmark=benchmark)

    with pytest.raises(PreflightError, match="model 'stub' at revision 0{12} has no evaluation on any benchmark set"):
        ready("any")
    loaded = bench.load()
    bench.evaluate(loaded)
    ready("any")
    ready("films")
    with pytest.raises(PreflightError, match="has no evaluation on benchmark set 'allocine'"):
        ready("allocine")
    bench.evaluate(loaded, WRONG)
    with pytest.raises(PreflightError, match=r"(?s)has not passed evaluation \d+ on benchmark set 'films'.*fell by 40"):
        ready("any")
    bench.evaluate(loaded)
    ready("any")


def test_passing_on_one_set_does_not_hide_failing_on_another(bench: Bench) -> None:
    films, books = bench.load(), bench.load(name="books", content="b")
    bench.evaluate(bench.load(name="albums", content="c"))  # before the failure as well as behind it
    bench.evaluate(films)
    bench.evaluate(films, WRONG)
    bench.evaluate(books)
    with pytest.raises(NotApprovedError, match="'films'"):
        require_benchmark(bench.store, MODEL, "any")
    require_benchmark(bench.store, MODEL, "books")


def test_a_limited_evaluation_approves_nothing(bench: Bench) -> None:
    bench.evaluate(bench.load(), limit=50)
    with pytest.raises(NotApprovedError, match="evaluate it with the DAG benchmark_models, without a limit"):
        require_benchmark(bench.store, MODEL, "any")


def test_a_model_that_is_not_approved_is_reported_with_all_other_problems(warehouse: Warehouse) -> None:
    with pytest.raises(PreflightError) as caught:
        preflight(
            warehouse.job,
            Resources(source=lambda: warehouse.engine, target=lambda: warehouse.engine, model=lambda: MODEL),
            warehouse.stop,
            benchmark="any",
        )
    assert len(caught.value.problems) == 2
    assert "no evaluation" in caught.value.problems[1]


def test_no_catalogue_knows_the_champion_or_may_take_its_name(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="'champion' is the model of a job"):
        find_entry("champion")
    own = settings(tmp_path, archive_entry("mini-bert").replace("mini-bert-alias", "champion"))
    with pytest.raises(ModelError, match="'champion' cannot be used"):
        find_entry("mini-bert", own.catalogue)


def test_require_benchmark_is_a_set_or_on_or_off() -> None:
    assert [as_required(value) for value in (None, False, "", "false", "0")] == [None] * 5
    assert [as_required(value) for value in (True, "1", "True", "any")] == ["any"] * 4
    assert as_required("allocine") == "allocine"
    with pytest.raises(ConfigurationError, match="require_benchmark is 3"):
        as_required(3)  # type: ignore[arg-type]  # what is refused
