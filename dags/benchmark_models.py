"""The DAG `benchmark_models`."""

from review_scoring.airflow.dags.benchmarking import create_benchmark_dag

create_benchmark_dag(__file__)
