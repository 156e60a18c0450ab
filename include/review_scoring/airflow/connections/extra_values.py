"""The values of a Connection's extras, each read in the type that a driver takes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from review_scoring.errors import ConfigurationError
from review_scoring.settings import truth

FIELDS = frozenset({"user", "passwd", "password", "host", "port", "db", "database", "dbname"})
"""What a Connection has fields of its own for."""


class Extras:
    """The extras that a driver has not taken yet."""

    def __init__(self, extras: Mapping[str, Any], named: str) -> None:
        self._left = dict(extras)
        self.named = named

    def take(self, name: str, convert: Callable[[str, Any], Any]) -> dict[str, Any]:
        """Return an extra as the driver takes it, if it is there."""
        return {name: convert(name, self._left.pop(name))} if name in self._left else {}

    def take_all(self, names: frozenset[str], convert: Callable[[str, Any], Any]) -> dict[str, Any]:
        """Return several extras."""
        return {name: value for each in sorted(names) for name, value in self.take(each, convert).items()}

    def refuse_rest(self, driver: str) -> None:
        """Raise if there is an extra that nobody has taken."""
        if fields := sorted(FIELDS & self._left.keys()):
            raise ConfigurationError(
                f"{self.named} has the extra {fields[0]!r}, which has a field of its own in the Connection; move it"
            )
        if self._left:
            names = ", ".join(repr(name) for name in sorted(self._left))
            raise ConfigurationError(f"{self.named} has extras that {driver} does not take: {names}; remove them")

    def wrong(self, name: str, value: object, expected: str) -> ConfigurationError:
        """Return the error for a value of another type. Its type is named: an extra can be a secret."""
        return ConfigurationError(f"{self.named}: the extra {name!r} is of type {type(value).__name__}; {expected}")

    def text(self, name: str, value: Any) -> str:
        """Read a text; numbers and truth values stand for themselves."""
        if isinstance(value, bool):
            return str(int(value))
        if not isinstance(value, str | int | float):
            raise self.wrong(name, value, "it must be text or a number")
        return str(value)

    def number(self, name: str, value: Any) -> int:
        """Read a whole number, or digits."""
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        if isinstance(value, str) and value.strip().isdecimal():
            return int(value)
        raise self.wrong(name, value, "it must be a whole number")

    def flag(self, name: str, value: Any) -> bool:
        """Read true or false, or a word for it."""
        found = truth(value)
        if found is None:
            raise self.wrong(name, value, "it must be true or false")
        return found

    def path(self, name: str, value: Any) -> str:
        """Read the name of a file or folder that is there."""
        path = self.text(name, value)
        if not Path(path).expanduser().exists():
            raise ConfigurationError(f"{self.named}: the extra {name!r} names {path!r}, which is not on this machine")
        return str(Path(path).expanduser())


def parsed(extra: object, named: str) -> dict[str, Any]:
    """Return a JSON object, which may be given as text; nothing given is an empty one.

    :raises ConfigurationError: if it is none
    """
    if isinstance(extra, Mapping):
        return dict(extra)
    try:
        found = (json.loads(str(extra)) if extra else None) or {}
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ConfigurationError(f'{named} has an extra that is not a JSON object such as {{"sslmode": "require"}}')
    return found
