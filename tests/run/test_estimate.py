"""A dry run estimates what a run would take, and its estimate is right."""

from __future__ import annotations

from review_scoring.concurrency.cancellation import StopFlag
from review_scoring.demo import sample_reviews
from review_scoring.inference.classifier import Classifier
from review_scoring.job import Order
from review_scoring.models.catalogue import DEFAULT_MODEL, find_model
from review_scoring.request import RunKey
from review_scoring.reviews import Prediction
from review_scoring.run.estimate import estimate
from review_scoring.run.planning import plan_one_shard
from review_scoring.warehouse import migrate
from review_scoring.warehouse.selection.candidates import Candidates
from tests.stubs import Warehouse, asked

KEY = RunKey("dag", "score", "run")


def test_a_dry_run_counts_reviews_rejects_and_tokens_and_writes_nothing(warehouse: Warehouse) -> None:
    warehouse.create()
    texts = [row["text"] for row in sample_reviews()[:30]]
    warehouse.insert(*enumerate(texts), (100, None), (101, " "))
    ready = warehouse.prepare(dry_run=True)
    classifier = Classifier.load(find_model(DEFAULT_MODEL), device="cpu")
    found = estimate(Candidates(ready.source, ready.ledger, asked(KEY, chunk_rows=7)), classifier, StopFlag())
    read = [result.token_count for result in classifier.classify(texts) if isinstance(result, Prediction)]
    assert (found.waiting, found.unscorable, found.tokens, found.exact) == (32, 2, sum(read), True)
    assert found.tokens_per_second > 0
    assert "32 reviews wait" in str(found)
    assert migrate.current(warehouse.engine, None) is None


def test_a_dry_run_of_a_job_with_nothing_to_do_says_so(warehouse: Warehouse) -> None:
    warehouse.create()
    warehouse.fill(5)
    warehouse.score()
    ready = warehouse.prepare(dry_run=True)
    classifier = Classifier.load(find_model(DEFAULT_MODEL), device="cpu")
    found = estimate(Candidates(ready.source, ready.ledger, asked(KEY)), classifier, StopFlag())
    assert (found.waiting, found.tokens, found.seconds) == (0, 0, 0.0)


def test_a_dry_run_counts_what_waits_beyond_the_budget_and_goes_by_the_speed_of_the_last_run(
    warehouse: Warehouse,
) -> None:
    warehouse.create()
    warehouse.fill(50)
    warehouse.score("before")
    warehouse.run("UPDATE scoring_runs SET device_seconds = 2.0")
    warehouse.fill(30, first=100)
    ready = warehouse.prepare(dry_run=True)
    classifier = Classifier.load(find_model(DEFAULT_MODEL), device="cpu")
    found = estimate(Candidates(ready.source, ready.ledger, asked(KEY), limit=10), classifier, StopFlag())
    report = found.report("films")
    assert (report.waiting, report.reviews, report.runs, report.waiting_is_exact) == (30, 10, 3, True)
    (run,) = warehouse.runs()
    assert report.rescore_seconds == 2
    assert report.seconds == round(found.tokens / (run.tokens / 2.0))


def test_a_budget_of_minutes_is_taken_for_reviews_by_the_speed_of_the_last_run(warehouse: Warehouse) -> None:
    warehouse.create()
    warehouse.fill(60)
    warehouse.score("before")
    warehouse.run("UPDATE scoring_runs SET device_seconds = 360.0")  # ten reviews a minute
    warehouse.fill(100, first=100)
    ready = warehouse.prepare(dry_run=True)
    classifier = Classifier.load(find_model(DEFAULT_MODEL), device="cpu")
    found = estimate(Candidates(ready.source, ready.ledger, asked(KEY, minutes=3)), classifier, StopFlag())
    assert (found.report("films").reviews, found.report("films").runs) == (30, 4)


def test_a_dry_run_of_a_new_job_reads_the_rows_of_its_first_run_in_their_order(warehouse: Warehouse) -> None:
    warehouse.job = warehouse.job.model_copy(update={"cursor_column": "id"})
    warehouse.create()
    warehouse.fill(30)
    request = asked(KEY, limit=10, order=Order.NEWEST)
    ready = warehouse.prepare(dry_run=True)
    assert ready.ledger is None
    dry = plan_one_shard(ready, request)
    assert dry.stretches[0].newest_first
    assert dry == plan_one_shard(warehouse.prepare(), request)
    candidates = dry.candidates(ready.source, None, request)
    assert estimate(candidates, warehouse.classifier, StopFlag()).report("films").waiting == 30
