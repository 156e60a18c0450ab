"""The Airflow plugin: registers the navigation entry *Scoring*, the web app, and the extra link of scoring tasks."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from airflow.plugins_manager import AirflowPlugin

from review_scoring.airflow.links import ROUTE, RunPageLink, airflow_path


class ReviewScoringPlugin(AirflowPlugin):
    """Adds the pages of review_scoring to Airflow's UI."""

    name = "review_scoring"
    external_views = [  # noqa: RUF012 as Airflow declares it
        {
            "name": "Scoring",  # the navigation cuts off a longer name
            "href": f"{airflow_path()}/{ROUTE}/",  # without the trailing slash, Airflow serves its own page
            "url_route": ROUTE,
            "destination": "nav",
            "nav_top_level": True,
            "icon": f"{airflow_path()}/{ROUTE}/static/icon.svg",
            "icon_dark_mode": f"{airflow_path()}/{ROUTE}/static/icon-dark.svg",
        }
    ]
    operator_extra_links = [RunPageLink()]  # noqa: RUF012 as Airflow declares it

    @cached_property
    def fastapi_apps(self) -> list[dict[str, Any]]:  # type: ignore[override]  # an attribute in Airflow's class
        """Create the web app on first access: task processes load plugins too, and do not need it."""
        from review_scoring.airflow.web.app import create_app

        return [{"app": create_app(), "url_prefix": f"/{ROUTE}", "name": "review_scoring"}]
