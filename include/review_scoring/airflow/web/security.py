"""Security headers (Content-Security-Policy and others) of every response."""

from __future__ import annotations

from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'self'",
    ]
)
"""Browsers run and load only files of this server: no inline scripts or styles, and no other hosts."""

STATIC_MAX_AGE_S = 3600


class SecurityHeaders:
    """Middleware that sets the headers of every response, including errors and static files."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request, and add the headers to its response."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        static = path_below(scope).startswith("/static/")  # before the router changes the scope

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._add(message, static=static)
            await send(message)

        await self.app(scope, receive, with_headers)

    @staticmethod
    def _add(message: Message, *, static: bool) -> None:
        headers = MutableHeaders(scope=message)
        keep = static and message["status"] == 200
        headers["Content-Security-Policy"] = POLICY
        headers["X-Content-Type-Options"] = "nosniff"
        headers["Referrer-Policy"] = "same-origin"
        headers["X-Frame-Options"] = "SAMEORIGIN"
        headers["Cache-Control"] = f"private, max-age={STATIC_MAX_AGE_S}" if keep else "no-store"


def path_below(scope: Any) -> str:
    """Return the path relative to the mount point of the app."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))
