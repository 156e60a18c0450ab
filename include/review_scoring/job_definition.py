"""The definition of a job: what is scored (`ScoringJob`), and how Airflow runs its DAG. A job file contains one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any, TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field

from review_scoring.job import ScoringJob
from review_scoring.validation import CheckedModel, Must, Problem, Text

NO_SCHEDULE = "none"
"""The schedule of a DAG that runs only when it is triggered."""

MOST_MINUTES = 1440
"""Celery redelivers a task after its visibility timeout of one day, so tasks end before."""

IMPORT_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")


class Event(StrEnum):
    """What a notification is sent on."""

    SUCCESS = "success"
    WARNING = "warning"
    FAILURE = "failure"
    DEADLINE = "deadline"


class JobDag(StrEnum):
    """A DAG whose runs are about a job: the job's own, or one that takes the job in its form."""

    SCORE = "score"
    RESCORE = "rescore_reviews"
    RECONCILE = "reconcile_reviews"
    FORGET = "forget_reviews"
    PUBLISH = "publish_scores"
    BENCHMARK = "benchmark_models"
    PROMOTE = "promote_model"


class AssetsMode(StrEnum):
    """Whether a run starts when all assets of a job have been updated, or any of them."""

    ALL = "all"
    ANY = "any"


def _checked_timezone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"there is no time zone {name!r}; write one such as 'Europe/Paris'") from None
    return name


def _checked_path(path: str) -> str:
    if not IMPORT_PATH.fullmatch(path):
        raise ValueError("it must be the import path of a notifier, such as 'package.module.Notifier'")
    return path


Minutes: TypeAlias = Annotated[
    int, Field(strict=True, ge=1, le=MOST_MINUTES), Must(f"a number of minutes from 1 to {MOST_MINUTES}")
]
Small: TypeAlias = Annotated[int, Field(strict=True, ge=0, le=1000), Must("a whole number from 0 to 1000")]
Shards: TypeAlias = Annotated[int, Field(strict=True, ge=1, le=1000), Must("a whole number from 1 to 1000")]
Texts: TypeAlias = Annotated[tuple[Text, ...], Must("a list of non-empty strings")]
Tag: TypeAlias = Annotated[str, Field(min_length=1, max_length=100)]


class Notification(CheckedModel):
    """A message that is sent when a DAG run that is about a job has ended, or is late."""

    on: Annotated[
        tuple[Event, ...],
        Field(min_length=1),
        Must("a list of 'success', 'warning', 'failure' and 'deadline', at least one"),
    ] = Field(
        description="When it is sent: if all went well, if a check has warned, if a task has failed, or if the run has "
        "not succeeded within `deadline_minutes`."
    )
    dags: Annotated[
        tuple[JobDag, ...],
        Field(min_length=1),
        Must(f"a list of {', '.join(map(repr, map(str, JobDag)))}, at least one"),
    ] = Field(
        default=(JobDag.SCORE,),
        description="The DAGs whose runs it is sent about: `score` for the job's own DAG, and those that take the job "
        f"in their form, {', '.join(f'`{each}`' for each in JobDag if each is not JobDag.SCORE)}.",
    )
    notifier: Annotated[str, AfterValidator(_checked_path), Must("the import path of a notifier")] = Field(
        description="Import path of an Airflow notifier, such as "
        "`airflow.providers.smtp.notifications.smtp.SmtpNotifier`."
    )
    arguments: Annotated[dict[str, Any], Must("a table of arguments")] = Field(
        default={},
        description="Arguments of the notifier. Texts are templates, which can use `paragraph`, the report of the run, "
        "and what Airflow's templates have. Put secrets into the Connection that the notifier uses.",
    )

    @classmethod
    def cross_checks(cls, values: Mapping[str, Any]) -> Iterator[Problem]:
        """Yield problems of keys together."""
        on, dags = values.get("on"), values.get("dags")
        if isinstance(on, list | tuple) and Event.DEADLINE in on and dags and JobDag.SCORE not in dags:
            yield Problem("dags", "a deadline is one of the job's own DAG, 'score'")


