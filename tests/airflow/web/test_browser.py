"""The pages in a real Chromium and a real Airflow: log in, browse, trigger runs, and browse again.

The tests of this module go on from each other, in their order: one Airflow is started for all of them.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute
from playwright.sync_api import BrowserContext, ConsoleMessage, FrameLocator, Page, WebError, expect, sync_playwright
from sqlalchemy import Engine, delete, insert, select

from review_scoring import demo
from review_scoring.airflow.web.app import create_app
from review_scoring.airflow.web.overview_charts import CONTROL_LIMITS
from review_scoring.job import Rescore, ScoringJob
from review_scoring.models.catalogue import DEFAULT_MODEL, find_model
from review_scoring.warehouse.engine import make_engine, writing
from review_scoring.warehouse.schema import tables
from tests.airflow.web.browser import TOO_WIDE, chromium
from tests.airflow.web.sample_runs import evaluate
from tests.airflow.web.server import Server, running
from tests.stubs import StubClassifier, Warehouse

pytestmark = [pytest.mark.services, pytest.mark.timeout(900)]

REVIEWS = 40
RIGHT_TO_LEFT = "\u0641\u064a\u0644\u0645 \u202e and what follows"
HOSTILE = {
    9001: "<script>alert(1)</script>",
    9002: "a" * 10_000,
    9003: RIGHT_TO_LEFT,
    9004: "</td></table></main><style>body{display:none}</style><h1>Deux</h1>",
}
WIDTH, HEIGHT, PHONE = 1280, 900, 360
NOT_OURS = (
    "An iframe which has both allow-scripts and allow-same-origin",
    "Canvas2D: Multiple readback operations",  # caused by these tests, which read the colours
)
RUN_S = 300
PATIENCE_MS = 60_000
expect.set_options(timeout=PATIENCE_MS)
CLIENT = httpx.Client(timeout=60)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    chromium()
    folder = tmp_path_factory.mktemp("standalone")
    reviews = folder / "reviews.db"
    demo.prepare(str(reviews))
    with writing(make_engine(f"sqlite:///{reviews}")).begin() as connection:
        connection.execute(
            delete(demo.reviews).where(demo.reviews.c.id.between(REVIEWS + 1, len(demo.sample_reviews())))
        )
        connection.execute(insert(demo.reviews), [{"id": n, "text": text} for n, text in HOSTILE.items()])
    jobs = {"film_reviews": {"source_conn_id": "reviews", "source_table": "film_reviews"}}
    with running(
        folder,
        AIRFLOW_CONN_REVIEWS=json.dumps({"conn_type": "sqlite", "host": str(reviews)}),
        AIRFLOW_VAR_REVIEW_SCORING_JOBS=json.dumps(jobs),
        AIRFLOW__REVIEW_SCORING__SCHEDULE="0 0 29 2 *",
        AIRFLOW__REVIEW_SCORING__RECONCILE_SCHEDULE="0 0 29 2 *",
    ) as started:
        yield started


@pytest.fixture(scope="module")
def context(server: Server) -> Iterator[BrowserContext]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        context = browser.new_context(
            viewport={"width": WIDTH, "height": HEIGHT}, locale="en-GB", timezone_id="Asia/Tokyo", color_scheme="light"
        )
        context.set_default_timeout(PATIENCE_MS)
        yield context
        browser.close()


@pytest.fixture(scope="module")
def page(context: BrowserContext, server: Server) -> Page:
    """A page with a logged-in user."""
    page = context.new_page()
    page.goto(server.address)
    page.fill("input[name=username]", "admin")
    page.fill("input[name=password]", server.passwords["admin"])
    page.click("button[type=submit]")
    page.wait_for_url(f"{server.address}/")
    return page


@pytest.fixture(autouse=True)
def console(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test if one of the project's pages writes to the browser's console or raises an error."""
    if "page" not in request.fixturenames:
        yield
        return
    context: BrowserContext = request.getfixturevalue("context")
    messages: list[str] = []

    def keep(message: ConsoleMessage) -> None:
        address = str(message.location.get("url", ""))
        if "/review-scoring/" in address and not message.text.startswith(NOT_OURS):
            messages.append(f"{address}: {message.text}")

    def raised(found: WebError) -> None:
        if "/review-scoring/" in str(found.error.stack):
            messages.append(str(found.error))

    context.on("console", keep)
    context.on("weberror", raised)
    yield
    context.remove_listener("console", keep)
    context.remove_listener("weberror", raised)
    assert messages == []


