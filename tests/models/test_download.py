"""Downloads: https only, from allowed hosts, at public addresses, with the expected size and checksum."""

from __future__ import annotations

import datetime
import hashlib
import logging
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from review_scoring.concurrency.cancellation import StopFlag
from review_scoring.errors import DownloadFailedError, DownloadRefusedError, ScoringInterruptedError
from review_scoring.models.download import Downloader, Resolver
from review_scoring.models.public_address import _PinnedConnection, is_public, shown
from tests.models.web_server import PUBLIC, Answer, WebServer, web_server

BODY = bytes(range(256)) * 12_000
SHA256 = hashlib.sha256(BODY).hexdigest()
HOSTS = frozenset({"models.example", "mirror.example"})


@pytest.fixture
def server() -> Iterator[WebServer]:
    with web_server({"/model.zip": Answer(BODY)}) as running:
        yield running


def downloader(server: WebServer, resolver: Resolver = lambda host: [PUBLIC]) -> Downloader:
    return Downloader(hosts=HOSTS, resolver=resolver, opener=server.open)


def test_a_file_comes_as_it_is(server: WebServer, tmp_path: Path) -> None:
    fetched = downloader(server).fetch(
        "https://models.example/model.zip", tmp_path / "f", size=len(BODY), sha256=SHA256
    )
    assert (tmp_path / "f").read_bytes() == BODY
    assert (fetched.address, fetched.size, fetched.sha256) == ("https://models.example/model.zip", len(BODY), SHA256)
    assert server.connected == [("models.example", PUBLIC)]


def test_an_s3_address_is_fetched_by_https(server: WebServer, tmp_path: Path) -> None:
    server.answers["/bucket.dotted/a/model.zip"] = Answer(BODY)
    fetching = Downloader(hosts=frozenset({"s3.amazonaws.com"}), resolver=lambda host: [PUBLIC], opener=server.open)
    assert fetching.fetch("s3://bucket.dotted/a/model.zip", tmp_path / "f").sha256 == SHA256
    assert server.connected == [("s3.amazonaws.com", PUBLIC)]


@pytest.mark.parametrize(
    "address",
    [
        "http://models.example/model.zip",
        "file:///etc/passwd",
        "ftp://models.example/model.zip",
        "https://models.example:8443/model.zip",
        "https://user:hunter2@models.example/model.zip",
        "https:///model.zip",
        "https://[model.zip",
        "https://models.example:port/",
        "https://other.example/model.zip",
        "https://models.example.evil.example/model.zip",
        "https://127.0.0.1/model.zip",
    ],
)
def test_an_address_that_is_not_allowed_is_not_asked(server: WebServer, tmp_path: Path, address: str) -> None:
    with pytest.raises(DownloadRefusedError) as told:
        downloader(server).fetch(address, tmp_path / "f")
    assert server.connected == []
    assert "hunter2" not in str(told.value)


