"""Make a model the champion of the nightly job: what new reviews are scored with from then on."""

from __future__ import annotations

from datetime import datetime

from airflow.sdk import DAG, Param

from review_scoring.airflow.deployment import Deployment
from review_scoring.airflow.forms import offered_models
from review_scoring.airflow.operators.promote_model import PromoteModelOperator

MODELS = offered_models()
DEPLOYMENT = Deployment.of()

with DAG(
    "promote_model",
    description="Choose the champion: the model that new reviews are scored with",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
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
            description="Id of the evaluation that it rests on, whose revision is promoted; empty for the newest.",
        ),
        "without_passing": Param(
            False,
            type="boolean",
            title="Promote without passing",
            description="Promote although the model has not passed an evaluation. The reason should say why.",
        ),
    },
    tags=["review_scoring"],
    doc_md=__doc__,
) as dag:
    PromoteModelOperator(
        task_id="promote_model",
        job=DEPLOYMENT.job,
        model="{{ params.model }}",
        reason="{{ params.reason }}",
        evaluation="{{ params.evaluation }}",
        without_passing="{{ params.without_passing }}",
        require_benchmark=DEPLOYMENT.require_benchmark,
    )
