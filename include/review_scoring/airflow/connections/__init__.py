"""SQLAlchemy engines from Airflow Connections: drivers, extras, TLS."""
