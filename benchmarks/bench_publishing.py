"""Duration and memory of publishing scores from PostgreSQL to another database, compared with pandas.

    python benchmarks/bench_publishing.py            # 1,000,000 scores, then a night with 10,000 new ones

First: the table does not exist yet. Night: it has all scores but the new ones. review_scoring then writes those; pandas
has no merge, so it reads all scores and replaces the table. On PostgreSQL, the table of `to_sql` has no primary key.

`to_sql` is called with its default method, since `method="multi"` takes several times as long on both databases. DuckDB
also creates the table from the data frame (CREATE TABLE AS), which is the usual fast way with pandas.

Each measurement is a process of its own: the seconds from its first statement until the database is closed, and its
peak resident memory, which includes DuckDB but not the server of PostgreSQL. Ratios are to review_scoring.
REVIEW_SCORING_TEST_POSTGRES names the server; two databases are created there and dropped at the end.
"""

from __future__ import annotations

import argparse
import multiprocessing
import re
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench_etl import DATABASE, JOB, MODEL, create, database, run, vacuum
from report import report
from sqlalchemy import Engine, create_engine, insert, text, update

from review_scoring.concurrency.cancellation import StopFlag
from review_scoring.job import Publication
from review_scoring.request import RunKey
from review_scoring.run.preflight import Resources, preflight
from review_scoring.run.publishing import Publisher
from review_scoring.warehouse.engine import make_engine
from review_scoring.warehouse.ledger.counts import Counts
from review_scoring.warehouse.ledger.ledger import find_ledger
from review_scoring.warehouse.publishing.destinations import destination_of
from review_scoring.warehouse.schema import SUCCESS, tables

LABELS = "SELECT * FROM review_labels"
"""The view has the columns of a published table."""

Row = dict[str, Any]


@dataclass
class Cost:
    """What a publication took."""

    seconds: float = 0.0
    peak_mb: float = 0.0


@dataclass(frozen=True)
class Way:
    """A way to publish.

    :param publish: called in a process of its own with the URLs of both databases, the table, and the number of new
        scores
    """

    name: str
    publish: Callable[[str, str, str, int], Cost]

    @property
    def table(self) -> str:
        """The table that it publishes to."""
        return re.sub(r"\W+", "_", self.name).lower()


def ours(ledger_url: str, to_url: str, table: str, new: int) -> Cost:
    """Publish with review_scoring."""
    ledger, to = make_engine(ledger_url), make_engine(to_url)
    with measured(to) as cost:
        publisher = Publisher(
            ledger=find_ledger(ledger, JOB),
            to=Publication(conn_id=Path(to.url.database or "").name, table=table),
            destination=destination_of(to, JOB.name, table, None),
            holder=RunKey("bench", "publish", "run"),
            own=None,
            stop=StopFlag(),
        )
        done = publisher.publish()
    assert done.written == new, done
    return cost


def with_to_sql(ledger_url: str, to_url: str, table: str, _new: int) -> Cost:
    """Publish with `read_sql` and `to_sql`."""
    import pandas as pd

    ledger, to = create_engine(ledger_url), create_engine(to_url)
    with measured(to) as cost:
        pd.read_sql(LABELS, ledger).to_sql(table, to, if_exists="replace", index=False)
    return cost


def with_frame(ledger_url: str, to_url: str, table: str, _new: int) -> Cost:
    """Publish with `read_sql`, and a table that DuckDB creates from the data frame."""
    import pandas as pd

    ledger, to = create_engine(ledger_url), create_engine(to_url)
    with measured(to) as cost:
        frame = pd.read_sql(LABELS, ledger)
        with to.begin() as connection:
            driver: Any = connection.connection.driver_connection
            driver.register("frame", frame)
            connection.execute(text(f"CREATE OR REPLACE TABLE {table} AS SELECT * FROM frame"))
    return cost


@contextmanager
def measured(to: Engine) -> Iterator[Cost]:
    """Measure the block and the closing of the database, since DuckDB writes to its file then."""
    cost = Cost()
    started = time.perf_counter()
    yield cost
    to.dispose()
    cost.seconds = time.perf_counter() - started
    cost.peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


OURS = Way("review_scoring", ours)
TO_SQL = Way("pandas to_sql", with_to_sql)
FRAME = Way("pandas CREATE TABLE AS", with_frame)


