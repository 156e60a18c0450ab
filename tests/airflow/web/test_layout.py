"""Layout with long ids and names, in a real Chromium: no page is wider than a phone, or longer than needed."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Page, ViewportSize, sync_playwright

from review_scoring.airflow.web import dag_runs
from review_scoring.airflow.web.app import create_app
from review_scoring.check_settings import Checks
from review_scoring.job import ScoringJob
from review_scoring.request import RunKey
from review_scoring.run.checking import check_run
from review_scoring.warehouse.engine import make_engine
from tests.airflow.runner import connection
from tests.airflow.web.app_state import served, without_login
from tests.airflow.web.browser import TOO_WIDE, chromium
from tests.stubs import Warehouse

pytestmark = pytest.mark.services

LONG_JOB = "reviews_of_everything_that_was_ever_sold_in_any_shop_of_ours_" * 3
RUN = "scheduled__2026-11-25T02:00:00+00:00"
SCORED, REJECTED = 30, 12
DESKTOP: ViewportSize = {"width": 1280, "height": 900}
PHONE: ViewportSize = {"width": 360, "height": 740}
LINES = """all => all.map(each => Math.round(each.getBoundingClientRect().height /
    parseFloat(getComputedStyle(each).lineHeight)))"""
"""Returns the number of lines of each element."""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the pages of a job with a long name and UUIDs as ids, without a login."""
    engine = make_engine(f"sqlite:///{tmp_path_factory.mktemp('layout') / 'reviews.db'}")
    job = ScoringJob(name=LONG_JOB, source_conn_id="reviews", source_table="reviews", text_column="body")
    warehouse = Warehouse(engine, job=job)
    warehouse.create("TEXT PRIMARY KEY")
    text = "Une merveille, courez-y : deux heures de bonheur, et des acteurs que l'on n'oublie pas. "
    warehouse.insert(*((str(uuid.UUID(int=n * 7919 << 64 | n)), text * (n % 4 + 1)) for n in range(SCORED)))
    warehouse.insert(*((str(uuid.UUID(int=n * 104729 << 64 | n)), None) for n in range(1000, 1000 + REJECTED)))
    warehouse.score(RUN)
    strict = Checks(most_rejects=0.1)
    assert check_run(warehouse.prepare().existing_ledger, strict, RunKey("dag", "score", RUN)) is not None
    settings = {"source_conn_id": "reviews", "source_table": "reviews", "text_column": "body"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dag_runs, "dag_states", lambda _, **__: {})  # there is no Airflow here
        patch.setenv("AIRFLOW_CONN_REVIEWS", connection(engine))
        patch.setenv("AIRFLOW_VAR_REVIEW_SCORING_JOBS", json.dumps({LONG_JOB: settings, "series": settings}))
        with served(without_login(create_app())) as found:
            yield found


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        yield browser.new_page(locale="en-GB")
        browser.close()


PAGES = (f"?job={LONG_JOB}", "reviews", "rejects", "models", "review?id=nobody", "run?dag_id=a&run_id=b")


@pytest.mark.parametrize("below", PAGES, ids=range(len(PAGES)))
def test_a_long_job_name_does_not_widen_a_page_on_a_phone(page: Page, address: str, below: str) -> None:
    page.set_viewport_size(PHONE)
    page.goto(f"{address}/{below}")
    assert page.evaluate(TOO_WIDE) == []
    assert page.locator("select#job").evaluate("e => e.getBoundingClientRect().right <= innerWidth")


def test_the_list_of_jobs_fits_a_phone(page: Page, address: str) -> None:
    page.set_viewport_size(PHONE)
    page.goto(address)
    assert page.locator("tbody tr").count() == 2
    assert page.evaluate(TOO_WIDE) == []


def test_the_navigation_of_a_job_beside_others_fits_a_phone(page: Page, address: str) -> None:
    page.set_viewport_size(PHONE)
    page.goto(f"{address}/reviews")
    assert page.locator(".top nav").evaluate("e => e.scrollWidth <= e.clientWidth")
    assert set(page.locator(".top nav a").evaluate_all(LINES)) == {2}, "one line and its padding"


@pytest.mark.parametrize("below", ["reviews", "rejects"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_a_uuid_takes_two_lines_at_most(page: Page, address: str, below: str, size: ViewportSize) -> None:
    page.set_viewport_size(size)
    page.goto(f"{address}/{below}")
    ids = page.locator("tbody .id a")
    assert ids.count() >= REJECTED
    assert max(ids.evaluate_all(LINES)) <= 2


@pytest.mark.parametrize("below", ["reviews", "rejects"])
def test_a_list_is_not_longer_than_its_texts_need(page: Page, address: str, below: str) -> None:
    page.set_viewport_size(DESKTOP)
    page.goto(f"{address}/{below}")

    assert page.evaluate("document.documentElement.scrollHeight") < 3000


def test_a_reject_can_be_read_on_a_phone_without_scrolling_sideways(page: Page, address: str) -> None:
    page.set_viewport_size(PHONE)
    page.goto(f"{address}/rejects")
    wider = "[...document.querySelectorAll('.scroll')].filter(e => e.scrollWidth > e.clientWidth + 1).length"
    assert page.evaluate(wider) == 0


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_the_checks_of_a_run_can_be_read_without_scrolling_sideways(
    page: Page, address: str, size: ViewportSize
) -> None:
    page.set_viewport_size(size)
    page.goto(f"{address}/run?{urlencode({'job': LONG_JOB, 'dag_id': 'dag', 'run_id': RUN})}")
    assert page.locator("section:has(#checks) tbody tr").count() == 8
    assert page.locator(".head .state-failed").inner_text() == "1 check failed"
    assert page.evaluate(TOO_WIDE) == []
