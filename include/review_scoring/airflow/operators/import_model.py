"""The operator that imports a model of the catalogue into the model store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from review_scoring.airflow.assets import MODEL_STORE
from review_scoring.airflow.config import settings
from review_scoring.airflow.operators.base import fail_without_retry
from review_scoring.concurrency.cancellation import StopFlag
from review_scoring.importing import import_model

if TYPE_CHECKING:
    from airflow.sdk import Context


class ImportModelOperator(BaseOperator):
    """Import a model into the model store: download, convert, check, store. The import is complete or has no effect.

    This is one task, since it works on files of a gigabyte: several tasks would need a shared disk for files that are
    not checked yet.

    :param model: name or alias of a model of the catalogue (templated)
    """

    template_fields: Sequence[str] = ("model",)
    ui_color = "#e6f4ea"

    def __init__(self, *, model: str, **kwargs: Any) -> None:
        kwargs.setdefault("outlets", [MODEL_STORE])
        super().__init__(**kwargs)
        self.model = model
        self._stop = StopFlag()

    def on_kill(self) -> None:
        """Stop the import after the current step. Airflow calls this as a signal handler."""
        self._stop.set()

    def execute(self, context: Context) -> dict[str, Any]:
        """Import the model, and return its name and revision."""
        with fail_without_retry():
            imported = import_model(self.model, settings().models, between_steps=self._stop.check)
        found = {"name": imported.name, "revision": imported.revision}
        context["outlet_events"][MODEL_STORE].extra = {**found}
        return {**found, "seconds": imported.seconds}
