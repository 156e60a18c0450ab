"""The DAG `forget_reviews`."""

from review_scoring.airflow.dags.forgetting import create_forget_dag

create_forget_dag(__file__)
