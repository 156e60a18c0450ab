"""Pages that wait for a slow warehouse do not occupy all threads of the API server."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from http import HTTPStatus

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import Connection, Engine, text

from review_scoring.airflow.web import known_jobs, limiter
from review_scoring.airflow.web.app import create_app
from review_scoring.airflow.web.databases import Databases
from review_scoring.errors import WarehouseUnavailableError
from tests.airflow.runner import connection
from tests.airflow.web.app_state import served, without_login
from tests.stubs import Warehouse

VARIABLE = (
    '{"books": {"source_conn_id": "a", "source_table": "t"}, "films": {"source_conn_id": "b", "source_table": "t"}}'
)
REQUESTS = 60
"""More than the API server has threads."""

Client = httpx.AsyncClient


class SlowWarehouse:
    """Stands in for a warehouse on which pages wait, until it is released.

    :ivar waiting: the Connection of each page that has asked for it
    """

    def __init__(self) -> None:
        self.waiting: list[str] = []
        self.released = threading.Event()

    def engine(self, conn_id: str) -> None:
        self.waiting.append(conn_id)
        assert self.released.wait(60)
        raise WarehouseUnavailableError(conn_id)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> SlowWarehouse:
    found = SlowWarehouse()
    for name in ("engine", "target_engine"):
        monkeypatch.setattr(Databases, name, lambda _, conn_id: found.engine(conn_id))
    monkeypatch.setattr(known_jobs, "jobs_in_metadata", list)
    monkeypatch.setenv("AIRFLOW_VAR_REVIEW_SCORING_JOBS", VARIABLE)
    return found


def beside(pages: FastAPI) -> FastAPI:
    """Return an app that has the pages, and a route that stands in for Airflow's own: it runs in the same threads."""
    outer = FastAPI()
    outer.mount("/review-scoring", pages)

    @outer.get("/dags")
    def dags() -> str:
        return "dags"

    return outer


def run(test: Callable[[Client], Awaitable[None]]) -> None:
    """Run a test with a client of the pages."""

    async def with_client() -> None:
        transport = httpx.ASGITransport(app=beside(without_login(create_app())))
        async with Client(transport=transport, base_url="http://airflow", headers={"Accept": "text/html"}) as client:
            await test(client)

    asyncio.run(with_client())


def page(client: Client, job: str) -> asyncio.Task[httpx.Response]:
    return asyncio.create_task(client.get("/review-scoring/reviews", params={"job": job}))


async def until_waiting(slow: SlowWarehouse, requests: int) -> None:
    async with asyncio.timeout(20):
        while len(slow.waiting) < requests:
            await asyncio.sleep(0.01)


def test_airflow_answers_while_all_pages_wait_for_a_warehouse(slow: SlowWarehouse) -> None:
    async def test(client: Client) -> None:
        asked = [page(client, job) for job in ("books", "films") for _ in range(REQUESTS // 2)]
        await until_waiting(slow, limiter.AT_ONCE)
        async with asyncio.timeout(10):
            assert (await client.get("/dags")).json() == "dags"
        assert len(slow.waiting) == limiter.AT_ONCE
        assert not any(each.done() for each in asked)
        slow.released.set()
        assert {answer.status_code for answer in await asyncio.gather(*asked)} == {HTTPStatus.SERVICE_UNAVAILABLE}
        assert len(slow.waiting) == REQUESTS, "those that waited were handled"

    run(test)


def test_the_pages_of_one_job_leave_room_for_those_of_others(slow: SlowWarehouse) -> None:
    async def test(client: Client) -> None:
        asked = [page(client, "films") for _ in range(REQUESTS)]
        await until_waiting(slow, limiter.AT_ONCE_OF_A_JOB)
        asked.append(page(client, "books"))
        await until_waiting(slow, limiter.AT_ONCE_OF_A_JOB + 1)
        assert slow.waiting.count("a") == 1, "the Connection of the books"
        slow.released.set()
        await asyncio.gather(*asked)

    run(test)


@pytest.mark.parametrize("accept", ["text/html", "application/json"])
def test_a_request_that_waited_in_vain_is_asked_to_come_again(
    slow: SlowWarehouse, monkeypatch: pytest.MonkeyPatch, accept: str
) -> None:
    monkeypatch.setattr(limiter.Limiter.__init__, "__defaults__", (0.05,))

    async def test(client: Client) -> None:
        asked = [page(client, "films") for _ in range(limiter.AT_ONCE_OF_A_JOB)]
        await until_waiting(slow, limiter.AT_ONCE_OF_A_JOB)
        refused = await client.get("/review-scoring/reviews?job=films", headers={"Accept": accept})
        static = await client.get("/review-scoring/static/pages.css")
        slow.released.set()
        await asyncio.gather(*asked)
        assert refused.status_code == HTTPStatus.SERVICE_UNAVAILABLE
        assert "Too many pages are being read." in refused.text
        assert "Retry-After" in refused.headers
        assert "Content-Security-Policy" in refused.headers
        assert static.status_code == HTTPStatus.OK

    run(test)


BLOCKED = text("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'scoring_jobs'::regclass")


def test_airflow_answers_while_200_requests_wait_for_a_locked_table(
    postgres_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse = Warehouse(postgres_engine)
    warehouse.create()
    warehouse.fill(3)
    warehouse.score()
    monkeypatch.setattr(known_jobs, "jobs_in_metadata", list)
    for conn_id in "AB":
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id}", connection(postgres_engine))
    monkeypatch.setenv("AIRFLOW_VAR_REVIEW_SCORING_JOBS", VARIABLE)
    monkeypatch.setattr(limiter.Limiter.__init__, "__defaults__", (60.0,))  # none is refused meanwhile
    pages = without_login(create_app())

    async def ask(address: str, locking: Connection, watching: Connection) -> list[httpx.Response]:
        async with Client(base_url=address, limits=httpx.Limits(max_connections=None), timeout=100) as client:
            asked = [
                asyncio.create_task(client.get("/review-scoring/progress", params={"job": job}))
                for job in ("books", "films") * 100
            ]
            async with asyncio.timeout(20):
                while not watching.scalar(BLOCKED):
                    await asyncio.sleep(0.01)
            for _ in range(20):
                assert (await client.get("/dags")).json() == "dags"
            pending = sum(not each.done() for each in asked)
            locking.rollback()
            answers = await asyncio.gather(*asked)
        assert pending > len(asked) / 2, "Airflow did not wait for the pages"
        return answers

    with postgres_engine.connect() as locking, postgres_engine.connect() as watching, served(beside(pages)) as address:
        locking.execute(text("LOCK TABLE scoring_jobs IN ACCESS EXCLUSIVE MODE"))
        answers = asyncio.run(ask(address, locking, watching))
    pages.state.databases.dispose()
    assert {answer.status_code for answer in answers} <= {HTTPStatus.OK, HTTPStatus.SERVICE_UNAVAILABLE}
    assert any(answer.is_success for answer in answers)