class DagSettings(CheckedModel):
    """How Airflow runs the DAG of a job."""

    schedule: Text | None = Field(
        default=None,
        description="When new reviews are scored: a cron expression, a preset such as `@hourly`, or `none`. If not "
        "set, the setting `schedule`, or the assets alone if there are any.",
    )
    timezone: Annotated[str, AfterValidator(_checked_timezone), Must("a time zone such as 'Europe/Paris'")] = Field(
        default="UTC", description="Time zone of the schedule."
    )
    assets: Texts = Field(
        default=(),
        description="Names or URIs of Airflow assets that start a run. With a `schedule`, runs start at its times too.",
    )
    assets_mode: Annotated[AssetsMode, Must("'all' or 'any'")] = Field(
        default=AssetsMode.ALL,
        description="Whether a run starts when `all` of the assets have been updated since the last run, or `any`.",
    )
    pool: Text | None = Field(
        default=None, description="Airflow pool of the tasks that classify; the setting `pool` if not set."
    )
    queue: Text | None = Field(
        default=None, description="Queue of the tasks that classify; the setting `queue` if not set."
    )
    priority: Small = Field(
        default=10, description="Priority weight of the tasks that classify. Rescores have 1, so they wait for others."
    )
    shards: Shards | None = Field(
        default=None,
        description="Maximum number of tasks that classify in parallel; the Variable `review_scoring_shards` if not "
        "set.",
    )
    models: Texts = Field(
        default=(), description="Models that the form of the DAG offers, besides the job's own; all if empty."
    )
    owner: Text = Field(default="airflow", description="Owner of the DAG.")
    tags: Annotated[tuple[Tag, ...], Must("a list of strings of 100 characters at most")] = Field(
        default=(), description="Tags of the DAG, in addition to `review_scoring`."
    )
    retries: Small = Field(default=3, description="How often a failed task is retried.")
    timeout_minutes: Minutes = Field(
        default=MOST_MINUTES, description="Minutes after which a task is ended and fails. A retry continues its work."
    )
    deadline_minutes: Minutes | None = Field(
        default=None,
        description='Minutes after a run was queued at which the notifications `on = ["deadline"]` are sent if it '
        "has not succeeded. They need a triggerer.",
    )
    notifications: Annotated[tuple[Notification, ...], Must("a list of notifications")] = Field(
        default=(), description="Messages to people: the keys below."
    )

    @classmethod
    def cross_checks(cls, values: Mapping[str, Any]) -> Iterator[Problem]:
        """Yield problems of keys together."""
        on_deadline = any(Event.DEADLINE in on for on in _events(values.get("notifications")))
        if values.get("deadline_minutes") and not on_deadline:
            yield Problem("deadline_minutes", 'it needs a notification with on = ["deadline"]')
        if on_deadline and not values.get("deadline_minutes"):
            yield Problem("notifications", "one is sent on a deadline, but deadline_minutes is not set")


def _events(notifications: object) -> Iterator[Sequence[object]]:
    """Yield what each notification is sent on; they are not validated yet."""
    for each in notifications if isinstance(notifications, list | tuple) else ():
        on = each.get("on") if isinstance(each, Mapping) else getattr(each, "on", ())
        yield on if isinstance(on, list | tuple) else ()


class JobDefinition(ScoringJob):
    """A scoring job and how Airflow runs its DAG.

    :raises ConfigurationError: with everything that is wrong
    """

    dag: Annotated[DagSettings, Must("a table of keys")] = Field(
        default=DagSettings(), description="How Airflow runs the DAG of the job: the keys below."
    )

    @property
    def job(self) -> ScoringJob:
        """What is scored, without the DAG."""
        return ScoringJob(**self.model_dump(mode="json", exclude={"dag"}))
