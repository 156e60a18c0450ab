"""The demo of `make demo`: loads the sample reviews into SQLite, and prints the scores and the evaluation."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any

from sqlalchemy import DateTime, Engine, Integer, MetaData, Table, Text, cast, func, select
from sqlalchemy.schema import Column

from review_scoring.evaluation.text_tables import class_table_text
from review_scoring.warehouse.engine import make_engine, writing
from review_scoring.warehouse.evaluations.past_evaluations import details, evaluations
from review_scoring.warehouse.ledger.counts import Counts
from review_scoring.warehouse.schema import tables

SAMPLE = Path(__file__).parent / "data" / "sample_reviews.csv"
UNUSABLE = (None, "", "   \n")
"""Texts of three more rows, which demonstrate rejects."""

SHOWN = 8
reviews = Table(
    "film_reviews",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("text", Text),
    Column("written_at", DateTime),
)


def prepare(path: str) -> None:
    """Create the table of reviews in a SQLite file and fill it, unless it has rows already."""
    engine = make_engine(f"sqlite:///{path}")
    reviews.metadata.create_all(engine)
    with writing(engine).begin() as connection:
        if connection.scalar(select(func.count()).select_from(reviews)):
            return
        rows = [{"id": int(row["id"]), "text": row["text"]} for row in sample_reviews()]
        rows += [{"id": len(rows) + n, "text": text} for n, text in enumerate(UNUSABLE, 1)]
        connection.execute(reviews.insert(), rows)


def sample_reviews() -> list[dict[str, str]]:
    """Return the rows of the sample: id, text, label, written_at."""
    with SAMPLE.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def show(path: str) -> None:
    """Print the scores, rejects and counts of the last run."""
    engine = make_engine(f"sqlite:///{path}")
    ours = tables()
    with engine.connect() as connection:
        newest = select(ours.shards, ours.models.c.name.label("model")).join(
            ours.models, ours.models.c.id == ours.shards.c.model_id
        )
        run = connection.execute(newest.order_by(ours.shards.c.id.desc()).limit(1)).one()
        labels = connection.execute(
            select(ours.scores.c.label, func.count(), func.avg(ours.scores.c.score)).group_by(ours.scores.c.label)
        ).all()
        reasons = connection.execute(select(ours.rejects.c.reason, func.count()).group_by(ours.rejects.c.reason)).all()
    _print_reviews(engine)
    print()
    for label, count, mean in labels:
        print(f"  {label}: {count} reviews, mean score {mean:.3f}")
    print("  rejected: " + (", ".join(f"{count} {reason}" for reason, count in reasons) or "none"))
    seconds = (run.ended_at - run.started_at).total_seconds()
    print(f"  {run.model} on {run.device or 'no device (no new reviews)'}, {seconds:.1f} s\n")
    counts = Counts.from_row(run)
    print(counts)
    if not counts.read:
        print("There were no new reviews: each review is scored once.")


def benchmark(path: str) -> None:
    """Print the last evaluation: metrics by class, as on a model card, and the comparisons."""
    with make_engine(f"sqlite:///{path}").connect() as connection:
        (run,) = evaluations(connection, tables(), last=1)
        found = details(connection, tables(), evaluation=run.id)
    low, high = found.metrics["intervals"]["accuracy"]
    print(f"\n{run.model} at revision {run.revision[:12]} on the labels of {run.reviews} {run.set_name} reviews\n")
    print(class_table_text(found.classes, run.accuracy))
    print(
        f"\n  accuracy {run.accuracy:.4f} (95 %: {low:.3f} to {high:.3f}), loss {run.loss:.4f}, "
        f"calibration error {found.metrics['calibration']['ece']:.3f}\n"
        f"  {run.samples_per_second:.1f} reviews/s, {run.tokens_per_second:,.0f} tokens/s on {run.device} "
        f"{run.precision}\n"
        f"  vs. published: {run.reference_verdict}; vs. last evaluation: {run.last_run_verdict}\n"
        "  The sample reviews are hard on purpose. To evaluate on your own reviews, see docs/benchmarks.md.\n"
        "\nnext: make up                       start Airflow on the same data\n"
        f"      sqlite3 {_short(path)}    the view review_labels, the tables review_rejects, benchmark_runs, …\n"
        "      README.md                     score your own table, in five minutes"
    )


def _print_reviews(engine: Engine) -> None:
    """Print the first scores, with the texts: the project wrote these reviews. No log ever contains a text."""
    scores = tables().scores
    joined = scores.join(reviews, cast(reviews.c.id, Text) == scores.c.review_id)
    columns = (reviews.c.id, scores.c.label, scores.c.score, scores.c.token_count, reviews.c.text)
    with engine.connect() as connection:
        rows: Any = connection.execute(select(*columns).select_from(joined).order_by(reviews.c.id).limit(SHOWN)).all()
    print(f"\n  {'id':>4}  {'label':5}  {'score':>6}  {'tokens':>6}  text")
    for row in rows:
        print(
            f"  {row.id:>4}  {row.label:5}  {row.score:6.4f}  {row.token_count:>6}  {' '.join(row.text.split())[:70]}"
        )


def _short(path: str) -> str:
    return str(Path(path).relative_to(Path.cwd())) if Path(path).is_relative_to(Path.cwd()) else path


if __name__ == "__main__":
    {"prepare": prepare, "show": show, "benchmark": benchmark}[sys.argv[1]](sys.argv[2])
