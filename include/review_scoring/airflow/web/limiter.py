"""A limit on the requests that are handled at once.

Handlers of pages run in the threads of Airflow's API server, of which there are forty for all requests. Pages of a slow
warehouse would occupy all of them, and Airflow itself would not answer until they are done.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from urllib.parse import parse_qs
from zlib import crc32

from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from review_scoring.airflow.web.error_pages import too_busy
from review_scoring.airflow.web.security import path_below

AT_ONCE = 8
"""Requests that one process of the API server handles at once."""

AT_ONCE_OF_A_JOB = 4
"""Requests for one job among them, so that the pages of other jobs go on."""

WAIT_S = 5.0
"""Seconds that a request waits for others to end, without a thread."""

LANES = 32
"""Jobs share this many limits by the hash of their names: a query may name any job."""


class Limiter:
    """Middleware that lets few requests run at once. Others wait, and are answered with 503 after `WAIT_S`."""

    def __init__(self, app: ASGIApp, wait_s: float = WAIT_S) -> None:
        self.app = app
        self._wait_s = wait_s
        self._all = asyncio.Semaphore(AT_ONCE)
        self._of_jobs = [asyncio.Semaphore(AT_ONCE_OF_A_JOB) for _ in range(LANES)]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request when it is its turn. Static files need no thread, and no turn."""
        if scope["type"] != "http" or path_below(scope).startswith("/static/"):
            await self.app(scope, receive, send)
            return
        async with AsyncExitStack() as turn:
            try:
                async with asyncio.timeout(self._wait_s):
                    await turn.enter_async_context(self._of_jobs[crc32(_job(scope)) % LANES])
                    await turn.enter_async_context(self._all)
            except TimeoutError:
                answer = too_busy(Request(scope), round(self._wait_s))
                await answer(scope, receive, send)
                return
            await self.app(scope, receive, send)


def _job(scope: Scope) -> bytes:
    """Return the job that the query names; empty for the list of jobs."""
    query: bytes = scope["query_string"]
    return parse_qs(query).get(b"job", [b""])[0]
