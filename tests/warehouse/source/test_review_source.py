"""Reading a source: every row once, in pages, whatever its ids are."""

from __future__ import annotations

import sqlite3
import uuid
from contextlib import suppress

import pytest
from sqlalchemy import Engine, event, inspect
from sqlalchemy.exc import DBAPIError

from review_scoring.concurrency.cancellation import StopFlag
from review_scoring.errors import PreflightError, WarehouseUnavailableError
from review_scoring.job import Rescore
from review_scoring.request import KeyRange
from review_scoring.warehouse import migrate
from review_scoring.warehouse.dialects import base as dialects
from review_scoring.warehouse.engine import make_engine, writing
from review_scoring.warehouse.source.opening import checked_source, open_source
from review_scoring.warehouse.source.review_source import ReviewSource
from tests.conftest import ROOT
from tests.stubs import Warehouse


def opened(warehouse: Warehouse) -> ReviewSource:
    return open_source(warehouse.engine, warehouse.job)


def ids(source: ReviewSource, rows: int, keys: KeyRange | None = None) -> list[object]:
    return [row.id for page in source.pages(rows, texts=False, keys=keys or KeyRange()) for row in page.rows]


def test_pages_cover_every_row_once_and_are_no_larger_than_asked(warehouse: Warehouse) -> None:
    warehouse.create()
    warehouse.fill(23)
    pages = [page.rows for page in opened(warehouse).pages(5, texts=True)]
    assert [len(page) for page in pages] == [5, 5, 5, 5, 3]
    assert [row.id for page in pages for row in page] == list(range(1, 24))


def test_a_range_leaves_out_its_lower_end_and_keeps_its_upper(warehouse: Warehouse) -> None:
    warehouse.create()
    warehouse.fill(20)
    assert ids(opened(warehouse), 3, KeyRange(after=5, upto=12)) == list(range(6, 13))


def test_negative_and_huge_ids_are_read_in_order(warehouse: Warehouse) -> None:
    warehouse.create("BIGINT PRIMARY KEY")
    wanted = [-(2**63), -5, 0, 7, 2**63 - 1]
    warehouse.insert(*((n, "texte") for n in wanted))
    assert ids(opened(warehouse), 2) == wanted


def test_rows_inserted_updated_and_deleted_between_pages_never_hide_another_row(warehouse: Warehouse) -> None:
    warehouse.create()
    warehouse.fill(30)
    seen: list[object] = []
    for page in opened(warehouse).pages(4, texts=True):
        seen += [row.id for row in page.rows]
        last = int(page.rows[-1].id)
        if last < 28:
            if last % 3:
                warehouse.run("DELETE FROM reviews WHERE id = :id", id=last)
            warehouse.run("INSERT INTO reviews (id, body) VALUES (:id, 'retard')", id=-last)
            warehouse.run("UPDATE reviews SET body = 'autre' WHERE id = :id", id=last + 1)
    assert seen == list(range(1, 31))


def test_uuid_ids_are_read_and_bound_as_uuids(postgres_engine: Engine) -> None:
    warehouse = Warehouse(postgres_engine)
    warehouse.create("UUID PRIMARY KEY")
    wanted = sorted(uuid.UUID(int=n * 0x1234567890ABCDEF1234567) for n in range(1, 12))
    warehouse.insert(*((n, "texte") for n in wanted))
    assert ids(opened(warehouse), 4) == wanted
    warehouse.score(chunk_rows=4)
    assert warehouse.scores().keys() == {str(n) for n in wanted}
    assert warehouse.score("2").counts.read == 0


@pytest.mark.parametrize("id_type", ["CHAR(6)", "NUMERIC(30)"])
def test_ids_that_print_otherwise_in_sql_are_still_scored_once(postgres_engine: Engine, id_type: str) -> None:
    warehouse = Warehouse(postgres_engine)
    warehouse.create(f"{id_type} PRIMARY KEY")
    warehouse.insert(*((str(n), "texte") for n in (1, 20, 300)))
    assert warehouse.score("1", chunk_rows=2).counts.scored == 3
    assert warehouse.score("2").counts.read == 0


def test_ids_that_a_caseless_column_takes_for_equal_are_not_lost_at_a_page_end(sqlite_engine: Engine) -> None:
    warehouse = Warehouse(sqlite_engine)
    warehouse.create("TEXT COLLATE NOCASE")
    warehouse.insert(*((id_, "texte") for id_ in ("a", "b", "B", "c", "C", "d")))
    for rows in (1, 2, 3, 4):
        assert sorted(map(str, ids(opened(warehouse), rows))) == ["B", "C", "a", "b", "c", "d"]


