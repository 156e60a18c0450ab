"""The settings of a deployment, declared: every option of `[review_scoring]` with type, default and description.

`docs/reference/settings.md` is generated from here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from review_scoring.errors import ConfigurationError, in_short
from review_scoring.models.settings import ModelSettings, default_store

log = logging.getLogger(__name__)

SECTION = "review_scoring"

FEWEST_RUN_DAYS = 125
"""Days for which the runs of a job are needed: the charts go back 120 days, to the start of the day (UTC), and the
checks compare with the runs of eight weeks."""

MOST_DAYS = 36_500

ON = ("true", "1", "yes", "on")
OFF = ("false", "0", "no", "off", "none", "")
"""`none` and the empty text are what a template renders a missing value to."""


def truth(value: object) -> bool | None:
    """Return whether a value means on or off, whatever its type and case; None for one that means neither."""
    text = str(value).strip().lower()
    return True if text in ON else False if text in OFF else None


def as_bool(value: object, name: str) -> bool:
    """Convert a parameter or a setting.

    :raises ConfigurationError: for a value that means neither, naming the parameter
    """
    found = truth(value)
    if found is None:
        raise ConfigurationError(f"{name} is {value!r}; it must be on ({', '.join(ON)}) or off ({', '.join(OFF[:-1])})")
    return found


def _words(text: object) -> tuple[str, ...]:
    return tuple(str(text).replace(",", " ").split())


def _hosts(text: object) -> tuple[str, ...]:
    return _words(str(text).lower())


def _is_hidden(text: object) -> bool:
    return truth(text) is not False  # where it is not clear, nothing is shown


def as_days(value: object, name: str, *, fewest: int = 0) -> int:
    """Convert a number of days for which something is kept; 0 keeps it for ever.

    :param fewest: the smallest number but 0
    :raises ConfigurationError: for another value, naming the parameter or setting
    """
    try:
        days = int(str(value))
    except ValueError:
        raise ConfigurationError(f"{name} is {value!r}; it must be a whole number of days, 0 for ever") from None
    if not 0 <= days <= MOST_DAYS:
        raise ConfigurationError(f"{name} is {days}; it must be from 1 to {MOST_DAYS}, or 0 for ever")
    if 0 < days < fewest:
        raise ConfigurationError(
            f"{name} is {days}; it must be 0, which keeps for ever, or at least {fewest}: the charts of the pages show "
            "the runs of 120 days, and the checks of a run compare it with those of the eight weeks before"
        )
    return days


UserPath = Annotated[Path, AfterValidator(Path.expanduser)]
RunDays = Annotated[int, BeforeValidator(partial(as_days, name="keep_runs_days", fewest=FEWEST_RUN_DAYS))]
PredictionDays = Annotated[int, BeforeValidator(partial(as_days, name="keep_predictions_days"))]


class Settings(BaseModel):
    """The options of `[review_scoring]`. What a single run does is set by Airflow Variables and its form instead."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    schedule: str = Field(
        default="0 2 * * *",
        description="When new reviews are scored, unless a job has its own schedule: a cron expression, or `none`.",
    )
    benchmark_schedule: str = Field(
        default="0 4 * * 0", description="When models are evaluated: a cron expression, in UTC."
    )
    reconcile_schedule: str = Field(
        default="0 4 * * 6",
        description="When scores are reconciled with their source: a cron expression, in UTC.",
    )
    jobs_folder: UserPath | None = Field(
        default=None,
        description="Folder of job files, one TOML file per job; `review_scoring_jobs` beside the DAG files if empty.",
        examples=["/etc/review_scoring/jobs"],
    )
    pool: str = Field(
        default="default_pool",
        description="Airflow pool of the tasks that classify. Runs wait indefinitely for a pool that does not exist.",
        examples=["gpu"],
    )
    queue: str | None = Field(
        default=None,
        description="Queue of the tasks that classify; `[operators] default_queue` if empty.",
        examples=["gpu"],
    )
    import_queue: str | None = Field(
        default=None,
        description="Queue of the task that imports models. Its workers write into the model store; `queue` if empty.",
        examples=["default"],
    )
    model_store: UserPath = Field(
        default_factory=default_store,
        description="Folder of imported models. Every worker that classifies has to read it; "
        "`$AIRFLOW_HOME/review_scoring/models` if empty.",
        examples=["/mnt/models"],
    )
    catalogue: UserPath | None = Field(
        default=None,
        description="TOML file with models of your own, in addition to those of the package.",
        examples=["/etc/review_scoring/models.toml"],
    )
    model_hosts: Annotated[tuple[str, ...], BeforeValidator(_hosts)] = Field(
        default=(),
        description="Hosts that models may be downloaded from, in addition to those of the catalogue, "
        "separated by blanks.",
        examples=["mirror.example.org"],
    )
    benchmark_sets: UserPath | None = Field(
        default=None,
        description="TOML file with benchmark sets of your own, in addition to those of the package.",
        examples=["/etc/review_scoring/sets.toml"],
    )
    unpassed_promotions: Literal["approval", "refused", "allowed"] = Field(
        default="approval",
        description="What the promotion of a model without a passing evaluation needs: `approval` by another person "
        "than the one who triggered it, or nothing (`allowed`, for a team of one); or it is `refused`.",
    )
    promotion_approvers: Annotated[tuple[str, ...], BeforeValidator(_words)] = Field(
        default=(),
        description="Ids of the users who may approve such a promotion, separated by blanks; if empty, everybody whom "
        "Airflow lets answer required actions of the DAG `promote_model`.",
        examples=["ada grace"],
    )
    hide_texts: Annotated[bool, BeforeValidator(_is_hidden)] = Field(
        default=False,
        description="Whether the pages hide the texts of reviews, for teams whose reviews are personal data.",
    )

    keep_runs_days: RunDays = Field(
        default=0,
        description="Days after their end for which the records of runs are kept: 0 for ever, otherwise at least "
        f"{FEWEST_RUN_DAYS}, which the charts and checks need. Scores and rejects stay.",
        examples=["400"],
    )
    keep_predictions_days: PredictionDays = Field(
        default=0,
        description="Days after their end for which the predictions of evaluations are kept, 0 for ever. Metrics and "
        "verdicts stay.",
        examples=["400"],
    )

    @classmethod
    def read(cls, get: Callable[[str], str | None]) -> Settings:
        """Read the options.

        :param get: returns the text of an option, or None where it is not set
        :raises ConfigurationError: for an option that cannot be read, naming it
        """
        values: dict[str, Any] = {}
        for name in cls.model_fields:
            try:
                if text := (get(name) or "").strip():
                    cls.model_validate({name: text})
                    values[name] = text
            except Exception as error:  # noqa: BLE001 Airflow, configparser, pydantic and pathlib have one each
                raise ConfigurationError(
                    f"option {name!r} of [{SECTION}] in Airflow's configuration cannot be read ({in_short(error)})"
                ) from None
        return cls(**values)

    @classmethod
    def read_for_pages(cls, get: Callable[[str], str | None]) -> Settings:
        """Read the option of the pages alone, so that no other one keeps Airflow's API server from starting.

        If it cannot be read, no texts are shown.
        """
        try:
            return cls.read(lambda name: get(name) if name == "hide_texts" else None)
        except ConfigurationError:
            log.exception("the pages show no texts")
            return cls(hide_texts=True)

    @property
    def models(self) -> ModelSettings:
        """Where models are kept, which ones exist, and where they may come from."""
        return ModelSettings(store=self.model_store, catalogue=self.catalogue, hosts=self.model_hosts)


def default_text(name: str) -> str | None:
    """Return the default of an option as text; None for one that is empty by default."""
    default = Settings.model_fields[name].default
    return str(default) if isinstance(default, str | int) else None
