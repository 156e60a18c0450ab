"""One truth table for every setting and parameter that is on or off."""

from __future__ import annotations

from review_scoring.errors import ConfigurationError

ON = ("true", "1", "yes", "on")
OFF = ("false", "0", "no", "off", "none", "")
"""`none` and the empty text are what a template renders a missing value to."""


def truth(value: object) -> bool | None:
    """Return whether a value means on or off, whatever its type and case; None for one that means neither."""
    text = str(value).strip().lower()
    return True if text in ON else False if text in OFF else None


def as_bool(value: object, name: str) -> bool:
    """Convert a parameter or a setting.

    :raises ConfigurationError: for a value that means neither, naming the parameter
    """
    found = truth(value)
    if found is None:
        raise ConfigurationError(f"{name} is {value!r}; it must be on ({', '.join(ON)}) or off ({', '.join(OFF[:-1])})")
    return found