def test_a_view_can_be_a_source(warehouse: Warehouse) -> None:
    warehouse.create()
    warehouse.fill(9)
    warehouse.run("CREATE VIEW french AS SELECT id, body FROM reviews WHERE id > 4")
    warehouse.job = warehouse.job.replace(source_table="french")
    assert warehouse.score(chunk_rows=2).counts.scored == 5


def test_a_missing_table_is_told_with_the_tables_there_are(warehouse: Warehouse) -> None:
    warehouse.create()
    warehouse.job = warehouse.job.replace(source_table="revues")
    with pytest.raises(PreflightError, match=r"connection 'reviews' has no table 'revues'; there is reviews"):
        opened(warehouse)


def test_an_id_type_that_is_no_id_is_told(warehouse: Warehouse) -> None:
    warehouse.create("DOUBLE PRECISION")
    with pytest.raises(PreflightError, match=r"column 'id' of 'reviews' is of type .*, which cannot serve as an id"):
        opened(warehouse)


def test_a_column_that_does_not_tell_reviews_apart_is_told(warehouse: Warehouse) -> None:
    warehouse.create("INTEGER")
    warehouse.insert(*((n % 3, "texte") for n in range(60)))
    with pytest.raises(PreflightError, match="57 of 60 rows checked repeat another row's id"):
        opened(warehouse)


def test_a_server_that_does_not_answer_is_told_without_its_password_and_may_be_tried_again(
    warehouse: Warehouse,
) -> None:
    dead = make_engine("postgresql+psycopg://somebody:hunter2@127.0.0.1:1/nowhere")
    with pytest.raises(WarehouseUnavailableError, match="connection 'reviews' does not answer") as error:
        checked_source(dead, warehouse.job, StopFlag())
    assert "hunter2" not in str(error.value)


def test_a_database_that_is_not_there_is_a_mistake_and_not_tried_again(postgres_engine: Engine) -> None:
    warehouse = Warehouse(postgres_engine)
    wrong = make_engine(warehouse.engine.url.set(database="nowhere_at_all"))
    with pytest.raises(PreflightError, match=r"connection 'reviews' names a database that does not exist .*3D000"):
        checked_source(wrong, warehouse.job, StopFlag())


def test_a_table_that_may_not_be_read_is_told(postgres_engine: Engine) -> None:
    warehouse = Warehouse(postgres_engine)
    warehouse.create()
    warehouse.fill(3)
    with limited_user(warehouse) as stranger, pytest.raises(PreflightError, match="grant SELECT on it"):
        checked_source(stranger.engine, warehouse.job, StopFlag())


def test_a_table_that_may_not_be_written_is_told(postgres_engine: Engine) -> None:
    warehouse = Warehouse(postgres_engine)
    warehouse.create()
    warehouse.fill(3)
    warehouse.score()
    with limited_user(warehouse, "GRANT SELECT ON ALL TABLES IN SCHEMA public TO {}") as reader:
        reader.job = warehouse.job
        with pytest.raises(PreflightError, match=r"cannot store scores \(InsufficientPrivilege 42501\)"):
            reader.prepare()


def test_source_and_scores_may_be_reached_by_users_of_different_rights(postgres_engine: Engine) -> None:
    warehouse = Warehouse(postgres_engine)
    warehouse.create()
    warehouse.fill(12)
    with limited_user(warehouse, "GRANT SELECT ON reviews TO {}") as reader:
        reader.job, reader.target = warehouse.job, warehouse.engine
        assert reader.score(chunk_rows=5).counts.scored == 12
        assert reader.score("2").counts.read == 0


def test_the_grants_of_the_operations_guide_are_enough(postgres_engine: Engine) -> None:
    guide = (ROOT / "docs" / "operations.md").read_text()
    grants = guide[guide.index("```sql") + 6 : guide.index("```", guide.index("```sql") + 6)].split(";")
    warehouse = Warehouse(postgres_engine)
    warehouse.job = warehouse.job.replace(target_schema="scoring")
    warehouse.create()
    warehouse.fill(12)
    migrate.upgrade(warehouse.engine, "scoring")
    sql = [grant.replace("scorer", "{}") for grant in grants if grant.strip()]
    with limited_user(warehouse, "GRANT SELECT ON reviews TO {}", *sql[:-1]) as scorer:
        scorer.job = warehouse.job
        with pytest.raises(PreflightError, match="cannot store scores .*sequences"):
            scorer.prepare(migrate_tables=False)
    with limited_user(warehouse, "GRANT SELECT ON reviews TO {}", *sql) as scorer:
        scorer.job = warehouse.job
        assert scorer.score(chunk_rows=5).counts.scored == 12


