"""A published table ends with what the ledger has: new, relabelled, rejected and erased reviews, whatever happened."""

from __future__ import annotations

import traceback
from dataclasses import replace

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from review_scoring.errors import ConfigurationError, JobBusyError
from review_scoring.job import Publication, Rescore
from review_scoring.request import RunKey
from review_scoring.warehouse.errors import Fault, fault_of
from review_scoring.warehouse.ledger.ledger import find_ledger
from review_scoring.warehouse.ledger.verdicts import FAILED, PASSED, Verdict
from tests.conftest import engine_of_kind
from tests.run.publications import Mart
from tests.run.reconciliations import forgotten
from tests.stubs import MODEL, Warehouse

OTHER = replace(MODEL, revision="1" * 64)


@pytest.fixture
def engine(sqlite_engine: Engine) -> Engine:
    """The ledger's database."""
    return sqlite_engine


@pytest.fixture(params=["duckdb", "postgresql", "mariadb"])
def mart(request: pytest.FixtureRequest, warehouse: Warehouse) -> Mart:
    """A hundred scored reviews, and a database without a table for them."""
    warehouse.create()
    warehouse.fill(100)
    warehouse.score("1")
    return Mart(warehouse, engine_of_kind(request))


def test_a_nights_scores_are_published_once(mart: Mart) -> None:
    first = mart.publish("1")
    assert (first.written, first.removed, first.rows) == (100, 0, 100)
    assert mart.is_equal()
    mart.warehouse.fill(20, first=101)
    mart.warehouse.score("2")
    second = mart.publish("2")
    assert (second.written, second.removed, second.rows, second.why_full) == (20, 0, 120, None)
    assert mart.is_equal()
    assert mart.publish("2").written == 0


def test_relabelled_rejected_and_erased_reviews_are_published(mart: Mart) -> None:
    mart.publish("1")
    mart.warehouse.run("UPDATE reviews SET body = 'tout autre chose !' WHERE id <= 5")
    mart.warehouse.run("UPDATE reviews SET body = ' ' WHERE id = 6")
    mart.warehouse.run("DELETE FROM reviews WHERE id IN (7, 8)")
    mart.warehouse.score("2", Rescore.CHANGED)
    forgotten(mart.warehouse, "7", "8")
    report = mart.publish("2")
    assert (report.written, report.removed, report.rows) == (5, 3, 97)
    assert mart.is_equal()


def test_a_published_review_that_is_rejected_and_then_erased_is_removed(mart: Mart) -> None:
    mart.publish("1")
    mart.warehouse.run("UPDATE reviews SET body = ' ' WHERE id = 6")
    mart.warehouse.score("2", Rescore.CHANGED)
    judge(mart, "2", FAILED)
    mart.publish("3")
    mart.warehouse.run("DELETE FROM reviews WHERE id = 6")
    forgotten(mart.warehouse, "6")
    assert mart.publish("4").removed == 1
    assert mart.is_equal()


def test_a_review_that_is_erased_and_scored_again_stays(mart: Mart) -> None:
    mart.publish("1")
    forgotten(mart.warehouse, "7", even_if_in_source=True)
    mart.warehouse.score("2")
    assert mart.publish("2").rows == 100
    assert mart.is_equal()


def test_everything_is_published_again_if_the_table_was_dropped(mart: Mart) -> None:
    mart.publish("1")
    mart.run("DROP TABLE film_labels")
    report = mart.publish()
    assert (report.written, report.why_full) == (100, "the table is missing")
    assert mart.is_equal()


def test_everything_is_published_again_if_the_table_lost_rows(mart: Mart) -> None:
    mart.publish("1")
    mart.run("DELETE FROM film_labels WHERE review_id = '3'")
    report = mart.publish()
    assert report.why_full == "the table had 99 rows of the job, and 100 after the last publication"
    assert mart.is_equal()


def test_a_full_publication_removes_what_the_ledger_does_not_have(mart: Mart) -> None:
    mart.publish("1")
    mart.run("UPDATE film_labels SET review_id = 'x' WHERE review_id = '3'")
    mart.run("UPDATE film_labels SET label = 'x' WHERE review_id = '4'")
    assert mart.publish().written == 0
    report = mart.publish(resync=True)
    assert (report.written, report.why_full) == (100, "that was requested")
    assert mart.is_equal()


def test_two_jobs_share_a_table(mart: Mart) -> None:
    mart.publish("1")
    first = mart.rows()
    mart.warehouse.job = mart.warehouse.job.replace(name="again")
    mart.warehouse.score("2", model=OTHER)
    assert mart.publish("2").rows == 100
    mart.publish(resync=True)
    assert [row for row in mart.rows() if row.job == "films"] == first
    assert len(mart.rows()) == 200


def test_ids_and_labels_of_any_characters_are_published(mart: Mart) -> None:
    mart.warehouse.run("DROP TABLE reviews")
    mart.warehouse.job = mart.warehouse.job.replace(name="odd")
    mart.warehouse.create("TEXT PRIMARY KEY")
    ids = [
        "a1",
        "A1",
        "a1 ",
        "é",
        "e\u0301",
        "it's",
        'a "b"',
        "back\\slash",
        "tab\there",
        "line\nbreak",
        "\\N",
        "😀",
        "{}",
    ]
    mart.warehouse.insert(*((each, f"texte de {n}") for n, each in enumerate(ids)))
    mart.warehouse.score("2")
    mart.publish("2")
    assert mart.is_equal()
    assert {row.review_id for row in mart.rows()} == set(ids)
    mart.warehouse.run("DELETE FROM reviews")
    forgotten(mart.warehouse, *ids)
    assert mart.publish("3").rows == 0


