"""Make a model the champion of the nightly job: what new reviews are scored with from then on."""

from __future__ import annotations

from airflow.sdk import Param

from review_scoring.airflow.dags import scoring_dag
from review_scoring.airflow.operators.promote_model import PromoteModelOperator
from review_scoring.airflow.params import offered_models

MODELS = offered_models()

with scoring_dag(
    "promote_model",
    description="Choose the champion: the model that new reviews are scored with",
    schedule=None,
    max_active_runs=1,
    params={
        "model": Param(
            type="string",
            enum=list(MODELS),
            values_display={name: entry.shown for name, entry in MODELS.items()},
            title="Model",
            description="Its newest revision in the model store becomes the champion, unless an evaluation is named.",
        ),
        "reason": Param(
            type="string",
            minLength=3,
            title="Reason",
            description="Is kept with the promotion, for those who ask later.",
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
            description="Promote although the model has not passed an evaluation. The reason should say why.",
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
