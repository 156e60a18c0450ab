"""Alembic's scripts for the tables that this project owns."""
