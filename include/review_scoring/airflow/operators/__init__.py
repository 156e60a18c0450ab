"""Operators: what they do is in the rooms that do not know Airflow."""
