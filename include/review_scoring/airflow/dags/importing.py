"""The DAG `import_model`: imports a model of the catalogue into the model store. Triggered by hand."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param

from review_scoring.airflow.config import settings
from review_scoring.airflow.dags.base import scoring_dag
from review_scoring.airflow.operators import ImportModelOperator
from review_scoring.models.catalogue import catalogue
from review_scoring.models.catalogue_entry import ModelKind


def create_import_dag() -> DAG:
    """Create the DAG.

    :raises ModelError: if an entry of the deployment's own catalogue is wrong
    """
    deployment = settings()
    offered = [entry for entry in catalogue(deployment.catalogue).values() if entry.kind is not ModelKind.BUNDLED]
    with scoring_dag(
        "import_model",
        description="Download, convert and check a model, and store it in the model store",
        schedule=None,
        resolved={"job": None},
        params={
            "model": Param(
                type="string",
                enum=[entry.name for entry in offered],
                values_display={entry.name: entry.shown for entry in offered},
                title="Model",
                description="Unverified: the entry has not been checked against the real files yet; the import checks "
                "it.",
            )
        },
        default_args={"retries": 2, "retry_delay": timedelta(minutes=1), "execution_timeout": timedelta(hours=4)},
        doc_md=__doc__,
    ) as (dag, _):
        ImportModelOperator(task_id="import_model", model="{{ params.model }}", queue=deployment.import_queue)
    return dag
