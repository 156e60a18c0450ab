"""What is left of the classifier's own speed when reviews come from PostgreSQL and scores go back to it.

In one process with the bundled model, loaded once: parts of a run over the table (read, screen, hash, classify, commit,
1,000 reviews a transaction) take turns with the classifier alone on as many of the same texts.
"""

from __future__ import annotations

import itertools
import json
import statistics
import time
from collections.abc import Sequence

from bench_etl import JOB, create, database, run, vacuum
from report import report

from review_scoring.inference.classifier import Classifier
from review_scoring.models.catalogue import DEFAULT_MODEL, find_model
from review_scoring.preflight import preflight
from review_scoring.scoring import ScoringOptions, score_reviews
from review_scoring.stop import StopFlag
from review_scoring.warehouse.runs import RunKey

PARTS = 5
CHUNK = 1000


def sql_to_sql(rows: int, texts: Sequence[str]) -> None:
    """Score `rows` reviews from SQL to SQL, part by part, and print their share of the classifier's own speed."""
    model = find_model(DEFAULT_MODEL)
    classifier = Classifier.load(model)
    classifier.classify(texts[:200])
    part = rows // PARTS
    cycled = list(itertools.islice(itertools.cycle(texts), rows))
    alone, through = [], []
    with database() as engine:
        create(engine, 1)
        run(engine, "TRUNCATE reviews")
        for start in range(0, rows, CHUNK):
            values = {str(n): cycled[n] for n in range(start, min(start + CHUNK, rows))}
            run(
                engine,
                "INSERT INTO reviews SELECT CAST(key AS bigint), value, now()"
                " FROM jsonb_each_text(CAST(:them AS jsonb))",
                them=json.dumps(values),
            )
        vacuum(engine, "reviews")
        for n in range(PARTS):
            stop = StopFlag()
            ready = preflight(
                JOB, source_engine=lambda: engine, target_engine=lambda: engine, model=lambda: model, stop=stop
            )
            assert ready.ledger is not None
            started = time.perf_counter()
            summary = score_reviews(
                job=JOB,
                source=ready.source,
                ledger=ready.ledger,
                key=RunKey("bench", "score", f"part {n}"),
                model=model,
                load_classifier=lambda: classifier,
                options=ScoringOptions(chunk_rows=CHUNK, limit=part),
                stop=stop,
            )
            through.append(summary.counts.scored / (time.perf_counter() - started))
            mine = cycled[n * part : (n + 1) * part]
            started = time.perf_counter()
            for first in range(0, part, CHUNK):
                classifier.classify(mine[first : first + CHUNK])
            alone.append(part / (time.perf_counter() - started))
            print(f"part {n + 1}: {through[-1]:,.0f} reviews/s from SQL to SQL, {alone[-1]:,.0f} alone", flush=True)
    share = statistics.median(one / other for one, other in zip(through, alone, strict=True))
    report(
        "inference_sql",
        [
            {
                "reviews": rows,
                "device": str(classifier.device),
                "sql_to_sql_per_s": round(statistics.median(through), 1),
                "classifier_per_s": round(statistics.median(alone), 1),
                "share": round(share, 3),
            }
        ],
    )