def open_page(page: Page, server: Server, below: str = "") -> FrameLocator:
    """Open one of the project's pages inside Airflow, and return its frame."""
    page.goto(f"{server.address}/plugin/review-scoring/review-scoring/{below}")
    frame = page.frame_locator("iframe")
    expect(frame.locator("h1")).to_be_visible()
    return frame


def back_to_reviews(page: Page, frame: FrameLocator) -> None:
    """Follow the navigation, and wait for the new page: text that is typed into the old one is lost."""
    with page.expect_event("framenavigated"):
        frame.get_by_role("link", name="Reviews").first.click()
    expect(frame.get_by_label("Look up by id")).to_have_value("")


def headers(server: Server, user: str) -> dict[str, str]:
    login = {"username": user, "password": server.passwords[user]}
    token = CLIENT.post(f"{server.address}/auth/token", json=login).json()["access_token"]
    return {"Authorization": f"Bearer {token}"}


def runs(server: Server) -> list[dict[str, Any]]:
    """Return the DAG's runs, the newest first, as soon as Airflow has parsed the DAG."""
    address = f"{server.address}/api/v2/dags/score_film_reviews/dagRuns?order_by=-run_after"
    for _ in range(RUN_S):
        answer = CLIENT.get(address, headers=headers(server, "admin"))
        if answer.status_code != 404:
            break
        time.sleep(1)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["dag_runs"]
    return found


def trigger(page: Page, server: Server, *, dry_run: bool) -> dict[str, Any]:
    """Trigger a run from the DAG's form, and wait for its end."""
    before = len(runs(server))
    page.goto(f"{server.address}/dags/score_film_reviews")
    page.get_by_role("button", name="Trigger").first.click()
    dialog = page.get_by_role("dialog")
    names = dialog.locator("[name^=element_]").evaluate_all("all => all.map(each => each.name)")
    assert names[:4] == ["element_dry_run", "element_model", "element_max_reviews", "element_max_minutes"]
    if dry_run:
        dialog.locator("label:has([name=element_dry_run])").click()
    dialog.get_by_role("button", name="Trigger", exact=True).click()
    deadline = time.monotonic() + RUN_S
    while time.monotonic() < deadline:
        found = runs(server)
        if len(found) > before and found[0]["state"] in {"success", "failed"}:
            assert found[0]["state"] == "success"
            assert found[0]["conf"].get("dry_run", False) is dry_run
            return found[0]
        time.sleep(1)
    raise AssertionError(f"the run did not end within {RUN_S} s: {runs(server)}")


def database(server: Server) -> Engine:
    return make_engine(f"sqlite:///{Path(server.log.parent) / 'reviews.db'}")


def line_of(server: Server, review: int) -> str:
    """Return the address of a list with the line of one review and few others."""
    engine = database(server)
    tables_ = tables()
    with engine.connect() as connection:
        score = connection.scalar(select(tables_.scores.c.score).where(tables_.scores.c.review_id == str(review)))
    engine.dispose()
    return f"reviews?score_from={score!r}&score_to={score!r}"


def drawn(frame: FrameLocator | Page) -> list[str]:
    """Return the titles of the charts, once something is drawn on each canvas."""
    figures = frame.locator("figure.chart")
    is_drawn = """async (c, patience) => {
        const some = () => c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some(Boolean);
        for (const began = Date.now(); !some() && Date.now() - began < patience;) {
            await new Promise(resolve => setTimeout(resolve, 50));
        }
        return some();
    }"""
    for each in figures.all():
        assert each.locator("canvas").evaluate(is_drawn, PATIENCE_MS), each.locator("figcaption").inner_text()
    return figures.locator("figcaption").all_inner_texts()


