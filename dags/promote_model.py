"""The DAG `promote_model`."""

from review_scoring.airflow.dags.promoting import create_promote_dag

create_promote_dag(__file__)
