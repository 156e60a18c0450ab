"""Jinja rendering: the environment, which escapes everything, and its filters for numbers, times and links."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

HERE = Path(__file__).parent
STATIC = HERE / "static"


def html(template: str, status_code: int = 200, **values: Any) -> HTMLResponse:
    """Render a page."""
    return HTMLResponse(_environment.get_template(template).render(**values), status_code=status_code)


def number(value: float | None, digits: int = 0) -> str:
    """Return `12,345` or `0.8758`; a dash for None."""
    return "\N{EN DASH}" if value is None else f"{value:,.{digits}f}"


def percent(value: float | None) -> str:
    """Return a share as `53.1 %`; a dash for None."""
    return "\N{EN DASH}" if value is None else f"{value:.1%}".replace("%", "\N{NO-BREAK SPACE}%")


def duration(seconds: float) -> str:
    """Return `4.2 s`, `12:05 min` or `3:12:05 h`."""
    if seconds < 60:
        return f"{seconds:.1f}\N{NO-BREAK SPACE}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (
        f"{hours}:{minutes:02}:{rest:02}\N{NO-BREAK SPACE}h" if hours else f"{minutes}:{rest:02}\N{NO-BREAK SPACE}min"
    )


def age(elapsed: timedelta) -> str:
    """Return `5 min`, `3 h` or `2 days`, rounded down."""
    minutes = max(int(elapsed.total_seconds() // 60), 0)
    if minutes < 60:
        return f"{minutes}\N{NO-BREAK SPACE}min"
    hours, days = minutes // 60, minutes // (24 * 60)
    return f"{hours}\N{NO-BREAK SPACE}h" if days < 2 else f"{days}\N{NO-BREAK SPACE}days"


def moment(value: datetime | None) -> Markup:
    """Return a time element in UTC, which the page's script converts to the viewer's time zone."""
    if value is None:
        return Markup("\N{EN DASH}")
    utc = value.astimezone(UTC)
    return Markup('<time datetime="{}">{}</time>').format(utc.isoformat(), utc.strftime("%Y-%m-%d %H:%M UTC"))


def moment_of(text: str) -> Markup:
    """Return a time element for a time in ISO format."""
    return moment(datetime.fromisoformat(text))


def row_name(row: str | date | datetime) -> str | Markup:
    """Return the head of a chart's row: a name, a time, or a day, which stays a day in UTC for every viewer."""
    if isinstance(row, str | datetime):
        return row if isinstance(row, str) else moment(row)
    return Markup('<time datetime="{0}" data-day>{0}</time>').format(row.isoformat())


def query(values: Mapping[str, Any]) -> str:
    """Return a query string without empty values."""
    return urlencode({key: value for key, value in values.items() if value not in {None, ""}})


def inline_code(text: str) -> Markup:
    """Return a text with `code` and *names* as HTML elements, and everything else escaped."""
    parts = []
    for n, part in enumerate(text.split("`")):
        if n % 2:
            parts.append(Markup("<code>{}</code>").format(part))
        else:
            pieces = part.split("*")
            parts += [
                Markup("<em>{}</em>").format(p) if k % 2 else Markup("{}").format(p) for k, p in enumerate(pieces)
            ]
    return Markup("").join(parts)


def static_version() -> str:
    """Return a hash of the static files, so that browsers fetch them again after an upgrade."""
    digest = sha256()
    for file in sorted(STATIC.glob("*.*")):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


_environment = Environment(
    loader=FileSystemLoader(HERE / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_environment.filters.update(
    {each.__name__: each for each in (number, percent, duration, age, moment, moment_of, row_name, query, inline_code)}
)
_environment.globals["static_version"] = static_version()
_environment.globals["up"] = ""  # an error page sets it to the relative path to the root of the app
