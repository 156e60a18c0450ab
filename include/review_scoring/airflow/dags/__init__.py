"""The DAGs of this project. The files in `dags/` create them; a DAG file of an Airflow of your own has two lines.

from review_scoring.airflow.dags import create_dags
create_dags(__file__)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from airflow.sdk import get_parsing_context

from review_scoring.errors import ConfigurationError

if TYPE_CHECKING:
    from review_scoring.airflow.dags.scoring import create_score_dag, create_score_dags

__all__ = ["create_dags", "create_score_dag", "create_score_dags"]


def create_dags(dag_file: str) -> None:
    """Create all DAGs: one for each job, and those for rescores, reconciliation, erasure, publication, imports and
    evaluation.

    Jobs are read from the folder `review_scoring_jobs` beside the DAG file, and from the Variable of that name.

    :param dag_file: `__file__` of the DAG file
    """
    # Here and not at the top: a DAG file that creates one DAG does not import the modules of the others.
    from review_scoring.airflow.dags.base import create_failing_dag
    from review_scoring.airflow.dags.benchmarking import create_benchmark_dag
    from review_scoring.airflow.dags.forgetting import create_forget_dag
    from review_scoring.airflow.dags.importing import create_import_dag
    from review_scoring.airflow.dags.promoting import create_promote_dag
    from review_scoring.airflow.dags.publishing import create_publish_dag
    from review_scoring.airflow.dags.reconciling import create_reconcile_dag
    from review_scoring.airflow.dags.rescoring import create_rescore_dag
    from review_scoring.airflow.dags.scoring import create_score_dags

    create_score_dags(dag_file)
    others: dict[str, Callable[[], object]] = {
        "rescore_reviews": lambda: create_rescore_dag(dag_file),
        "reconcile_reviews": lambda: create_reconcile_dag(dag_file),
        "forget_reviews": lambda: create_forget_dag(dag_file),
        "publish_scores": lambda: create_publish_dag(dag_file),
        "import_model": create_import_dag,
        "promote_model": lambda: create_promote_dag(dag_file),
        "benchmark_models": lambda: create_benchmark_dag(dag_file),
    }
    wanted = get_parsing_context().dag_id  # a task needs only its own DAG
    for dag_id, create in others.items():
        if wanted not in {None, dag_id}:
            continue
        try:
            create()
        except ConfigurationError as error:
            create_failing_dag(dag_id, str(error))


def __getattr__(name: str) -> Any:
    """Import the DAGs of jobs when they are used: a DAG file that creates another DAG does not need them."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from review_scoring.airflow.dags import scoring

    return getattr(scoring, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
