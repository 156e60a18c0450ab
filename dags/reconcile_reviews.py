"""The DAG `reconcile_reviews`."""

from review_scoring.airflow.dags.reconciling import create_reconcile_dag

create_reconcile_dag(__file__)
