"""Metrics of a run through Airflow's own: StatsD, DogStatsD or OpenTelemetry, whichever `[metrics]` switches on.

All are gauges with the figures of the last run: a run is one event, and its figures replace those of the run before.
Without a metrics backend, Airflow drops them. No error of a backend fails a task.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from review_scoring.airflow.compat import Stats, conf
from review_scoring.run.report import RunReport
from review_scoring.warehouse.ledger.counts import shares_of
from review_scoring.warehouse.ledger.verdicts import FAILED, PASSED, SKIPPED, WARNED, Verdict

log = logging.getLogger(__name__)

JOB, MODEL, KIND = "scoring_job", "model", "kind"
"""The tag of the job is not called `job`: Prometheus writes the name of the scraped service there."""

RUN_TAGS = (JOB, MODEL, KIND)
"""`kind` keeps rescores apart: they cover old reviews, and would replace the figures of the nightly run."""

NEW, RESCORE = "new", "rescore"
"""Values of the tag `kind`."""

STATES = (PASSED, WARNED, FAILED, SKIPPED)


@dataclass(frozen=True)
class Metric:
    """A metric as Airflow names it: a backend puts the prefix `airflow` before it.

    :param tags: in the order in which plain StatsD, which has no tags, gets their values as parts of the name
    """

    name: str
    unit: str
    meaning: str
    tags: tuple[str, ...] = RUN_TAGS


METRICS = (
    Metric("review_scoring.run.read", "reviews", "Reviews that the run has read."),
    Metric("review_scoring.run.scored", "reviews", "Reviews that it has scored."),
    Metric("review_scoring.run.rejected", "reviews", "Reviews that it could not score."),
    Metric("review_scoring.run.unchanged", "reviews", "Reviews that it has read and found unchanged."),
    Metric("review_scoring.run.relabelled", "reviews", "Scored reviews that had another label before."),
    Metric(
        "review_scoring.run.waiting",
        "reviews",
        "Reviews that wait for the next run, beyond the budget of this one; at least so many, if they were too many to "
        "count.",
    ),
    Metric(
        "review_scoring.run.oldest_waiting_seconds",
        "seconds",
        "Age of the oldest review that waits for the next run, by the job's `cursor_column`; 0 if none waits, nothing "
        "if that column is not set or has no times.",
    ),
    Metric("review_scoring.run.seconds", "seconds", "From the first shard's start to the last one's end."),
    Metric(
        "review_scoring.run.reviews_per_second",
        "reviews per second",
        "What one task classified per second, without reading, writing and loading the model; 0 if nothing was "
        "classified.",
    ),
    Metric("review_scoring.run.tokens", "tokens", "Tokens of the scored reviews."),
    Metric("review_scoring.run.ended", "Unix time", "When the run ended."),
    Metric(
        "review_scoring.run.label_share",
        "share",
        "Share of a label among the scored reviews, from 0 to 1; nothing if no review was scored.",
        (*RUN_TAGS, "label"),
    ),
    Metric(
        "review_scoring.check.state",
        "0 or 1",
        "1 for the state in which a check of the run is: `passed`, `warned`, `failed` or `skipped`; 0 for the other "
        "states.",
        (JOB, "check", "state"),
    ),
    Metric(
        "review_scoring.check.figure",
        "as the check",
        "What a check has computed of the run; nothing for a check that was skipped.",
        (JOB, "check"),
    ),
    Metric(
        "review_scoring.check.limit",
        "as the check",
        "What that figure was compared with; nothing for a check that was skipped.",
        (JOB, "check"),
    ),
)
"""All metrics. `docs/reference/metrics.md` is generated from this."""


class Sample(NamedTuple):
    """A value of a metric."""

    name: str
    value: float
    tags: Mapping[str, str]


def emit_run(report: RunReport) -> None:
    """Emit the metrics of a run that has ended."""
    _emit(run_samples(report, time.time()))


def emit_checks(job: str, verdicts: Sequence[Verdict]) -> None:
    """Emit what the checks of a run said."""
    _emit(check_samples(job, verdicts))


def run_samples(report: RunReport, ended: float) -> Iterator[Sample]:
    """Yield the metrics of a run.

    :param ended: the Unix time at which it ended
    """
    counts = report.counts
    tags = {JOB: report.job, MODEL: report.model, KIND: RESCORE if report.is_rescore else NEW}
    values = {
        "read": counts.read,
        "scored": counts.scored,
        "rejected": counts.rejected,
        "unchanged": counts.unchanged,
        "relabelled": counts.relabelled,
        "waiting": report.waiting.reviews,
        "seconds": report.seconds,
        "reviews_per_second": report.reviews_per_second,
        "tokens": counts.tokens,
        "ended": round(ended),
    }
    for name, value in values.items():
        yield Sample(f"review_scoring.run.{name}", value, tags)
    if report.waiting_since is not None or not report.waiting:
        since = ended if report.waiting_since is None else report.waiting_since.timestamp()
        yield Sample("review_scoring.run.oldest_waiting_seconds", max(round(ended - since), 0), tags)
    for label, share in shares_of(counts.labels).items():
        yield Sample("review_scoring.run.label_share", round(share, 6), {**tags, "label": label})


def check_samples(job: str, verdicts: Sequence[Verdict]) -> Iterator[Sample]:
    """Yield the metrics of a run's checks."""
    for each in verdicts:
        tags = {JOB: job, "check": each.name}
        for state in STATES:
            yield Sample("review_scoring.check.state", int(each.state == state), {**tags, "state": state})
        if each.figure is not None and each.limit is not None:
            yield Sample("review_scoring.check.figure", each.figure, tags)
            yield Sample("review_scoring.check.limit", each.limit, tags)


def _emit(samples: Iterator[Sample]) -> None:
    try:
        tagged = _carries_tags()
        for name, value, tags in samples:
            clean = {tag: _clean(text) for tag, text in tags.items()}
            Stats.gauge(name if tagged else _in_name(name, clean), value, tags=clean)
    except Exception as error:  # noqa: BLE001  a task never fails for its metrics
        log.warning("the metrics of this task are not emitted: %s", type(error).__name__)


def _carries_tags() -> bool:
    """Return whether the backend has tags: all but plain StatsD, in the order in which Airflow chooses one."""
    if conf.getboolean("metrics", "statsd_datadog_enabled", fallback=False):
        return bool(conf.getboolean("metrics", "statsd_datadog_metrics_tags", fallback=True))
    if conf.getboolean("metrics", "statsd_on", fallback=False):
        return bool(conf.getboolean("metrics", "statsd_influxdb_enabled", fallback=False))
    return True


def _clean(text: str) -> str:
    """Return a tag's value without characters that mean something to StatsD, for which Airflow drops the metric."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", text)


def _in_name(name: str, tags: Mapping[str, str]) -> str:
    """Return a name with the values of its tags as further parts, which therefore have no dot."""
    return ".".join([name, *(text.replace(".", "_") for text in tags.values())])