def legend(frame: FrameLocator, title: str) -> list[str]:
    """Return the texts in the legend of a chart."""
    texts = "c => Chart.getChart(c).legend.legendItems.map(item => item.text)"
    found: list[str] = frame.locator("figure.chart", has_text=title).locator("canvas").evaluate(texts)
    return found


def count(frame: FrameLocator, name: str) -> Any:
    return frame.locator(f"[data-count={name}]")


BACKGROUND = "e => getComputedStyle(e).backgroundColor"
LIGHT_BAR, DARK_BAR = "47,111,181", "106,169,236"
DIRECTION = "e => [getComputedStyle(e).direction, getComputedStyle(e).unicodeBidi]"


def test_the_scheduler_starts_after_the_api_server_answers(server: Server) -> None:
    port = server.address.rpartition(":")[2]
    answers = scheduler = -1
    for _ in range(RUN_S):
        log = server.log.read_text()
        answers, scheduler = log.find(f"Uvicorn running on http://0.0.0.0:{port}"), log.find("Starting the scheduler")
        if scheduler >= 0:
            break
        time.sleep(1)
    assert 0 <= answers < scheduler


def test_every_route_requires_a_login_and_the_permission_to_read_the_dag(server: Server) -> None:
    paths = [route.path for route in create_app().routes if isinstance(route, APIRoute)]
    asked = {"id": "1", "dag_id": "a", "run_id": "b", "name": "french-reviews-small"}
    nobody, reader = headers(server, "nobody"), headers(server, "reader")
    for path in paths:
        address = f"{server.address}/review-scoring{path}"
        assert CLIENT.get(address, params=asked).status_code == 401, path
        assert CLIENT.get(address, params=asked, headers=nobody).status_code == 403, path
        assert CLIENT.get(address, params=asked, headers=reader).status_code in {200, 404}, path
        assert CLIENT.post(address, params=asked, headers=reader).status_code == 405, path
    for path in ("docs", "redoc", "openapi.json"):
        assert CLIENT.get(f"{server.address}/review-scoring/{path}", headers=reader).status_code == 404


def test_the_navigation_leads_to_an_overview_with_the_next_steps(page: Page, server: Server) -> None:
    page.goto(server.address)
    page.get_by_role("link", name="Scoring", exact=True).click()
    frame = page.frame_locator("iframe")
    expect(frame.get_by_role("heading", name="Nothing has been scored yet")).to_be_visible()
    expect(count(frame, "waiting")).to_have_text(str(REVIEWS + len(demo.UNUSABLE) + len(HOSTILE)))


def test_a_dry_run_from_the_form_writes_nothing(page: Page, server: Server) -> None:
    trigger(page, server, dry_run=True)
    frame = open_page(page, server)
    expect(frame.get_by_role("heading", name="Nothing has been scored yet")).to_be_visible()


def test_a_run_from_the_form_changes_the_live_counts(page: Page, server: Server) -> None:
    run = trigger(page, server, dry_run=False)
    frame = open_page(page, server)
    expect(count(frame, "waiting")).to_have_text("0")
    expect(count(frame, "scored")).to_have_text(str(REVIEWS + len(HOSTILE)))
    expect(count(frame, "rejected")).to_have_text(str(len(demo.UNUSABLE)))
    expect(frame.locator("#reasons")).to_contain_text("null_text")
    expect(frame.locator("time").first).to_contain_text("GMT+9")
    assert drawn(frame) == ["Labels per day", "Mean score per day", "Throughput per run"]
    assert legend(frame, "Labels per day") == ["neg", "pos"]
    assert legend(frame, "Mean score per day") == ["mean score", CONTROL_LIMITS]

    frame.get_by_role("link", name="Open the run in Airflow").click()
    page.wait_for_url(f"**/dags/score_film_reviews/runs/{run['dag_run_id'].replace('+', '*').replace(':', '*')}**")
    assert page.locator("iframe").count() == 0


