"""Download a file over https from allowed hosts at public addresses, with timeout, size limit and checksum.

The address is checked and then connected to, at the first request and at every redirect, so that a second DNS answer
(DNS rebinding) cannot lead to another address. For the same reason no proxy is used.
"""

from __future__ import annotations

import hashlib
import http.client
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import urljoin, urlsplit

from review_scoring.errors import DownloadFailedError, DownloadRefusedError, ModelError
from review_scoring.models.catalogue_entry import https_form
from review_scoring.models.public_address import HTTPS_PORT, is_public, open_tls, resolve, shown

log = logging.getLogger(__name__)

MOST_BYTES = 8 * 1024**3
"""Largest file in bytes. XLM-RoBERTa large, the largest supported model, has 2.3 GB."""

MOST_REDIRECTS = 5
PROGRESS_S = 10.0
_CHUNK = 1024**2
_REDIRECTS = {301, 302, 303, 307, 308}
Resolver = Callable[[str], Sequence[str]]
Opener = Callable[[str, str], http.client.HTTPConnection]


@dataclass(frozen=True)
class Fetched:
    """A downloaded file: its address after redirects, its size in bytes and its checksum."""

    address: str
    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Downloader:
    """Downloads files.

    :param hosts: the allowed hosts
    :param resolver: returns the addresses of a host, which are then checked
    :param opener: returns a connection to a host at one of its addresses
    :param between_chunks: called after each chunk of a file; may raise
    """

    hosts: frozenset[str]
    resolver: Resolver = resolve
    opener: Opener = open_tls
    between_chunks: Callable[[], None] = lambda: None

    def fetch(self, address: str, to: Path, *, size: int | None = None, sha256: str | None = None) -> Fetched:
        """Download one file.

        :param address: https or s3
        :param to: the file to write; it must not exist, and does not exist after an error
        :param size: the expected size in bytes, if known
        :param sha256: the expected checksum, if known
        :raises DownloadRefusedError: for an address that is not allowed, and for a file with another size or checksum
        :raises DownloadFailedError: for a host that does not answer or closes the connection early
        """
        current = https_form(address)
        for _ in range(MOST_REDIRECTS + 1):
            connection = self._connect(current)
            try:
                response = self._ask(connection, current)
                if response.status not in _REDIRECTS:
                    return self._save(response, current, to, size, sha256)
                current = _redirected(current, response.headers.get("Location"))
            finally:
                connection.close()
        raise DownloadRefusedError(f"{shown(address)} redirects more than {MOST_REDIRECTS} times")

    def _connect(self, address: str) -> http.client.HTTPConnection:
        host = self._allowed_host(address)
        try:
            found = list(self.resolver(host))
        except (OSError, UnicodeError) as error:
            why = getattr(error, "strerror", None) or type(error).__name__
            raise DownloadFailedError(
                f"the host {host} cannot be resolved ({why}); check the network connection"
            ) from None
        for each in found:
            if not is_public(each):
                raise DownloadRefusedError(
                    f"the host {host} has the address {each}, which is not public: downloads from private networks are "
                    "refused. Download the file yourself, and set it as `archive` in a catalogue entry of your own"
                )
        if not found:
            raise DownloadFailedError(f"the host {host} has no address")
        return self.opener(host, found[0])

    def _allowed_host(self, address: str) -> str:
        try:
            parts = urlsplit(address)
            port = parts.port
        except ValueError:
            raise DownloadRefusedError(f"{shown(address)} is not an address") from None
        host = (parts.hostname or "").lower()
        if parts.scheme != "https" or parts.username is not None or port not in {None, HTTPS_PORT} or not host:
            raise DownloadRefusedError(
                f"{shown(address)} is refused: an address must be https://, on the default port, without a user"
            )
        if host not in self.hosts:
            raise DownloadRefusedError(
                f"the host {host} is not allowed; allowed are {', '.join(sorted(self.hosts)) or 'none'}. "
                "[review_scoring] model_hosts adds hosts"
            )
        return host

    def _ask(self, connection: http.client.HTTPConnection, address: str) -> http.client.HTTPResponse:
        parts = urlsplit(address)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        try:
            connection.request("GET", target, headers={"User-Agent": "review-scoring", "Accept-Encoding": "identity"})
            response = connection.getresponse()
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise _failed(address, error) from None
        if response.status >= 500 or response.status == 429:
            raise DownloadFailedError(f"{shown(address)} returned {response.status}; try again later")
        if response.status not in {200, *_REDIRECTS}:
            raise DownloadRefusedError(
                f"{shown(address)} returned {response.status}; check whether the model still exists there. If it has "
                "moved, download it yourself, and set it as `archive` in a catalogue entry of your own"
            )
        return response

    def _save(
        self, response: http.client.HTTPResponse, address: str, to: Path, size: int | None, sha256: str | None
    ) -> Fetched:
        declared = response.length
        most = MOST_BYTES if size is None else size
        if declared is not None and (declared > most or size not in {None, declared}):
            raise _unexpected(address, f"it has {declared} bytes", size)
        try:
            with to.open("xb") as file:
                total, digest = self._copy(response, address, file, most)
            if total != (total if declared is None else declared):
                raise DownloadFailedError(f"{shown(address)} ended after {total} of {declared} bytes; try again")
            if size not in {None, total}:
                raise _unexpected(address, f"it has {total} bytes", size)
            if sha256 not in {None, digest}:
                raise DownloadRefusedError(
                    f"{shown(address)} is not the file of the catalogue: its SHA-256 is {digest}, not {sha256}"
                )
        except BaseException:
            to.unlink(missing_ok=True)
            raise
        log.info("downloaded %s: %.1f MB, SHA-256 %s", shown(address), total / 1e6, digest)
        return Fetched(shown(address), total, digest)

    def _copy(self, response: http.client.HTTPResponse, address: str, file: IO[bytes], most: int) -> tuple[int, str]:
        """Write the response chunk by chunk, and return its size and checksum."""
        total, digest, logged = 0, hashlib.sha256(), time.monotonic()
        while chunk := self._read(response, address):
            total += len(chunk)
            if total > most:
                raise _unexpected(address, f"it has more than {most} bytes", most)
            file.write(chunk)
            digest.update(chunk)
            self.between_chunks()
            if time.monotonic() - logged >= PROGRESS_S:
                logged = time.monotonic()
                of = f" of {(total + response.length) / 1e6:.0f}" if response.length else ""
                log.info("%.0f%s MB of %s", total / 1e6, of, shown(address))
        return total, digest.hexdigest()

    @staticmethod
    def _read(response: http.client.HTTPResponse, address: str) -> bytes:
        try:
            return response.read(_CHUNK)
        except (OSError, http.client.HTTPException) as error:
            raise _failed(address, error) from None


def _redirected(address: str, location: str | None) -> str:
    if location is None:
        raise DownloadRefusedError(f"{shown(address)} redirects without a Location")
    try:
        return urljoin(address, location)
    except ValueError:
        raise DownloadRefusedError(f"{shown(address)} redirects to an invalid address") from None


def _failed(address: str, error: Exception) -> DownloadFailedError:
    return DownloadFailedError(
        f"{shown(address)} cannot be downloaded ({type(error).__name__}: {error}); check the network connection"
    )


def _unexpected(address: str, found: str, size: int | None) -> ModelError:
    return DownloadRefusedError(
        f"{shown(address)}: {found}, and {'at most ' if size is None else ''}{size or MOST_BYTES} are expected"
    )
