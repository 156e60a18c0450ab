"""From an Airflow Connection to a SQLAlchemy engine."""
