"""Finds the SQLSTATE of a failed login to PostgreSQL.

For a failed login, psycopg passes on libpq's message only, in the server's language. libpq can report the SQLSTATE
instead (`PQsetErrorVerbosity`, PostgreSQL's documentation, chapter 34.13), but psycopg has no call for it. So libpq is
called directly, in one more attempt with the same parameters.
"""

from __future__ import annotations

import ctypes
import re
import select
import socket
import struct
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from importlib import import_module
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

from review_scoring.warehouse.errors import NO_TLS

PROBE_S = 10.0
"""Timeout of one attempt, in seconds."""

NO_PASSWORD = "28P01"  # noqa: S105 the SQLSTATE of a wrong password: here there is none

_OK, _READING, _WRITING = 0, 1, 2  # ConnStatusType CONNECTION_OK; PostgresPollingStatusType
_VERBOSITY_SQLSTATE = 3
_ENCRYPTED = ("require", "verify-ca", "verify-full")
_SSL_REQUEST = struct.pack("!ii", 8, 80877103)  # PostgreSQL's documentation, chapter 55.7
_CODE = re.compile(r": +([0-9A-Z]{5})\s*$")


def connect(*arguments: Any, **parameters: Any) -> psycopg.Connection[Any]:
    """Connect like psycopg; the error of a refused login has its SQLSTATE."""
    try:
        return psycopg.connect(*arguments, **parameters)
    except psycopg.OperationalError as error:
        if error.sqlstate is None and not isinstance(error, psycopg.errors.ConnectionTimeout):
            error.sqlstate = failed_login(parameters)
        raise


def failed_login(parameters: Mapping[str, Any]) -> str | None:
    """Try to log in, and return the SQLSTATE of the server's answer.

    None if the server does not answer, or accepts the login this time, since the cause has passed.

    :param parameters: libpq's keywords; psycopg's own are ignored
    """
    known = {each.keyword.decode() for each in psycopg.pq.Conninfo.get_defaults()} | {"dbname"}
    login = {name: value for name, value in parameters.items() if name in known and value is not None}
    accepted, code = _attempt(login)
    if code is None and not accepted and login.get("sslmode") in _ENCRYPTED and _speaks_postgresql(login):
        return NO_TLS
    return code


def _attempt(login: Mapping[str, Any]) -> tuple[bool, str | None]:
    """Return whether the server accepts the login, and otherwise the SQLSTATE of its answer, if it has one."""
    libpq = _libpq()
    if libpq is None:
        return False, None
    connection = libpq.PQconnectStart(make_conninfo("", **login).encode())
    try:
        libpq.PQsetErrorVerbosity(connection, _VERBOSITY_SQLSTATE)
        deadline, wants = time.monotonic() + PROBE_S, _WRITING
        while wants in {_READING, _WRITING} and (left := deadline - time.monotonic()) > 0:
            if (socket_ := libpq.PQsocket(connection)) < 0:
                break
            ready = select.poll()
            ready.register(socket_, select.POLLIN if wants == _READING else select.POLLOUT)
            ready.poll(left * 1000)
            wants = libpq.PQconnectPoll(connection)
        if libpq.PQstatus(connection) == _OK:
            return True, None
        if libpq.PQconnectionNeedsPassword(connection):
            return False, NO_PASSWORD
        found = _CODE.search(libpq.PQerrorMessage(connection).decode(errors="replace"))
        return False, found[1] if found else None
    finally:
        libpq.PQfinish(connection)


def _speaks_postgresql(login: Mapping[str, Any]) -> bool:
    """Return whether a server answers a request for TLS. Neither a user name nor a password is sent."""
    hosts = str(login.get("hostaddr") or login.get("host") or "localhost").split(",")
    ports = str(login.get("port") or 5432).split(",")
    for place, host in enumerate(hosts):
        port = int(ports[place if len(ports) == len(hosts) else 0])
        with suppress(OSError), socket.create_connection((host, port), timeout=PROBE_S / 2) as line:
            line.sendall(_SSL_REQUEST)
            if line.recv(1) in {b"S", b"N"}:
                return True
    return False


@cache
def _libpq() -> ctypes.CDLL | None:
    """Return the libpq that psycopg itself uses: its extension module is linked to it."""
    packages = {"binary": "psycopg_binary", "c": "psycopg_c"}
    if psycopg.pq.__impl__ not in packages:
        return None
    libpq = ctypes.CDLL(import_module(f"{packages[psycopg.pq.__impl__]}.pq").__file__)
    libpq.PQconnectStart.argtypes, libpq.PQconnectStart.restype = [ctypes.c_char_p], ctypes.c_void_p
    libpq.PQerrorMessage.argtypes, libpq.PQerrorMessage.restype = [ctypes.c_void_p], ctypes.c_char_p
    libpq.PQsetErrorVerbosity.argtypes = [ctypes.c_void_p, ctypes.c_int]
    for name in ("PQsocket", "PQconnectPoll", "PQstatus", "PQconnectionNeedsPassword", "PQfinish"):
        getattr(libpq, name).argtypes = [ctypes.c_void_p]
    return libpq
