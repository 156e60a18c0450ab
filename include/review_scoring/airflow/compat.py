"""Names that older versions of Airflow have in another place. The rest of the package imports them from here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow import __version__

AIRFLOW = tuple(int(part) for part in __version__.split(".")[:2])
"""Major and minor version of the Airflow that is installed."""

if TYPE_CHECKING or AIRFLOW >= (3, 2):
    from airflow.sdk import (  # type: ignore[attr-defined]  # its type stub lacks those of deadlines
        AssetOrTimeSchedule,
        AsyncCallback,
        CronTriggerTimetable,
        DeadlineAlert,
        DeadlineReference,
        conf,
    )
    from airflow.sdk.exceptions import (
        AirflowException,
        AirflowFailException,
        AirflowRescheduleException,
        AirflowSkipException,
        ParamValidationError,
    )
    from airflow.sdk.observability.stats import Stats
else:
    # Airflow 3.1 has them outside of its SDK, in modules that 3.2 deprecates for this use. When 3.2 is the oldest
    # version that the project supports, remove this module and import the names from the SDK.
    from airflow.configuration import conf
    from airflow.exceptions import (
        AirflowException,
        AirflowFailException,
        AirflowRescheduleException,
        AirflowSkipException,
        ParamValidationError,
    )
    from airflow.sdk.definitions.deadline import AsyncCallback, DeadlineAlert, DeadlineReference
    from airflow.stats import Stats
    from airflow.timetables.assets import AssetOrTimeSchedule
    from airflow.timetables.trigger import CronTriggerTimetable

__all__ = [
    "AIRFLOW",
    "AirflowException",
    "AirflowFailException",
    "AirflowRescheduleException",
    "AirflowSkipException",
    "AssetOrTimeSchedule",
    "AsyncCallback",
    "CronTriggerTimetable",
    "DeadlineAlert",
    "DeadlineReference",
    "ParamValidationError",
    "Stats",
    "conf",
]
