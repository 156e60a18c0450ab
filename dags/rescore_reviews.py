"""The DAG `rescore_reviews`."""

from review_scoring.airflow.dags.rescoring import create_rescore_dag

create_rescore_dag(__file__)
