"""Airflow's notifiers by their import path, and the deadline alerts that use them."""

from __future__ import annotations

from datetime import timedelta
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from airflow.sdk import BaseNotifier

from review_scoring.airflow.compat import AsyncCallback, DeadlineAlert, DeadlineReference
from review_scoring.errors import ConfigurationError, in_short
from review_scoring.job_definition import DagSettings, Event, Notification


def notifier_class(path: str) -> Any:
    """Import a notifier.

    :raises ConfigurationError: if there is no such class, or it is not a notifier
    """
    module, _, name = path.rpartition(".")
    try:
        found = getattr(import_module(module), name, None)
    except Exception as error:  # noqa: BLE001 the code of others, which is run by importing it
        raise ConfigurationError(
            f"notifier {path!r} cannot be imported ({in_short(error)}); is its provider installed?"
        ) from None
    if not (isinstance(found, type) and issubclass(found, BaseNotifier)):
        raise ConfigurationError(f"{path!r} is not a notifier, a subclass of airflow.sdk.BaseNotifier")
    return found


def require_modules(dag: DagSettings) -> None:
    """Require that the modules of all notifiers are installed. Only their parent packages are imported.

    :raises ConfigurationError: naming the notifier whose module is missing
    """
    for notification in dag.notifications:
        module = notification.notifier.rpartition(".")[0]
        try:
            is_there = find_spec(module) is not None
        except Exception:  # noqa: BLE001 the code of others, which is run by importing it
            is_there = False
        if not is_there:
            raise ConfigurationError(
                f"notifier {notification.notifier!r}: there is no module {module!r}; install its provider, or correct "
                "the path"
            )


def deadline_alerts(dag: DagSettings) -> list[DeadlineAlert]:
    """Return an alert for each notification of a deadline. Airflow sends it from its triggerer.

    :raises ConfigurationError: for a notifier that cannot be imported, or has no `async_notify`
    """
    if dag.deadline_minutes is None:
        return []
    due = [each for each in dag.notifications if Event.DEADLINE in each.on]
    return [
        DeadlineAlert(
            reference=DeadlineReference.DAGRUN_QUEUED_AT,
            interval=timedelta(minutes=dag.deadline_minutes),
            callback=_callback(each),
        )
        for each in due
    ]


def _callback(notification: Notification) -> AsyncCallback:
    notifier = notifier_class(notification.notifier)
    if notifier.async_notify is BaseNotifier.async_notify:
        raise ConfigurationError(f"notifier {notification.notifier!r} has no async_notify, which a deadline needs")
    try:
        return AsyncCallback(notifier, dict(notification.arguments))
    except ValueError as error:
        raise ConfigurationError(f"notifier {notification.notifier!r}: {in_short(error)}") from None
