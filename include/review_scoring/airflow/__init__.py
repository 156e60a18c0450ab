"""The only rooms that import Airflow."""
