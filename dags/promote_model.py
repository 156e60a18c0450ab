"""Promotes a model to champion: new reviews of the job are scored with it from then on."""

from __future__ import annotations

from airflow.sdk import Param

from review_scoring.airflow.dags import scoring_dag
from review_scoring.airflow.operators import PromoteModelOperator
from review_scoring.airflow.params import offered_models

MODELS = offered_models()

with scoring_dag(
    "promote_model",
    description="Promote a model to champion: the model that new reviews are scored with",
    schedule=None,
    max_active_runs=1,
    params={
        "model": Param(
            type="string",
            enum=list(MODELS),
            values_display={name: entry.shown for name, entry in MODELS.items()},
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
            description="Promote the model even if it has not passed an evaluation. Explain why in the reason.",
        ),
    },
    doc_md=__doc__,
) as (dag, run):
    PromoteModelOperator(
        task_id="promote_model",
        job=run.job,
        model="{{ params.model }}",
        reason="{{ params.reason }}",
        evaluation="{{ params.evaluation }}",
        without_passing="{{ params.without_passing }}",
        require_benchmark=run.require_benchmark,
    )
