"""The DAG `publish_scores`."""

from review_scoring.airflow.dags.publishing import create_publish_dag

create_publish_dag(__file__)
