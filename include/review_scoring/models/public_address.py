"""Public addresses of hosts: resolve, check, and open a TLS connection to exactly that address, with a timeout."""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
from collections.abc import Sequence
from urllib.parse import SplitResult, urlsplit

HTTPS_PORT = 443
TIMEOUT_S = 30.0
"""Seconds to connect, and to wait for data."""

_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
"""All IPv6 addresses of hosts on the public internet (RFC 4291). Others are translated, compatible or site-local ones,
which lead to other addresses, or into a private network."""

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


def resolve(host: str) -> Sequence[str]:
    """Return the addresses of a host."""
    return [str(answer[4][0]) for answer in socket.getaddrinfo(host, HTTPS_PORT, type=socket.SOCK_STREAM)]


def open_tls(host: str, address: str) -> http.client.HTTPConnection:
    """Return a TLS connection to this address, which must have a certificate for the host."""
    return _PinnedConnection(host, address)


def is_public(address: str) -> bool:
    """Return whether an IP address is on the public internet and does not embed another address."""
    ip: IpAddress = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        elif ip.sixtofour is not None or ip.teredo is not None or ip not in _GLOBAL_UNICAST:
            return False
    return ip.is_global and not ip.is_multicast


def shown(address: str) -> str:
    """Return an address for messages: without query and user, which may contain credentials."""
    try:
        parts = urlsplit(address)
        return SplitResult(parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", "").geturl()
    except ValueError:
        return "an invalid address"


class _PinnedConnection(http.client.HTTPSConnection):
    """A TLS connection to a checked address."""

    def __init__(self, host: str, address: str) -> None:
        self._tls = ssl.create_default_context()
        super().__init__(host, HTTPS_PORT, timeout=TIMEOUT_S, context=self._tls)
        self._address = address

    def connect(self) -> None:
        """Connect to the address, and verify the certificate of the host."""
        plain = socket.create_connection((self._address, self.port), self.timeout)
        self.sock = self._tls.wrap_socket(plain, server_hostname=self.host)