def compare(what: str, ledger: Engine, to: Engine, ways: Sequence[Way], *, scores: int, new: int) -> list[Row]:
    """Publish in each way, and check that the tables have all rows afterwards."""
    urls = [each.url.render_as_string(hide_password=False) for each in (ledger, to)]
    found: list[Row] = []
    costs: list[Cost] = []
    for way in ways:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            costs.append(pool.apply(way.publish, (*urls, way.table, new)))
        rows = run(to, f"SELECT count(*) FROM {way.table}")[0][0]
        to.dispose()  # another process cannot open a file of DuckDB otherwise
        assert rows == scores, f"{way.name}: the table has {rows} rows, and the ledger {scores} scores"
        found.append(
            {
                "what": what,
                "to": to.dialect.name,
                "engine": way.name,
                "scores": scores,
                "new": new,
                "seconds": round(costs[-1].seconds, 2),
                "ratio": round(costs[-1].seconds / costs[0].seconds, 2),
                "peak_rss_mb": round(costs[-1].peak_mb, 1),
                "memory_ratio": round(costs[-1].peak_mb / costs[0].peak_mb, 2),
            }
        )
        print(found[-1], flush=True)
    return found


def score(engine: Engine, first: int, last: int, *, shards: int = 1) -> None:
    """Write a run that has scored the reviews from `first` to `last`, each shard an equal part of them."""
    tables_ = tables()
    job = find_ledger(engine, JOB).job.id
    task = {"dag_id": "bench", "task_id": "score", "dag_run_id": f"from {first}", "rescore": "none"}
    ended = {"state": SUCCESS, "model_id": 1, **Counts().as_columns(), "started_at": text("now()")}
    shard = {"lease_until": text("now()"), "chunks": 0, "ended_early": False, **ended}
    with engine.begin() as connection:
        added = insert(tables_.runs).values(job_id=job, shards=shards, **task, **ended)
        run_id = connection.execute(added.returning(tables_.runs.c.id)).scalar_one()
        for n in range(shards):
            token = update(tables_.jobs).values(last_fencing_token=tables_.jobs.c.last_fencing_token + 1)
            number = connection.execute(token.returning(tables_.jobs.c.last_fencing_token)).scalar_one()
            added = insert(tables_.shards).values(run_id=run_id, map_index=n, fencing_token=number, **shard)
            connection.execute(
                text(
                    "INSERT INTO review_scores (job_id, shard_id, scored_at, score, model_id, token_count, truncated,"
                    " review_id, label, probabilities, text_hash)"
                    " SELECT :job, :shard, now(), 0.5 + n % 500 / 1000.0, 1, 100, false, CAST(n AS text),"
                    " CASE n % 2 WHEN 0 THEN 'neg' ELSE 'pos' END, '[0.25, 0.75]', decode(repeat('0', 64), 'hex')"
                    " FROM generate_series(CAST(:first AS bigint), CAST(:last AS bigint)) n"
                ),
                {
                    "job": job,
                    "shard": connection.execute(added.returning(tables_.shards.c.id)).scalar_one(),
                    "first": first + (last - first + 1) * n // shards,
                    "last": first + (last - first + 1) * (n + 1) // shards - 1,
                },
            )
    vacuum(engine, "review_scores")


def prepare(engine: Engine) -> None:
    """Create the ledger, with the job and its model."""
    create(engine, 1, longest=1)
    preflight(JOB, Resources(source=lambda: engine, target=lambda: engine, model=lambda: MODEL), StopFlag())
    values = {"name": MODEL.name, "revision": MODEL.revision, "first_used_at": text("now()")}
    with engine.begin() as connection:
        connection.execute(insert(tables().models).values(id=1, **values))


def publish(ledger: Engine, mart: Engine, file: Engine, rows: int, new: int) -> list[Row]:
    """Compare the ways to publish for the first time and for a night."""
    prepare(ledger)
    score(ledger, 1, rows, shards=10)
    found = compare("first", ledger, mart, [OURS, TO_SQL], scores=rows, new=rows)
    found += compare("first", ledger, file, [OURS, TO_SQL, FRAME], scores=rows, new=rows)
    vacuum(mart, OURS.table)
    score(ledger, rows + 1, rows + new)
    found += compare("night", ledger, mart, [OURS, TO_SQL], scores=rows + new, new=new)
    found += compare("night", ledger, file, [OURS, TO_SQL, FRAME], scores=rows + new, new=new)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--new", type=int, default=10_000)
    arguments = parser.parse_args()
    described = ["git", "describe", "--always", "--dirty", "--exclude", "*"]
    commit = subprocess.run(described, cwd=Path(__file__).parent, capture_output=True, text=True, check=False).stdout
    print(f"commit {commit.strip() or 'unknown'}")
    with database() as ledger, database(f"{DATABASE}_mart") as mart, tempfile.TemporaryDirectory() as folder:
        file = make_engine(f"duckdb+duckdb_sqlalchemy:///{folder}/mart.duckdb")
        report("publishing", publish(ledger, mart, file, arguments.rows, arguments.new))


if __name__ == "__main__":
    main()
