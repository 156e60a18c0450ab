"""The Airflow operators. They only adapt the other layers, which do not import Airflow."""

from __future__ import annotations

from review_scoring.airflow.operators.plan_shards import PlanShardsOperator
from review_scoring.airflow.operators.preflight import PreflightScoringOperator
from review_scoring.airflow.operators.score_reviews import ScoreReviewsOperator
from review_scoring.airflow.operators.summarise_run import SummariseRunOperator

__all__ = [
    "PlanShardsOperator",
    "PreflightScoringOperator",
    "ScoreReviewsOperator",
    "SummariseRunOperator",
]
