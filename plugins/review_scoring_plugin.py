"""Loads the plugin from this checkout, unless the installed package registers it by its entry point."""

from __future__ import annotations

from importlib.metadata import entry_points

if "review_scoring" not in {entry.name for entry in entry_points(group="airflow.plugins")}:
    from review_scoring.airflow.plugin import ReviewScoringPlugin

    __all__ = ["ReviewScoringPlugin"]