PRIVATE = [
    "127.0.0.1",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",  # noqa: S104 not bound to
    "224.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "fe80::1%eth0",
    "fc00::1",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::a9fe:a9fe",
    "::127.0.0.1",
    "::ffff:0:127.0.0.1",
    "fec0::1",
    "5f00::1",
    "2001:0:7f00:1::",
    "2002:7f00:1::",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_a_host_with_an_address_inside_a_network_is_not_asked(server: WebServer, tmp_path: Path, address: str) -> None:
    with pytest.raises(DownloadRefusedError, match="is not public"):
        downloader(server, lambda host: [PUBLIC, address]).fetch("https://models.example/model.zip", tmp_path / "f")
    assert server.connected == []


def test_public_addresses_of_both_kinds_are_public() -> None:
    assert is_public(PUBLIC)
    assert is_public("::ffff:93.184.216.34")
    assert is_public("2606:2800:21f:cb07:6820:80da:af6b:8b2c")


def test_a_name_that_changes_its_address_after_the_check_gains_nothing(server: WebServer, tmp_path: Path) -> None:
    answers = iter([[PUBLIC], ["127.0.0.1"]])
    downloader(server, lambda host: next(answers)).fetch("https://models.example/model.zip", tmp_path / "f")
    assert server.connected == [("models.example", PUBLIC)]
    assert next(answers) == ["127.0.0.1"]


def test_a_redirect_to_an_allowed_host_is_followed(server: WebServer, tmp_path: Path) -> None:
    server.answers["/moved"] = Answer(
        status=302, headers={"Location": "https://mirror.example/model.zip?token=hunter2"}
    )
    fetched = downloader(server).fetch("https://models.example/moved", tmp_path / "f")
    assert fetched.address == "https://mirror.example/model.zip"
    assert [host for host, _ in server.connected] == ["models.example", "mirror.example"]


@pytest.mark.parametrize(
    "location",
    ["http://models.example/model.zip", "https://other.example/", "https://10.0.0.1/", "file:///etc/passwd", ""],
)
def test_a_redirect_to_what_is_not_allowed_is_refused(server: WebServer, tmp_path: Path, location: str) -> None:
    server.answers["/moved"] = Answer(status=302, headers={"Location": location})
    with pytest.raises(DownloadRefusedError):
        downloader(server).fetch("https://models.example/moved", tmp_path / "f")
    assert {host for host, _ in server.connected} == {"models.example"}


def test_a_redirect_into_a_network_is_refused(server: WebServer, tmp_path: Path) -> None:
    server.answers["/moved"] = Answer(status=307, headers={"Location": "https://mirror.example/model.zip"})
    inside = downloader(server, lambda host: ["169.254.169.254"] if host == "mirror.example" else [PUBLIC])
    with pytest.raises(DownloadRefusedError, match=r"mirror\.example has the address 169\.254\.169\.254"):
        inside.fetch("https://models.example/moved", tmp_path / "f")
    assert [host for host, _ in server.connected] == ["models.example"]


def test_endless_redirects_are_refused(server: WebServer, tmp_path: Path) -> None:
    server.answers["/round"] = Answer(status=302, headers={"Location": "/round"})
    with pytest.raises(DownloadRefusedError, match="redirects more than 5 times"):
        downloader(server).fetch("https://models.example/round", tmp_path / "f")


def test_a_file_of_another_size_or_content_is_refused_and_removed(server: WebServer, tmp_path: Path) -> None:
    for expected in ({"size": len(BODY) + 1}, {"size": len(BODY) - 1}, {"sha256": "0" * 64}):
        with pytest.raises(DownloadRefusedError):
            downloader(server).fetch("https://models.example/model.zip", tmp_path / "f", **expected)
        assert not (tmp_path / "f").exists()


def test_a_file_that_ends_too_early_is_removed_and_may_be_tried_again(server: WebServer, tmp_path: Path) -> None:
    server.answers["/model.zip"] = Answer(BODY[:-1], length=len(BODY))
    with pytest.raises(DownloadFailedError):
        downloader(server).fetch("https://models.example/model.zip", tmp_path / "f")
    assert not (tmp_path / "f").exists()


@pytest.mark.parametrize(
    ("status", "error"),
    [(404, DownloadRefusedError), (403, DownloadRefusedError), (503, DownloadFailedError), (429, DownloadFailedError)],
)
def test_the_status_of_a_failed_response_is_reported(
    server: WebServer, tmp_path: Path, status: int, error: type[Exception]
) -> None:
    server.answers["/model.zip"] = Answer(status=status)
    with pytest.raises(error, match=f"returned {status}"):
        downloader(server).fetch("https://models.example/model.zip?key=1", tmp_path / "f")


def test_a_host_that_cannot_be_resolved_or_reached_is_reported(server: WebServer, tmp_path: Path) -> None:
    def unknown(host: str) -> list[str]:
        raise socket.gaierror(-2, "Name or service not known")

    with pytest.raises(DownloadFailedError, match=r"the host models\.example cannot be resolved .*check the network"):
        downloader(server, unknown).fetch("https://models.example/model.zip", tmp_path / "f")
    server.port = 1
    with pytest.raises(DownloadFailedError, match="cannot be downloaded .*check the network"):
        downloader(server).fetch("https://models.example/model.zip", tmp_path / "f")


def test_a_download_can_be_stopped(server: WebServer, tmp_path: Path) -> None:
    stop = StopFlag()
    stop.set()
    stopping = Downloader(hosts=HOSTS, resolver=lambda h: [PUBLIC], opener=server.open, between_chunks=stop.check)
    with pytest.raises(ScoringInterruptedError):
        stopping.fetch("https://models.example/model.zip", tmp_path / "f")
    assert not (tmp_path / "f").exists()


def test_messages_and_logs_hold_no_part_of_an_address_that_could_be_a_secret(
    server: WebServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        downloader(server).fetch("https://models.example/model.zip?X-Amz-Signature=hunter2", tmp_path / "f")
    assert "hunter2" not in caplog.text
    assert "models.example/model.zip" in caplog.text
    assert shown("https://me:hunter2@a.example/b?c=hunter2#hunter2") == "https://a.example/b"


def test_the_connection_goes_to_the_address_that_was_checked_and_wants_the_hosts_certificate(tmp_path: Path) -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(self_signed(tmp_path, "models.example"))
    accepted = threading.Thread(target=answer_once, args=(listening, context), daemon=True)
    accepted.start()
    connection = _PinnedConnection("models.example", "127.0.0.1")
    connection.port = listening.getsockname()[1]
    with pytest.raises(ssl.SSLCertVerificationError, match="self-signed"):
        connection.connect()
    accepted.join(5)


def answer_once(listening: socket.socket, context: ssl.SSLContext) -> None:
    connection, _ = listening.accept()
    try:
        context.wrap_socket(connection, server_side=True).close()
    except OSError:
        connection.close()


def self_signed(folder: Path, host: str) -> Path:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "certificate.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return path