def test_the_task_links_to_the_page_of_its_run(page: Page, server: Server) -> None:
    run = runs(server)[0]["dag_run_id"]
    page.goto(f"{server.address}/dags/score_film_reviews/runs/{run}/tasks/score/mapped/0/details")
    page.get_by_role("link", name="Scores of this run").click()
    frame = page.frame_locator("iframe")
    expect(frame.get_by_role("heading", name="Results")).to_be_visible()
    expect(frame.locator(".callout")).to_contain_text(f"film_reviews: {REVIEWS + 7} reviews read")


def test_a_review_is_found_and_hostile_texts_are_text(page: Page, server: Server) -> None:
    page.on("dialog", lambda dialog: pytest.fail(f"a script ran: {dialog.message}"))
    frame = open_page(page, server, "reviews")
    expect(frame.locator("table.reviews tbody tr")).to_have_count(25)
    scores = [float(each) for each in frame.locator("table.reviews td.n:nth-child(3)").all_inner_texts()]
    assert scores == sorted(scores)
    frame.get_by_role("link", name="Next 25").click()
    expect(frame.locator("table.reviews tbody tr")).to_have_count(REVIEWS + len(HOSTILE) - 25)
    for number, text in HOSTILE.items():
        back_to_reviews(page, frame)
        frame.get_by_label("Look up by id").fill(str(number))
        frame.get_by_role("button", name="Look up").click()
        expect(frame.locator("h1")).to_contain_text(str(number))
        expect(frame.locator("blockquote")).to_have_text(text)
        assert frame.locator("blockquote").evaluate(DIRECTION) == ["rtl" if text == RIGHT_TO_LEFT else "ltr", "isolate"]
        frame = open_page(page, server, line_of(server, number))
        row = frame.locator("tr", has=frame.get_by_role("link", name=str(number), exact=True))
        assert row.locator("td.text bdi").evaluate(DIRECTION) == ["rtl" if text == RIGHT_TO_LEFT else "ltr", "isolate"]
    back_to_reviews(page, frame)
    frame.get_by_label("Label").select_option("pos")
    frame.get_by_role("button", name="Show", exact=True).click()
    page.wait_for_url("**label=pos**")
    labels = set(frame.locator("table.reviews .label").all_inner_texts())
    assert labels == {"pos"}


def test_a_models_evaluations_are_drawn(page: Page, server: Server) -> None:
    from review_scoring.inference.classifier import Classifier

    engine = database(server)
    model = find_model(DEFAULT_MODEL)
    evaluate(engine, Classifier.load(model, device="cpu"), model, datetime(2026, 1, 1, tzinfo=UTC))
    engine.dispose()
    frame = open_page(page, server, "models")
    assert drawn(frame) == ["Accuracy against speed"]
    with page.expect_event("framenavigated"):
        frame.get_by_role("link", name=DEFAULT_MODEL).click()
    expect(frame.get_by_role("heading", name="Newest evaluation")).to_be_visible()
    assert drawn(frame) == ["Reliability", "History"]
    assert legend(frame, "Reliability") == ["accuracy", "perfectly calibrated"]


