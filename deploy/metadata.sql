-- Run once, by the PostgreSQL image, when the volume is new. Celery's results have a database and a user of their own,
-- so that a worker, which runs anybody's DAGs, has no way into Airflow's metadata.
\getenv password RESULTS_PASSWORD
CREATE ROLE results LOGIN PASSWORD :'password';
CREATE DATABASE results OWNER results;
REVOKE CONNECT ON DATABASE airflow, results, postgres FROM PUBLIC;
