"""Dates in the zone of a browser: a real Chromium in Tokyo, with this process as the server."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from fastapi.testclient import TestClient
from playwright.sync_api import Route, expect, sync_playwright
from sqlalchemy import Engine, update

from review_scoring.warehouse.engine import writing
from tests.requirements import not_here
from tests.stubs import Warehouse

pytestmark = pytest.mark.services

HOST = "http://pages.test"


@pytest.fixture
def engine(sqlite_engine: Engine) -> Engine:
    """SQLite only: the script is the same for every database."""
    return sqlite_engine


def test_days_are_filtered_and_labelled_in_the_browsers_zone(
    pages: Callable[..., TestClient], warehouse: Warehouse
) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        not_here("there is no Chromium on the PATH: apt-get install chromium")
    warehouse.create()
    warehouse.fill(1)
    warehouse.score()
    evening = datetime(2026, 2, 28, 20, tzinfo=UTC)  # in Tokyo, the morning of the first of March
    with writing(warehouse.engine).begin() as connection:
        connection.execute(update(warehouse.tables.scores).values(scored_at=evening))
    client = pages()

    def answer(route: Route) -> None:
        found = client.get(route.request.url.removeprefix(HOST))
        route.fulfill(status=found.status_code, headers=dict(found.headers), body=found.content)

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_context(timezone_id="Asia/Tokyo").new_page()
        page.route("**/*", answer)
        page.goto(f"{HOST}/reviews")
        for name in ("Scored from (Asia/Tokyo)", "Scored to (Asia/Tokyo)"):
            page.get_by_label(name).fill("2026-03-01")
        page.get_by_role("button", name="Show", exact=True).click()
        page.wait_for_url("**zone=Asia**")
        expect(page.locator("table.reviews tbody tr")).to_have_count(1)
        expect(page.locator("table.reviews time")).to_contain_text("1 Mar 2026")

        page.goto(
            f"{HOST}/reviews?scored_from=2026-02-28&scored_to=2026-02-28"
        )  # as a browser without JavaScript sends it
        expect(page.locator("table.reviews tbody tr")).to_have_count(1)
        expect(page.get_by_label("Scored from (UTC)")).to_have_value("2026-02-28")
        browser.close()
