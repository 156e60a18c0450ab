"""The pages inside Airflow: overview, runs, reviews, rejects and models. Every route only reads."""
