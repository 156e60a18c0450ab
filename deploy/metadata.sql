-- The PostgreSQL image runs this once, on a new volume. Celery's result backend has a separate database and user: a worker
-- runs the code of all DAGs, and must not have access to Airflow's metadata database.
\getenv password RESULTS_PASSWORD
CREATE ROLE results LOGIN PASSWORD :'password';
CREATE DATABASE results OWNER results;
REVOKE CONNECT ON DATABASE airflow, results, postgres FROM PUBLIC;
