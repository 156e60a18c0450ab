"""Conversion of Connection extras to the types that a driver takes: text, number, flag, path, JSON object."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from review_scoring.errors import ConfigurationError
from review_scoring.settings import truth

FIELDS = frozenset({"user", "passwd", "password", "host", "port", "db", "database", "dbname"})
"""Driver arguments that are fields of a Connection, and not allowed as extras."""


class Extras:
    """The extras of a Connection that are not converted yet."""

    def __init__(self, extras: Mapping[str, Any], named: str) -> None:
        self._left = dict(extras)
        self.named = named

    def take(self, name: str, convert: Callable[[str, Any], Any]) -> dict[str, Any]:
        """Remove an extra and return it converted, by its name; return an empty mapping if it is not set."""
        return {name: convert(name, self._left.pop(name))} if name in self._left else {}

    def take_all(self, names: frozenset[str], convert: Callable[[str, Any], Any]) -> dict[str, Any]:
        """Do the same for several extras."""
        return {name: value for each in sorted(names) for name, value in self.take(each, convert).items()}

    def refuse_rest(self, driver: str) -> None:
        """Raise an error if an extra is left that the driver does not know."""
        if fields := sorted(FIELDS & self._left.keys()):
            raise ConfigurationError(
                f"{self.named} has the extra {fields[0]!r}, which is a field of the Connection; move it there"
            )
        if self._left:
            names = ", ".join(repr(name) for name in sorted(self._left))
            raise ConfigurationError(f"{self.named} has extras that {driver} does not support: {names}; remove them")

    def wrong(self, name: str, value: object, expected: str) -> ConfigurationError:
        """Return the error for a value of the wrong type. It names the type only: the value may be secret."""
        return ConfigurationError(f"{self.named}: the extra {name!r} is of type {type(value).__name__}; {expected}")

    def text(self, name: str, value: Any) -> str:
        """Convert to text; numbers are formatted, and booleans become `0` or `1`."""
        if isinstance(value, bool):
            return str(int(value))
        if not isinstance(value, str | int | float):
            raise self.wrong(name, value, "it must be text or a number")
        return str(value)

    def number(self, name: str, value: Any) -> int:
        """Convert to a whole number."""
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        if isinstance(value, str) and value.strip().isdecimal():
            return int(value)
        raise self.wrong(name, value, "it must be a whole number")

    def flag(self, name: str, value: Any) -> bool:
        """Convert to a boolean."""
        found = truth(value)
        if found is None:
            raise self.wrong(name, value, "it must be true or false")
        return found

    def path(self, name: str, value: Any) -> str:
        """Convert to the path of an existing file or folder."""
        path = self.text(name, value)
        if not Path(path).expanduser().exists():
            raise ConfigurationError(
                f"{self.named}: the extra {name!r} is {path!r}, which does not exist on this machine"
            )
        return str(Path(path).expanduser())


def parsed(extra: object, named: str) -> dict[str, Any]:
    """Return a JSON object, which may be given as text; an empty one if nothing is given.

    :raises ConfigurationError: if it is not a JSON object
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