def test_every_page_fits_a_phone_and_works_without_a_mouse(page: Page, server: Server) -> None:
    phone = page.context.new_page()
    phone.set_viewport_size({"width": PHONE, "height": 740})
    for below in (
        "",
        "reviews",
        "rejects",
        "models",
        "model?name=french-reviews-small",
        *(f"review?id={n}" for n in HOSTILE),
        *(line_of(server, n) for n in HOSTILE),
    ):
        phone.goto(f"{server.address}/review-scoring/{below}")
        expect(phone.locator("h1")).to_be_visible()
        for number, text in HOSTILE.items():
            if below == line_of(server, number):
                shown = phone.locator("tr", has=phone.get_by_role("link", name=str(number), exact=True))
                expect(shown.locator("td.text")).to_contain_text(text[:200])
            elif below == f"review?id={number}":
                expect(phone.locator("blockquote")).to_have_text(text)
        assert phone.evaluate(TOO_WIDE) == [], f"{below} is too wide for a phone"
        assert phone.locator("main").count() == phone.locator("h1").count() == 1
        unnamed = "all => all.filter(each => each.type !== 'hidden' && !each.labels.length && !each.ariaLabel).length"
        assert phone.locator("input, select").evaluate_all(unnamed) == 0
        phone.keyboard.press("Tab")
        assert phone.evaluate("document.activeElement.textContent") == "Skip to the content"
    phone.close()


def test_dark_mode_follows_airflow(page: Page, server: Server) -> None:
    frame = open_page(page, server)
    light = frame.locator("html").evaluate(BACKGROUND)
    page.evaluate("document.documentElement.classList.replace('light', 'dark')")
    expect(frame.locator("html")).to_have_attribute("data-theme", "dark")
    dark = frame.locator("html").evaluate(BACKGROUND)
    assert light != dark
    assert re.findall(r"\d+", dark)[:3] == ["0", "0", "0"]
    frame = open_page(page, server, "rejects")
    page.evaluate("document.documentElement.classList.replace('dark', 'light')")
    expect(frame.locator("html")).to_have_attribute("data-theme", "light")


def test_a_page_in_its_own_tab_is_printed_light_in_every_theme(page: Page, server: Server) -> None:
    frame = open_page(page, server, "rejects")
    with page.context.expect_page() as opened:
        frame.get_by_role("link", name="Open in a new tab to print").click()
    alone = opened.value
    expect(alone.get_by_role("heading", name="Rejects", exact=True)).to_be_visible()
    assert alone.url.startswith(f"{server.address}/review-scoring/rejects")
    expect(alone.locator("[data-alone]")).to_be_hidden()

    alone.goto(f"{server.address}/review-scoring/")
    expect(alone.locator("figure.chart").first).to_be_visible()
    drawn(alone)
    light = colours(alone, "light")
    alone.emulate_media(color_scheme="dark")
    dark = colours(alone, "dark")
    assert all(one != other for one, other in zip(light, dark, strict=True))
    alone.emulate_media(media="print", color_scheme="dark")
    assert colours(alone, "light") == ("rgb(255, 255, 255)", *light[1:])
    expect(alone.locator(".top nav")).to_be_hidden()
    alone.emulate_media(media="screen", color_scheme="dark")
    assert colours(alone, "dark") == dark

    alone.evaluate(
        "() => { window.themes = [];"
        " document.addEventListener('themechange', () => window.themes.push(document.documentElement.dataset.theme)) }"
    )
    alone.pdf()
    assert "light" in alone.evaluate("window.themes"), "it is printed from a browser's menu so, too"
    assert colours(alone, "dark") == dark
    alone.close()


def colours(page: Page, theme: str) -> tuple[Any, ...]:
    """Wait for a theme, and return the page's background, a badge's, and whether the first chart has bars of the light
    theme, and of the dark one.
    """
    has = """(c, colour) => {
        const {data} = c.getContext('2d').getImageData(0, 0, c.width, c.height);
        for (let n = 0; n < data.length; n += 4) { if (data.slice(n, n + 3).join() === colour) return true; }
        return false;
    }"""
    expect(page.locator("html")).to_have_attribute("data-theme", theme)
    canvas = page.locator("canvas").first
    return (
        page.locator("html").evaluate(BACKGROUND),
        page.locator(".state-success").first.evaluate(BACKGROUND),
        canvas.evaluate(has, LIGHT_BAR),
        canvas.evaluate(has, DARK_BAR),
    )