def test_a_table_that_lacks_a_column_is_refused_by_its_name(mart: Mart) -> None:
    mart.run("CREATE TABLE film_labels (job VARCHAR(200), review_id VARCHAR(255), label VARCHAR(50))")
    with pytest.raises(ConfigurationError, match="table 'film_labels' has no column 'score'"):
        mart.publish("1")


def test_a_missing_table_is_refused_if_a_dba_creates_it(mart: Mart) -> None:
    with pytest.raises(
        ConfigurationError, match=r"no table 'film_labels': create it with the SQL that `review-scoring"
    ):
        mart.publisher("1", creates_table=False).publish()


def test_a_second_publication_waits_for_the_first_one(mart: Mart) -> None:
    first = mart.publisher("1")
    first._publications.begin(mart.to.name, str(first.holder))
    with pytest.raises(JobBusyError, match="publishes scores of job 'films' to mart/film_labels"):
        mart.publisher("2").publish()
    assert mart.publish("1").written == 100  # another try of the task that holds the lease


def test_a_dry_run_counts_and_writes_nothing(mart: Mart) -> None:
    report = mart.publisher("1").estimate()
    assert (report.written, report.rows, report.why_full) == (100, None, "it is the first publication")
    assert not mart.destination.exists()


def test_a_schema_is_where_the_table_is_made(mart: Mart) -> None:
    if mart.engine.dialect.name == "mysql":
        pytest.skip("a schema of MySQL is a database")
    mart.run("CREATE SCHEMA shop")
    mart.to = Publication(conn_id="mart", table="film_labels", table_schema="shop")
    mart.publish("1")
    assert mart.is_equal()


def test_an_error_while_rows_are_loaded_has_no_words_of_the_driver(mart: Mart) -> None:
    destination = mart.destination
    staging = destination.begin_staging(1)
    destination.drop_staging(staging)
    ids = ["hunter2"]
    with pytest.raises(DBAPIError) as error:
        destination.load_removed(staging, ids, after=0)
    assert fault_of(error.value) is Fault.MISSING
    words = "".join(traceback.format_exception(error.value, chain=True))
    assert "hunter2" not in words
    assert "does not exist" not in words.lower().replace("doesn't exist", "does not exist")


@pytest.mark.parametrize("name", ["film_labels", "Film_Labels"])
def test_a_view_is_refused(mart: Mart, name: str) -> None:
    mart.to = Publication(conn_id="mart", table=name)
    quoted = mart.engine.dialect.identifier_preparer.quote(name)
    columns = "'a' AS job, 'b' AS review_id, 'c' AS label, 1 AS score, 'd' AS model, 'e' AS revision, 'f' AS scored_at"
    mart.run(f"CREATE VIEW {quoted} AS SELECT {columns}")
    with pytest.raises(ConfigurationError, match=f"'{name}' is a view"):
        mart.publish("1")


def test_a_run_whose_checks_failed_is_left_out_until_somebody_publishes_it(mart: Mart) -> None:
    mart.publish("1")
    mart.warehouse.fill(10, first=101)
    mart.warehouse.score("2")
    judge(mart, "2", FAILED)
    mart.warehouse.fill(10, first=111)
    mart.warehouse.score("3")
    report = mart.publish("3")
    assert (report.written, report.left, report.rows) == (10, 1, 110)
    assert report.paragraph.endswith("the table has 110 rows of the job. 1 shard left to a later publication.")
    assert mart.publish("2").written == 10  # somebody has marked its checks as passed
    assert mart.is_equal()


def test_what_somebody_has_published_stays_if_everything_is_published_again(mart: Mart) -> None:
    mart.publish("1")
    mart.warehouse.fill(10, first=101)
    mart.warehouse.score("2")
    judge(mart, "2", FAILED)
    mart.publish("2")  # somebody has marked its checks as passed
    mart.warehouse.fill(10, first=111)
    mart.warehouse.score("3")
    judge(mart, "3", FAILED)
    mart.run("DELETE FROM film_labels WHERE review_id = '3'")
    report = mart.publish("4")
    assert report.why_full
    assert (report.rows, report.left) == (110, 1)
    assert mart.publish("5").rows == 110


def test_a_run_whose_checks_pass_later_is_published(mart: Mart) -> None:
    judge(mart, "1", FAILED)
    assert mart.publish("2").rows == 0
    judge(mart, "1", PASSED)
    assert mart.publish("2").rows == 100
    assert mart.is_equal()


def test_a_full_publication_has_also_what_failed_its_checks(mart: Mart) -> None:
    judge(mart, "1", FAILED)
    assert mart.publish(resync=True).rows == 100


def test_the_rows_of_a_running_shard_are_left_to_its_own_run(mart: Mart) -> None:
    mart.publish("1")
    mart.warehouse.fill(10, first=101)
    mart.warehouse.score("2")
    mart.warehouse.run("UPDATE scoring_shards SET state = 'running' WHERE id = 2")
    assert mart.publish("3").left == 1
    mart.warehouse.run("UPDATE scoring_shards SET state = 'success' WHERE id = 2")
    assert mart.publish("2").written == 10
    assert mart.is_equal()


def judge(mart: Mart, night: str, state: str) -> None:
    """Record a verdict on a run."""
    verdict = Verdict("rejects", state, 0.5, 0.1, "half of the reviews were rejected")
    ledger = find_ledger(mart.warehouse.engine, mart.warehouse.job)
    ledger.verdicts.write(RunKey("dag", "score", night), [verdict], {})
