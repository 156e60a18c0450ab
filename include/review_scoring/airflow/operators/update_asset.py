"""UpdateAssetOperator: adds an event to the asset of a job when a run has written scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from review_scoring.airflow.assets import ANY_SCORES, scores_of
from review_scoring.airflow.compat import AirflowSkipException
from review_scoring.run.report import DryRunReport

if TYPE_CHECKING:
    from airflow.sdk import Context

FIGURES = ("read", "scored", "unchanged", "rejected", "relabelled", "labels", "waiting", "model", "revision")
"""What the extra of an event takes from the report of the run."""


class UpdateAssetOperator(BaseOperator):
    """Add an event to the asset of a job's scores, if the run has written something.

    It is skipped after a dry run, and after a run that found nothing to score. Put it after :class:`CheckRunOperator`:
    if a check fails, there is no event.

    :param report: the result of :class:`SummariseRunOperator` (templated)
    :param job_name: the name of the job; None if it is known only when the run starts: events are then added through
        the asset alias `review_scores`
    """

    template_fields = ("report",)
    ui_color = "#e6f4ea"

    def __init__(self, *, report: Mapping[str, Any] | Any, job_name: str | None = None, **kwargs: Any) -> None:
        kwargs.setdefault("outlets", [ANY_SCORES if job_name is None else scores_of(job_name)])
        super().__init__(**kwargs)
        self.report = report
        self.job_name = job_name

    def execute(self, context: Context) -> None:
        """Add the event, or skip."""
        if DryRunReport.from_xcom(self.report):
            raise AirflowSkipException("a dry run writes no scores")
        if not self.report["written"]:
            raise AirflowSkipException("the run has written no scores")
        run: Any = context["dag_run"]
        figures = {name: self.report[name] for name in FIGURES if name in self.report}
        extra = {"job": self.report["job"], "dag_id": run.dag_id, "run_id": run.run_id, **figures}
        if self.job_name is None:
            context["outlet_events"][ANY_SCORES].add(scores_of(self.report["job"]), extra=extra)
        else:
            context["outlet_events"][scores_of(self.job_name)].extra = extra
