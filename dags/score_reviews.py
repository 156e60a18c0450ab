"""The DAG `score_<job>` of each job. Jobs are the files in `review_scoring_jobs/`, and those in a Variable."""

from review_scoring.airflow.dags.scoring import create_score_dags

create_score_dags(__file__)
