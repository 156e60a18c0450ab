"""Names that older versions of Airflow have in another place. The rest of the package imports them from here."""

from __future__ import annotations

from datetime import timedelta
from inspect import signature
from typing import TYPE_CHECKING, Any

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


def response_timeout(wait: timedelta) -> dict[str, Any]:
    """Return the argument of `HITLOperator` that ends its wait for an answer."""
    from airflow.providers.standard.operators.hitl import HITLOperator

    # Before its version 1.12.2, the standard provider takes it from the timeout of the task.
    is_known = "response_timeout" in signature(HITLOperator.__init__).parameters
    return {"response_timeout" if is_known else "execution_timeout": wait}


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
    "response_timeout",
]