def test_times_that_python_cannot_hold_cost_no_row(postgres_engine: Engine) -> None:
    warehouse = Warehouse(postgres_engine)
    warehouse.job = warehouse.job.replace(updated_at_column="changed")
    warehouse.create(extra=", changed timestamptz")
    warehouse.run("INSERT INTO reviews VALUES (1, 'un', 'infinity'), (2, 'deux', '-infinity'), (3, 'trois', NULL)")
    assert warehouse.score().counts.scored == 3
    looked_at = warehouse.score("2", Rescore.CHANGED).counts
    assert (looked_at.read, looked_at.unchanged) == (
        1,
        1,
    )  # the one without a time, by its hash


def test_an_invalid_id_or_time_at_a_page_end_costs_no_other_row(sqlite_engine: Engine) -> None:
    warehouse = Warehouse(sqlite_engine)
    warehouse.job = warehouse.job.replace(updated_at_column="changed")
    warehouse.create("TEXT PRIMARY KEY", extra=", changed TEXT")
    with writing(warehouse.engine).begin() as connection:
        bad = "CAST(X'6AE9' AS TEXT)"
        connection.exec_driver_sql(
            f"INSERT INTO reviews VALUES ('a', 'un', {bad}), ({bad}, 'deux', NULL), ('z', 'trois', NULL)"
        )
    for size in (1, 2, 3):
        assert len(ids(opened(warehouse), size)) == 3
    assert warehouse.score(chunk_rows=2).counts.scored == 2


def test_invalid_utf8_in_sqlite_costs_one_row(sqlite_engine: Engine) -> None:
    warehouse = Warehouse(sqlite_engine)
    warehouse.create()
    warehouse.fill(3)
    with writing(warehouse.engine).begin() as connection:
        connection.exec_driver_sql("INSERT INTO reviews VALUES (4, CAST(X'66696CE96D' AS TEXT)), (5, X'00FF')")
    assert str(warehouse.score().counts) == "read=5 scored=3 unchanged=0 rejected=2"
    assert {i: r.reason for i, r in warehouse.rejects().items()} == {"4": "invalid_unicode", "5": "not_text"}


class limited_user:  # noqa: N801 used as a context manager
    """A warehouse seen by a user of the same database who may do nothing but what is granted."""

    def __init__(self, warehouse: Warehouse, *grants: str) -> None:
        self.owner = warehouse
        self.name = f"limited_{uuid.uuid4().hex[:8]}"
        self.grants = grants

    def __enter__(self) -> Warehouse:
        self.owner.run(f"CREATE ROLE {self.name} LOGIN")
        for grant in self.grants:
            self.owner.run(grant.format(self.name))
        self.seen = Warehouse(make_engine(self.owner.engine.url.set(username=self.name)))
        return self.seen

    def __exit__(self, *_: object) -> None:
        self.seen.engine.dispose()
        self.owner.run(f"DROP OWNED BY {self.name}")
        self.owner.run(f"DROP ROLE {self.name}")


def test_an_id_of_a_domain_counts_as_its_base_type(postgres_engine: Engine) -> None:
    warehouse = Warehouse(postgres_engine)
    warehouse.run("CREATE DOMAIN number AS integer CHECK (VALUE > 0)")
    warehouse.run("CREATE DOMAIN review_number AS number")
    warehouse.create("review_number PRIMARY KEY")
    warehouse.fill(5)
    assert opened(warehouse).id_type == "integer"
    assert warehouse.score(chunk_rows=2).counts.scored == 5


def test_a_binary_id_is_refused_with_the_view_that_would_do(mariadb_engine: Engine) -> None:
    warehouse = Warehouse(mariadb_engine)
    warehouse.create("BINARY(16) PRIMARY KEY")
    warehouse.run("INSERT INTO reviews VALUES (UNHEX(REPLACE(UUID(), '-', '')), 'un'), (UNHEX(MD5('x')), 'deux')")
    with pytest.raises(PreflightError, match="such as that of a view: CREATE VIEW reviews_to_score") as error:
        opened(warehouse)
    view = str(error.value).partition("CREATE VIEW")[2]
    warehouse.run(f"CREATE VIEW{view}")
    warehouse.job = warehouse.job.replace(source_table="reviews_to_score")
    assert warehouse.score().counts.scored == 2


