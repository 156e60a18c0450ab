"""The DAG `import_model`."""

from review_scoring.airflow.dags.importing import create_import_dag

create_import_dag()
