"""A scoring run in a process of its own, which can be killed anywhere and reports its progress."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.process import BaseProcess
from typing import Any

from sqlalchemy import Engine, event

from review_scoring.errors import JobBusyError
from review_scoring.job import Order, Rescore, ScoringJob
from review_scoring.request import KeyRange
from review_scoring.warehouse.engine import make_engine
from review_scoring.warehouse.ledger import writing as chunk_writer
from review_scoring.warehouse.ledger.writing import ChunkWriter
from review_scoring.warehouse.source.table import SourceTable
from tests.stubs import StubClassifier, Warehouse

STAGES = ("starting", "reading", "classifying", "writing", "committing", "between chunks")
STARTING, READING, CLASSIFYING, WRITING, COMMITTING, BETWEEN = range(len(STAGES))

BATCH_S = 0.01
"""What the stub takes for a chunk, so that a kill can meet it at work."""

forks = multiprocessing.get_context("forkserver")
forks.set_forkserver_preload(["tests.exactly_once.worker"])


@dataclass
class Telemetry:
    """Shared memory: what the worker is doing, how often it has committed, and when it began and ended.

    A run that yields tries again while the job is busy; `tries` counts that. After `hold` commits the worker stays at
    its next batch, as long as `hold` says so; -1 lets it go on.
    """

    stage: Any
    commits: Any
    began: Any
    ended: Any
    texts: Any
    tries: Any
    hold: Any

    @classmethod
    def fresh(cls) -> Telemetry:
        """Return telemetry for one worker. It has no locks, which a killed worker could hold for ever."""
        raw = forks.RawValue
        return cls(
            stage=raw("i", STARTING),
            commits=raw("i", 0),
            began=raw("d", 0),
            ended=raw("d", 0),
            texts=raw("i", 0),
            tries=raw("i", 0),
            hold=raw("i", -1),
        )

    def position(self) -> str:
        return f"{STAGES[self.stage.value]}, {self.commits.value} chunks committed"


def work(
    opened: Callable[[], Engine],
    job: ScoringJob,
    run_id: str,
    chunk_rows: int,
    telemetry: Telemetry,
    batch_s: float,
    keys: KeyRange,
    rescore: str,
    yields: bool,
    target_url: str | None,
    limit: int | None,
) -> None:
    """Score what waits in a database; a run that yields tries again and again, as Airflow has it do."""
    engine = opened()

    def classifying(texts: Sequence[str]) -> None:
        telemetry.stage.value = CLASSIFYING
        telemetry.texts.value += len(texts)
        time.sleep(batch_s)
        wait_for(lambda: not 0 <= telemetry.hold.value <= telemetry.commits.value)

    real_fetch: Any = SourceTable.fetch
    real_write: Any = chunk_writer._write_scores
    real_commit: Any = ChunkWriter.commit

    def fetch(*arguments: Any, **options: Any) -> Any:
        if not telemetry.began.value:
            telemetry.began.value = time.monotonic()
        telemetry.stage.value = READING
        return real_fetch(*arguments, **options)

    def write(*arguments: Any) -> None:
        telemetry.stage.value = WRITING
        real_write(*arguments)

    def committed(_: Any) -> None:
        telemetry.stage.value = COMMITTING

    def commit(*arguments: Any) -> Any:
        after = real_commit(*arguments)
        telemetry.stage.value = BETWEEN
        telemetry.commits.value += 1
        telemetry.ended.value = time.monotonic()
        return after

    event.listen(engine, "commit", committed)
    for owner, name, watched in (
        (SourceTable, "fetch", fetch),
        (chunk_writer, "_write_scores", write),
        (ChunkWriter, "commit", commit),
    ):
        setattr(owner, name, watched)
    target = make_engine(target_url) if target_url else None
    if target is not None:
        event.listen(target, "commit", committed)
    warehouse = Warehouse(engine, target, classifier=StubClassifier(before_batch=classifying), job=job)
    options: dict[str, Any] = {"yields": True} if yields else {"wait_s": 60, "order": Order.NEWEST}
    while True:
        telemetry.tries.value += 1
        try:
            warehouse.score(run_id, Rescore(rescore), keys=keys, chunk_rows=chunk_rows, limit=limit, **options)
        except JobBusyError:
            if not yields:
                raise
            time.sleep(0.2)
        else:
            break


def start(
    warehouse: Warehouse,
    run_id: str,
    telemetry: Telemetry,
    *,
    chunk_rows: int = 20,
    batch_s: float = BATCH_S,
    keys: KeyRange | None = None,
    rescore: Rescore = Rescore.NOTHING,
    yields: bool = False,
    limit: int | None = None,
    reopen: Callable[[], Engine] | None = None,
) -> BaseProcess:
    """Start a worker.

    :param reopen: returns a new engine of the database with the reviews, in that process; None for one of its URL
    """
    opened = reopen or partial(make_engine, warehouse.engine.url.render_as_string(hide_password=False))
    target = warehouse.target.url.render_as_string(hide_password=False) if warehouse.target else None
    options = (run_id, chunk_rows, telemetry, batch_s, keys or KeyRange(), rescore.value, yields, target, limit)
    process = forks.Process(target=work, args=(opened, warehouse.job, *options))
    process.start()
    vars(process)["telemetry"] = telemetry  # kept alive until the worker has it
    return process


def finish(process: BaseProcess) -> None:
    """Wait for a worker to end well."""
    process.join(120)
    assert process.exitcode == 0, f"the worker ended with {process.exitcode}"


def wait_for(condition: Any, seconds: float = 60.0) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.0002)


def kill_at(process: BaseProcess, telemetry: Telemetry, progress: float) -> bool:
    """Kill a worker at a progress, in chunks; False if it had ended by then.

    Chunks are counted, and not seconds, so that a busy machine is killed where an idle one is: 2.5 is
    after the second commit, half as long as the two took on average.
    """
    chunks, part = divmod(progress, 1)
    wait_for(lambda: (telemetry.began.value and telemetry.commits.value >= chunks) or not process.is_alive())
    chunk_s = (telemetry.ended.value - telemetry.began.value) / chunks if chunks else 2 * BATCH_S
    time.sleep(part * max(0.0, chunk_s))
    assert process.pid is not None
    if process.is_alive():
        os.kill(process.pid, signal.SIGKILL)
    process.join()
    return process.exitcode == -signal.SIGKILL


def moments(count: int, chunks: int, seed: int) -> list[float]:
    """Draw moments uniformly between the first read and the last of so many commits, as `kill_at` takes them."""
    draw = random.Random(seed)  # noqa: S311 reproducible, not secret
    return [draw.uniform(0, chunks) for _ in range(count)]