def test_an_id_that_is_part_of_a_key_is_refused_with_the_view_that_would_do(warehouse: Warehouse) -> None:
    body = "LONGTEXT" if warehouse.engine.dialect.name == "mysql" else "TEXT"
    warehouse.run(f"CREATE TABLE reviews (site INTEGER, id INTEGER, body {body}, PRIMARY KEY (site, id))")
    for site in range(30):
        warehouse.run("INSERT INTO reviews VALUES (:site, 1, 'un'), (:site, 2, 'deux')", site=site)
    with pytest.raises(PreflightError, match=r"Its key is \(site, id\): use a view") as error:
        opened(warehouse)
    if warehouse.engine.dialect.name != "sqlite" or sqlite3.sqlite_version_info >= (3, 44):  # the first with CONCAT
        warehouse.run(f"CREATE VIEW{str(error.value).partition('CREATE VIEW')[2]}")
        warehouse.job = warehouse.job.replace(source_table="reviews_to_score")
        assert warehouse.score().counts.scored == 60


def test_a_schema_before_the_tables_name_is_told_to_have_a_setting_of_its_own(warehouse: Warehouse) -> None:
    warehouse.create()
    warehouse.job = warehouse.job.replace(source_table="shop.reviews")
    with pytest.raises(PreflightError, match="source_schema='shop', source_table='reviews'"):
        opened(warehouse)


def test_the_same_table_named_with_its_schema_is_the_same_source(warehouse: Warehouse) -> None:
    warehouse.create()
    warehouse.fill(3)
    warehouse.score("before")
    schema = inspect(warehouse.engine).default_schema_name
    warehouse.job = warehouse.job.replace(source_schema=schema)
    assert warehouse.score("with").counts.read == 0
    warehouse.job = warehouse.job.replace(source_schema=None)
    assert warehouse.score("without").counts.read == 0


def test_a_job_moves_to_another_source_with_the_same_ids_and_scores_nothing_anew(warehouse: Warehouse) -> None:
    warehouse.create()
    warehouse.fill(3)
    warehouse.score("before")
    warehouse.run("CREATE VIEW clean AS SELECT id, body FROM reviews")
    warehouse.job = warehouse.job.replace(source_table="clean")
    with pytest.raises(PreflightError, match=r"set moved_from='reviews.id' in the job"):
        warehouse.prepare()
    warehouse.job = warehouse.job.replace(moved_from="reviews.id")
    warehouse.prepare(dry_run=True)
    assert warehouse.run("SELECT source FROM scoring_jobs")[0].source == "reviews.id"
    assert warehouse.score("moved").counts.read == 0
    warehouse.job = warehouse.job.replace(moved_from=None)
    assert warehouse.score("and stays there").counts.read == 0


def test_lists_of_long_ids_are_cut_by_their_bytes(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialects, "ID_BYTES", 2000)
    warehouse.create("VARCHAR(255) PRIMARY KEY")
    warehouse.insert(*((f"{n:03}{'é' * 250}", "texte") for n in range(40)))
    sent: list[int] = []

    def keep(_c: object, _cursor: object, statement: str, parameters: object, *_: object) -> None:
        if statement.startswith(("SELECT", "SET STATEMENT", "DELETE")):
            sent.append(len(str(parameters).encode()))

    warehouse.score("before")
    event.listen(warehouse.engine, "before_cursor_execute", keep)
    assert warehouse.score("rescore", Rescore.ALL).counts.scored == 40
    event.remove(warehouse.engine, "before_cursor_execute", keep)
    assert max(sent) < 6000


def test_an_index_that_was_never_finished_and_a_key_that_heirs_do_not_share_make_no_id_unique(
    postgres_engine: Engine,
) -> None:
    warehouse = Warehouse(postgres_engine)
    warehouse.create("INTEGER")
    warehouse.insert((1, "un"), (1, "deux"))
    alone = postgres_engine.execution_options(isolation_level="AUTOCOMMIT")
    with alone.connect() as connection, suppress(DBAPIError):
        connection.exec_driver_sql("CREATE UNIQUE INDEX CONCURRENTLY unfinished ON reviews (id)")
    assert not opened(warehouse).id_is_unique
    warehouse.run("DROP TABLE reviews")
    warehouse.create()
    warehouse.run("CREATE TABLE more () INHERITS (reviews)")
    warehouse.run("INSERT INTO more VALUES (1, 'une autre')")
    warehouse.fill(3)
    assert not opened(warehouse).id_is_unique
    assert warehouse.score(chunk_rows=1).counts.read == 4
