"""Erases scores, rejects and benchmark texts of given reviews, at once. Triggered by hand.

Airflow's metadata database keeps the ids, in the conf of this run and the fields of its task. The command
`review-scoring forget --file` leaves none there.
"""

from __future__ import annotations

from airflow.sdk import Param

from review_scoring.airflow.dags import scoring_dag
from review_scoring.airflow.operators import ForgetReviewsOperator

with scoring_dag(
    "forget_reviews",
    description="Erase what is recorded of given reviews",
    schedule=None,
    params={
        "ids": Param(
            type="array",
            minItems=1,
            title="Ids",
            description="Ids of the reviews, one per line.",
        ),
        "dry_run": Param(
            False,
            type="boolean",
            title="Dry run",
            description="Count what would be erased, and erase nothing.",
        ),
        "even_if_in_source": Param(
            False,
            type="boolean",
            title="Even if in the source",
            description="Erase reviews that the source still has, and that are scored again.",
        ),
    },
    doc_md=__doc__,
) as (dag, run):
    ForgetReviewsOperator(
        task_id="forget",
        job=run.job,
        ids="{{ params.ids | join('\n') }}",
        even_if_in_source="{{ params.even_if_in_source }}",
        estimate_only="{{ params.dry_run }}",
    )
