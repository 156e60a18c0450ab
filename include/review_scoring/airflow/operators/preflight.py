"""PreflightScoringOperator: runs the preflight checks of `run/preflight.py` before a run, and migrates the tables."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from review_scoring.airflow.connections.engines import engine_of
from review_scoring.airflow.operators.base import ScoringOperator, fail_without_retry
from review_scoring.run.preflight import advice
from review_scoring.run.publishing import check_publications

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)


class PreflightScoringOperator(ScoringOperator):
    """Check the Connections, table, columns, model and privileges of a scoring job, and report all problems at once.

    Tables that scores are published to are checked as well, but a database of theirs that does not answer is no problem
    yet: reviews can be scored without it.

    It creates or migrates the project's tables, unless `migrate` is off or it is a dry run.

    :param job: a :class:`ScoringJob`, its settings, or its name (templated)
    :param model: name or alias of a model of the catalogue, `name@revision`, or `champion`, the model that was promoted
        for the job; None for that of the job (templated); in DAG code also a folder in Hugging Face layout, as a
        `pathlib.Path`
    :param estimate_only: a dry run: write nothing, not even the project's tables (templated)
    :param migrate: False if a DBA creates the tables
    :param require_benchmark: refuse a model whose revision has not passed its newest evaluation on this benchmark set;
        True or `any` for each set that it was evaluated on; None for the job's setting (templated)
    """

    def execute(self, context: Context) -> str:
        """Check the setup, fail without a retry if anything is wrong, and return the model as `name@revision`.

        Tasks that use this as their model score with the same one, even if another is promoted meanwhile.
        """
        del context
        with fail_without_retry():
            prepared = self.prepare()
            check_publications(prepared.job, engine_of, self._stop)
            for each in advice(prepared):
                log.warning("%s", each)
        log.info(
            "ready: %s (%s ids), model %s at revision %s",
            prepared.source.name,
            prepared.source.id_type,
            prepared.model.name,
            prepared.model.revision[:12],
        )
        return f"{prepared.model.name}@{prepared.model.revision}"
