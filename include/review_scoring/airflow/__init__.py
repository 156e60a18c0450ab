"""The Airflow integration: operators, DAG helpers, settings, Connections, plugin. No other layer imports Airflow."""
