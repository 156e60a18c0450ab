"""Bad rows and bad set-ups: a bad row costs no other row, and one error lists all problems."""

from __future__ import annotations

from functools import partial

import pytest
from sqlalchemy import Engine

from review_scoring.concurrency.cancellation import StopFlag
from review_scoring.errors import ConfigurationError, ModelError, PreflightError
from review_scoring.run.preflight import Resources, preflight
from review_scoring.warehouse.engine import make_engine
from tests.stubs import MODEL, Warehouse

SCORED = {
    "plain": "un bon film",
    "a megabyte": "très long " * 104_858,
    "ten thousand emoji": "😀" * 10_000,
    "html": "<script>alert('x')</script><b>bien</b>",
    "right to left": "فيلم رائع \u202eà l'envers",
    "sql": "'); DROP TABLE reviews; --",
    "percent signs and colons": "100% %s %(x)s :id {{ params }}",
    "line breaks": "un\r\ndeux\n\ttrois",
    "combining marks": "e\u0301" * 100,
    "control characters": "bien\x01\x7f",
}
REJECTED = {"null": None, "empty": "", "blank": " \t\r\n\u00a0\u2003"}


def test_a_zoo_of_texts_is_scored_or_rejected_row_by_row_and_the_counts_add_up(warehouse: Warehouse) -> None:
    warehouse.create("VARCHAR(40) PRIMARY KEY")
    warehouse.insert(*SCORED.items(), *REJECTED.items())
    summary = warehouse.score(chunk_rows=3)
    assert warehouse.scores().keys() == SCORED.keys()
    assert warehouse.rejects().keys() == REJECTED.keys()
    assert str(summary.counts) == f"read=13 scored={len(SCORED)} unchanged=0 rejected=3"
    assert warehouse.score("2").counts.read == 0


def test_nul_characters_and_lone_surrogates_in_sqlite_cost_no_other_row(sqlite_engine: Engine) -> None:
    warehouse = Warehouse(sqlite_engine)
    warehouse.create("TEXT PRIMARY KEY")
    warehouse.insert(("nul inside", "bien\x00 mal"), ("only nul", "\x00"), ("plain", "bien"), ("id\x00", "bien"))
    warehouse.run("INSERT INTO reviews VALUES ('surrogate', CAST(X'6269656EEDA080' AS TEXT)), ('bytes', X'00FF')")
    warehouse.run("INSERT INTO reviews VALUES (CAST(X'69ED' AS TEXT), 'bien'), ('number', 5.0)")
    summary = warehouse.score(chunk_rows=2)
    assert warehouse.scores().keys() == {"nul inside", "plain", "number"}
    reasons = {review_id: row.reason for review_id, row in warehouse.rejects().items()}
    assert reasons == {"only nul": "empty_text", "surrogate": "invalid_unicode", "bytes": "not_text"}
    assert summary.counts.unkeyed == {"unusable_id": 2}
    assert str(summary.counts) == "read=8 scored=3 unchanged=0 rejected=5"


def test_counting_what_waits_does_not_count_unusable_ids_into_the_run(warehouse: Warehouse) -> None:
    from review_scoring.job import Rescore
    from review_scoring.request import RunKey
    from review_scoring.warehouse.selection.candidates import Candidates
    from tests.stubs import asked

    warehouse.create("TEXT PRIMARY KEY")
    warehouse.insert(("a", "un"), ("b" * 300, "deux"))
    warehouse.score("before")
    ready = warehouse.prepare()
    request = asked(RunKey("dag", "score", "run"), rescore=Rescore.ALL)
    candidates = Candidates(ready.source, ready.ledger, request)
    assert candidates.count() == 1
    assert [chunk.unkeyed for chunk in candidates.chunks()] == [{"unusable_id": 1}]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"source_table": "nowhere"}, "has no table 'nowhere'; there is reviews"),
        ({"source_schema": "nowhere"}, "has no schema 'nowhere'; there is "),
        ({"id_column": "nr"}, "no column 'nr' (id_column); it has id, body"),
        ({"text_column": "texte"}, "no column 'texte' (text_column)"),
        ({"updated_at_column": "at"}, "no column 'at' (updated_at_column)"),
        ({"cursor_column": "seq"}, "no column 'seq' (cursor_column)"),
    ],
)
def test_a_source_that_is_not_as_the_job_says_is_told_by_name(
    warehouse: Warehouse, change: dict[str, str], told: str
) -> None:
    warehouse.create()
    warehouse.job = warehouse.job.replace(**change)
    with pytest.raises(PreflightError) as error:
        warehouse.prepare()
    assert told in str(error.value)


def test_everything_wrong_with_a_set_up_is_in_one_error(warehouse: Warehouse) -> None:
    warehouse.create("DOUBLE PRECISION")
    dead = make_engine("postgresql+psycopg://somebody:hunter2@127.0.0.1:1/nowhere")

    def no_model() -> object:
        raise ModelError("there is no model 'gpt' in the catalogue; it has stub")

    with pytest.raises(PreflightError) as error:
        preflight(
            warehouse.job.replace(target_conn_id="scores", text_column="texte"),
            Resources(
                source=lambda: warehouse.engine,
                target=lambda: dead,
                model=no_model,  # type: ignore[arg-type]  # it never returns
            ),
            StopFlag(),
        )
    assert len(error.value.problems) == 4
    for told in (
        "no model 'gpt'",
        "no column 'texte'",
        "cannot serve as an id",
        "connection 'scores' does not answer",
    ):
        assert told in str(error.value)
    assert "hunter2" not in str(error.value)


def test_missing_connections_are_told_once_each(warehouse: Warehouse) -> None:
    warehouse.create()

    def missing(conn_id: str) -> Engine:
        raise ConfigurationError(f"there is no Airflow Connection {conn_id!r}")

    for target, told in (("reviews", 1), ("scores", 2)):
        with pytest.raises(PreflightError, match="there is no Airflow Connection 'reviews'") as error:
            preflight(
                warehouse.job,
                Resources(source=lambda: missing("reviews"), target=partial(missing, target), model=lambda: MODEL),
                StopFlag(),
            )
        assert len(error.value.problems) == told


def test_an_older_schema_of_the_projects_tables_is_brought_up_to_date(warehouse: Warehouse) -> None:
    warehouse.create()
    warehouse.fill(3)
    warehouse.prepare()
    warehouse.run("DROP VIEW review_labels")
    warehouse.tables.metadata.drop_all(warehouse.engine)
    warehouse.run("DELETE FROM review_scoring_version")  # what the base, before any migration, looks like
    assert warehouse.score().counts.scored == 3
