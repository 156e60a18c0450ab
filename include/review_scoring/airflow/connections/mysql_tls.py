"""TLS extras of MySQL and MariaDB, in the forms of Airflow, mysqlclient and PyMySQL, as PyMySQL's argument `ssl`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from review_scoring.airflow.connections.extra_values import Extras, parsed
from review_scoring.errors import ConfigurationError
from review_scoring.settings import truth

_UNVERIFIED: Mapping[str, Any] = {"check_hostname": False, "verify_mode": "none"}

_MODES: Mapping[str, Mapping[str, Any]] = {
    "DISABLED": {},
    "PREFERRED": {},
    "REQUIRED": _UNVERIFIED,
    "VERIFY_CA": {"check_hostname": False, "verify_mode": True},
    "VERIFY_IDENTITY": {"check_hostname": True, "verify_mode": True},
}
"""`ssl_mode` of mysqlclient, which Airflow's hook uses. PREFERRED means no TLS: PyMySQL does not try it first."""

_FILES = frozenset({"ca", "capath", "cert", "key"})
_PARTS = {"ssl_ca": "ca", "ssl_capath": "capath", "ssl_cert": "cert", "ssl_key": "key"}
_PARTS |= {"ssl_cipher": "cipher", "ssl_key_password": "password"}


def mysql_tls(extras: Extras) -> dict[str, Any]:
    """Return PyMySQL's argument `ssl`, if the extras request an encrypted connection.

    The extras are `ssl` (an object, as Airflow documents it), `ssl_mode`, and PyMySQL's `ssl_ca`, `ssl_verify_cert` and
    so on. A specific extra overrides `ssl_mode`.

    :raises ConfigurationError: for a value of the wrong type, a file that does not exist, or `check_hostname` without a
        CA, which PyMySQL would ignore
    """
    mode = extras.take("ssl_mode", lambda name, value: _mode(extras, name, value)).get("ssl_mode", {})
    found = {**mode, **extras.take("ssl", lambda name, value: _object(extras, name, value)).get("ssl", {})}
    for name, part in _PARTS.items():
        read = extras.path if part in _FILES else extras.text
        for value in extras.take(name, read).values():
            found[part] = value
    for verify in extras.take("ssl_verify_cert", extras.flag).values():
        found["verify_mode"] = verify
    for name in ("ssl_verify_identity", "ssl_check_hostname"):
        for check in extras.take(name, extras.flag).values():
            found |= {"check_hostname": check, **({"verify_mode": True} if check else {})}
    if found.get("verify_mode") == "none" and "ca" in found:  # MySQL's own client verifies if it has a CA
        found["verify_mode"] = True
    if found.get("verify_mode") in {False, "none"}:
        found.setdefault("check_hostname", False)
    disabled = extras.take("ssl_disabled", extras.flag).get("ssl_disabled", False)
    if found.get("check_hostname") is True and not {"ca", "capath"} & found.keys():
        raise ConfigurationError(
            f"{extras.named}: the server's name can only be verified with a CA; set the extra 'ssl_ca' to its file"
        )
    return {"ssl": found} if found and not disabled else {}


def _mode(extras: Extras, name: str, value: Any) -> Mapping[str, Any]:
    found = _MODES.get(str(value).upper())
    if found is None:
        raise ConfigurationError(f"{extras.named}: the extra {name!r} must be one of {', '.join(_MODES)}")
    return found


def _object(extras: Extras, name: str, value: Any) -> Mapping[str, Any]:
    if isinstance(value, bool) or truth(value) is not None:
        return _UNVERIFIED if truth(value) else {}
    given = {key: each for key, each in parsed(value, f"{extras.named}: extra {name!r}").items() if each is not None}
    if unknown := sorted(given.keys() - _READ.keys()):
        raise ConfigurationError(
            f"{extras.named}: the extra {name!r} has the key {unknown[0]!r}, which PyMySQL does not know; the keys are "
            f"{', '.join(_READ)}"
        )
    return {key: _READ[key](extras, f"ssl.{key}", each) for key, each in given.items()}


def _verify_mode(extras: Extras, name: str, value: Any) -> bool | str:
    """Convert `verify_mode`: a flag, or a word of Python's module `ssl`."""
    word = str(value).strip().lower()
    return word if word in {"none", "optional", "required"} else extras.flag(name, value)


_READ: Mapping[str, Callable[[Extras, str, Any], Any]] = {
    **dict.fromkeys(("ca", "capath", "cert", "key"), Extras.path),
    **dict.fromkeys(("cipher", "password"), Extras.text),
    "check_hostname": Extras.flag,
    "verify_mode": _verify_mode,
}
"""The keys of PyMySQL's argument `ssl`, and their conversions."""
