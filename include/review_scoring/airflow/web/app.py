"""The FastAPI app that Airflow's API server mounts: read-only pages and static files."""

from __future__ import annotations

from fastapi import Depends, FastAPI
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.staticfiles import StaticFiles

from review_scoring.airflow.config import page_settings
from review_scoring.airflow.web.access import readable_dags
from review_scoring.airflow.web.databases import Databases
from review_scoring.airflow.web.error_pages import not_found
from review_scoring.airflow.web.known_jobs import KnownJobs
from review_scoring.airflow.web.limiter import Limiter
from review_scoring.airflow.web.live_counts import LiveCountsCache
from review_scoring.airflow.web.pages import jobs, models, overview, rejects, reviews, run
from review_scoring.airflow.web.rendering import STATIC
from review_scoring.airflow.web.security import SecurityHeaders
from review_scoring.settings import Settings


def create_app(settings: Settings | None = None) -> FastAPI:
    """Return the app. Every page requires the permission to read the DAG of its job; static files are public."""
    settings = settings or page_settings()
    app = FastAPI(title="Review scoring", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.settings = settings
    app.state.known_jobs = KnownJobs()
    app.state.databases = Databases()
    app.state.live_counts = LiveCountsCache()
    for module in (overview, jobs, run, reviews, rejects, models):
        app.include_router(module.router, dependencies=[Depends(readable_dags)])
    app.add_exception_handler(StarletteHTTPException, not_found)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    app.add_middleware(Limiter)
    app.add_middleware(SecurityHeaders)
    return app