def test_a_run_in_progress_is_followed_to_its_end(page: Page, server: Server) -> None:
    job = ScoringJob(name="film_reviews", source_conn_id="reviews", source_table="film_reviews")
    engine = database(server)
    with writing(engine).begin() as connection:
        connection.execute(insert(demo.reviews), [{"id": 10_000 + n, "text": f"Film {n}"} for n in range(8)])
    steps = threading.Semaphore(2)

    def step(texts: Sequence[str]) -> None:
        assert steps.acquire(timeout=RUN_S)

    stub = StubClassifier(before_batch=step)
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(Warehouse(engine, classifier=stub, job=job).score, "live", chunk_rows=2)
        try:
            frame = open_page(page, server)
            line = frame.locator("#live .live-line")
            expect(line).to_contain_text("4 read, 4 scored, 0 rejected")
            expect(frame.locator("#live-news")).to_contain_text("A run is in progress")
            frame.locator("#live-news").evaluate(
                "e => { window.news = [performance.now()];"
                " new MutationObserver(() => window.news.push(performance.now())).observe(e, { childList: true }) }"
            )
            steps.release()
            expect(line).to_contain_text("6 read, 6 scored, 0 rejected")
            assert line.evaluate("e => e.closest('[aria-live], [role=status]')") is None
            announced = frame.locator("#live-news").evaluate("() => window.news")
            assert all(later - earlier > 20_000 for earlier, later in pairwise(announced))
            with page.context.new_page() as late:  # which gets the cached counts
                late.goto(f"{server.address}/review-scoring/")
                expect(late.locator("#live .live-line")).to_contain_text("6 read")
                for bar in (frame.locator("#live progress"), late.locator("#live progress")):
                    assert bar.evaluate("e => [e.value, e.max]") == [6, 8]
        finally:
            steps.release(8)
        assert str(run.result().counts) == "read=8 scored=8 unchanged=0 rejected=0"
    expect(frame.locator("#live")).to_be_hidden()
    expect(frame.locator("#last-title ~ .state")).to_have_text("success")
    with ThreadPoolExecutor(1) as pool:
        steps = threading.Semaphore(1)
        rescore = Warehouse(engine, classifier=stub, job=job)
        run = pool.submit(rescore.score, "again", Rescore.ALL, chunk_rows=2, limit=4)
        try:
            frame = open_page(page, server)
            expect(frame.locator("#live .live-line")).to_contain_text("2 read")
            expect(frame.locator("#live progress:indeterminate")).to_be_visible()
        finally:
            steps.release(8)
        run.result()
    expect(frame.locator("#last-title ~ .state")).to_have_text(["success", "rescore"])
    engine.dispose()


def test_a_run_that_failed_before_it_scored_is_shown_with_the_task_that_failed(page: Page, server: Server) -> None:
    conf = {"model": "allocine-camembert"}  # which is not imported
    answer = CLIENT.post(
        f"{server.address}/api/v2/dags/score_film_reviews/dagRuns",
        headers=headers(server, "admin"),
        json={"logical_date": None, "conf": conf},
    )
    assert answer.status_code == 200, answer.text
    deadline = time.monotonic() + RUN_S
    while runs(server)[0]["state"] not in {"success", "failed"}:
        assert time.monotonic() < deadline
        time.sleep(1)
    frame = open_page(page, server)
    expect(frame.locator("#last-title ~ .state")).to_have_text("failed")
    panel = frame.locator("section", has=frame.locator("#last-title"))
    expect(panel).to_contain_text("It failed in preflight before any review was scored")
    expect(frame.locator("tbody tr", has_text="failed in preflight")).to_have_count(1)


def test_the_log_has_no_review(server: Server) -> None:
    log = server.log.read_text()
    for text in HOSTILE.values():
        assert text[:20] not in log


def test_no_journal_or_lock_file_is_left(server: Server) -> None:
    """The engine of the pages opens the file read-only, so it leaves no journal and no lock."""
    assert not list(Path(server.log.parent).glob("reviews.db-*"))
