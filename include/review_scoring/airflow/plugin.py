"""What Airflow loads: an entry in its navigation, the web app behind it, and the link on scoring tasks."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from airflow.plugins_manager import AirflowPlugin

from review_scoring.airflow.links import ROUTE, RunPageLink, airflow_path


class ReviewScoringPlugin(AirflowPlugin):
    """The pages of review_scoring, inside Airflow."""

    name = "review_scoring"
    external_views = [  # noqa: RUF012 as Airflow declares it
        {
            "name": "Scoring",  # a longer one is cut off there
            "href": f"{airflow_path()}/{ROUTE}/",  # without the last slash, Airflow's own page answers
            "url_route": ROUTE,
            "destination": "nav",
            "nav_top_level": True,
            "icon": f"{airflow_path()}/{ROUTE}/static/icon.svg",
            "icon_dark_mode": f"{airflow_path()}/{ROUTE}/static/icon-dark.svg",
        }
    ]
    operator_extra_links = [RunPageLink()]  # noqa: RUF012 as Airflow declares it

    @cached_property
    def fastapi_apps(self) -> list[dict[str, Any]]:  # type: ignore[override]  # a list there
        """Make the web app only where it is asked for: every task process loads plugins, and none needs it."""
        from review_scoring.airflow.web.app import create_app

        return [{"app": create_app(), "url_prefix": f"/{ROUTE}", "name": "review_scoring"}]
