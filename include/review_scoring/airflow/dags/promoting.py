"""The DAG `promote_model`: promotes a model to champion of a job, which scores its new reviews from then on.

The promotion of a model without a passing evaluation waits for the approval of another person.
"""

from __future__ import annotations

from airflow.sdk import DAG, Param

from review_scoring.airflow.dags.base import CHOSEN_JOB, scoring_dag
from review_scoring.airflow.jobs import defined_jobs, jobs_folder
from review_scoring.airflow.operators import PromoteModelOperator
from review_scoring.airflow.params import job_param, offered_models


def create_promote_dag(dag_file: str) -> DAG:
    """Create the DAG, for the jobs in the folder beside a DAG file and in the Variable."""
    folder, models = jobs_folder(dag_file), offered_models()
    params = {
        "job": job_param(defined_jobs(folder), each_job=False),
        "model": Param(
            type="string",
            enum=list(models),
            values_display={name: entry.shown for name, entry in models.items()},
            title="Model",
            description="Its newest revision in the model store becomes the champion, unless an evaluation is given.",
        ),
        "reason": Param(
            type="string",
            minLength=3,
            title="Reason",
            description="Recorded with the promotion.",
        ),
        "evaluation": Param(
            None,
            type=["null", "integer"],
            minimum=1,
            title="Evaluation",
            description="Number of the evaluation that it rests on, from the page Models; empty for the newest.",
        ),
        "without_passing": Param(
            False,
            type="boolean",
            title="Promote without passing",
            description="Promote the model even if it has not passed an evaluation. Another person has to approve it, "
            "as a required action of the run. Explain why in the reason.",
        ),
    }
    with scoring_dag(
        "promote_model",
        description="Promote a model to champion: the model that new reviews are scored with",
        schedule=None,
        resolved={"job": CHOSEN_JOB, "jobs_folder": folder},
        reports=("promote_model",),
        params=params,
        doc_md=__doc__,
    ) as (dag, run):
        PromoteModelOperator(
            task_id="promote_model",
            job=run.job_settings,
            model="{{ params.model }}",
            reason="{{ params.reason }}",
            evaluation="{{ params.evaluation }}",
            without_passing="{{ params.without_passing }}",
            require_benchmark=run.require_benchmark,
        )
    return dag
