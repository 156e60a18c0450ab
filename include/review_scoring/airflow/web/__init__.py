"""The pages inside Airflow: what was scored, how the nights go, and what to do about rejects. Nothing here writes."""
