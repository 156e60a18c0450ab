"""The Airflow operators. They adapt the other layers, which do not import Airflow.

A name is imported at its first use, so that a DAG file that scores does not import the evaluation of models.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from review_scoring.airflow.operators.apply_retention import ApplyRetentionOperator
    from review_scoring.airflow.operators.check_run import CheckRunOperator
    from review_scoring.airflow.operators.erase_reviews import ForgetReviewsOperator, ReconcileReviewsOperator
    from review_scoring.airflow.operators.evaluate_models import BenchmarkModelOperator, LoadBenchmarkOperator
    from review_scoring.airflow.operators.import_model import ImportModelOperator
    from review_scoring.airflow.operators.notify import NotifyOperator
    from review_scoring.airflow.operators.plan_comparison import PlanComparisonOperator
    from review_scoring.airflow.operators.plan_shards import PlanShardsOperator
    from review_scoring.airflow.operators.preflight import PreflightScoringOperator
    from review_scoring.airflow.operators.promote_model import PromoteModelOperator
    from review_scoring.airflow.operators.publish_scores import PublishScoresOperator
    from review_scoring.airflow.operators.resolve_run import ResolveRunOperator
    from review_scoring.airflow.operators.score_reviews import ScoreReviewsOperator
    from review_scoring.airflow.operators.summarise_run import SummariseRunOperator
    from review_scoring.airflow.operators.update_asset import UpdateAssetOperator

__all__ = [
    "ApplyRetentionOperator",
    "BenchmarkModelOperator",
    "CheckRunOperator",
    "ForgetReviewsOperator",
    "ImportModelOperator",
    "LoadBenchmarkOperator",
    "NotifyOperator",
    "PlanComparisonOperator",
    "PlanShardsOperator",
    "PreflightScoringOperator",
    "PromoteModelOperator",
    "PublishScoresOperator",
    "ReconcileReviewsOperator",
    "ResolveRunOperator",
    "ScoreReviewsOperator",
    "SummariseRunOperator",
    "UpdateAssetOperator",
]

_MODULES = {
    "ApplyRetentionOperator": "apply_retention",
    "BenchmarkModelOperator": "evaluate_models",
    "CheckRunOperator": "check_run",
    "ForgetReviewsOperator": "erase_reviews",
    "ImportModelOperator": "import_model",
    "LoadBenchmarkOperator": "evaluate_models",
    "NotifyOperator": "notify",
    "PlanComparisonOperator": "plan_comparison",
    "PlanShardsOperator": "plan_shards",
    "PreflightScoringOperator": "preflight",
    "PromoteModelOperator": "promote_model",
    "PublishScoresOperator": "publish_scores",
    "ReconcileReviewsOperator": "erase_reviews",
    "ResolveRunOperator": "resolve_run",
    "ScoreReviewsOperator": "score_reviews",
    "SummariseRunOperator": "summarise_run",
    "UpdateAssetOperator": "update_asset",
}


def __getattr__(name: str) -> Any:
    """Import an operator's module when the operator is used."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
