"""Connection extras: each one is passed to the driver, ignored as Airflow's, or refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import Connection

from review_scoring.airflow.connections.engines import address_of
from review_scoring.errors import ConfigurationError


def connect_args(conn_type: str, extra: object) -> dict[str, Any]:
    text = extra if isinstance(extra, str) else json.dumps(extra)
    connection = Connection(conn_id="db", conn_type=conn_type, host="db", schema="films", extra=text)
    return dict(address_of(connection).connect_args)


@pytest.fixture
def ca(tmp_path: Path) -> str:
    """A file in place of a certificate."""
    (tmp_path / "ca.pem").touch()
    return str(tmp_path / "ca.pem")


AIRFLOWS_OWN = {
    "cursor": "dictcursor", "iam": False, "enable_log_db_messages": True, "client": "mysqlclient", "aws_conn_id": "aws",
    "redshift": False, "cluster-identifier": "x", "sqlalchemy_scheme": "", "extra__postgres__x": "1",
}  # fmt: skip


@pytest.mark.parametrize("conn_type", ["postgres", "mysql"])
def test_extras_of_airflows_hooks_are_ignored(conn_type: str) -> None:
    assert connect_args(conn_type, AIRFLOWS_OWN) == {}


@pytest.mark.parametrize("conn_type", ["postgres", "mysql", "sqlite", "duckdb"])
def test_an_extra_that_the_driver_does_not_know_is_refused_by_its_name(conn_type: str, tmp_path: Path) -> None:
    (tmp_path / "films.db").touch()
    connection = Connection(
        conn_id="db", conn_type=conn_type, host=str(tmp_path / "films.db"), extra='{"sslmod": "hunter2"}'
    )
    if conn_type in {"postgres", "mysql"}:
        connection.schema = "films"
    with pytest.raises(
        ConfigurationError, match=r"connection 'db' has extras that \w+ does not support: 'sslmod'"
    ) as error:
        address_of(connection)
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize("conn_type", ["postgres", "mysql", "duckdb", "odbc"])
@pytest.mark.parametrize("extra", ["autocommit", "isolation_level"])
def test_an_extra_that_changes_the_transactions_is_refused(conn_type: str, extra: str) -> None:
    with pytest.raises(ConfigurationError, match=f"extra '{extra}'; each chunk of scores is one transaction"):
        connect_args(conn_type, {extra: True, "sqlalchemy_scheme": "mssql+pyodbc"})


@pytest.mark.parametrize("extra", ["sslmode=require", "[1]", '"text"', "{", "7"])
def test_an_extra_that_is_not_a_json_object_is_refused(extra: str) -> None:
    with pytest.raises(ConfigurationError, match="'db' has an extra that is not a JSON object"):
        connect_args("postgres", extra)


def test_json_extras_of_a_uri_are_read() -> None:
    assert connect_args("postgres", {"__extra__": '{"sslmode": "require"}'}) == {"sslmode": "require"}


def test_the_users_settings_of_a_postgresql_session_are_passed_as_text() -> None:
    extra = {"application_name": "ours", "keepalives": True, "connect_timeout": 3, "options": "-c x=1"}
    found = {"application_name": "ours", "keepalives": "1", "connect_timeout": "3", "options": "-c x=1"}
    assert connect_args("postgres", extra) == found


@pytest.mark.parametrize(("given", "arrives"), [(None, None), (5, 5), ("0", 0), ("null", None), ("None", None)])
def test_prepare_threshold_is_a_number_or_null(given: object, arrives: int | None) -> None:
    assert connect_args("postgres", {"prepare_threshold": given}) == {"prepare_threshold": arrives}


def test_a_value_of_the_wrong_type_is_refused_without_being_quoted() -> None:
    with pytest.raises(ConfigurationError, match="the extra 'options' is of type dict") as error:
        connect_args("postgres", {"options": {"secret": "hunter2"}})
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize(
    ("conn_type", "extra"),
    [("postgres", {"sslrootcert": "/nowhere/ca.pem"}), ("mysql", {"ssl": {"ca": "/nowhere/ca.pem"}}),
     ("mysql", {"ssl_ca": "/nowhere/ca.pem"})],
)  # fmt: skip
def test_a_certificate_that_does_not_exist_on_this_machine_is_refused(conn_type: str, extra: object) -> None:
    with pytest.raises(ConfigurationError, match=r"is '/nowhere/ca.pem', which does not exist on this machine"):
        connect_args(conn_type, extra)


@pytest.mark.parametrize("conn_type", ["postgres", "mysql"])
def test_an_extra_that_is_a_field_of_the_connection_is_refused(conn_type: str) -> None:
    with pytest.raises(ConfigurationError, match="'password', which is a field of the Connection"):
        connect_args(conn_type, {"password": "hunter2"})


def test_the_tls_extras_that_airflow_documents_for_mysql_reach_the_driver(ca: str) -> None:
    assert connect_args("mysql", {"ssl": {"ca": ca}}) == {"ssl": {"ca": ca}}
    assert connect_args("mysql", {"ssl": json.dumps({"ca": ca})}) == {"ssl": {"ca": ca}}


@pytest.mark.parametrize(
    ("extra", "arrives"),
    [
        ({"ssl_mode": "REQUIRED"}, {"check_hostname": False, "verify_mode": "none"}),
        ({"ssl": "true"}, {"check_hostname": False, "verify_mode": "none"}),
        ({"ssl": {"verify_mode": "false"}}, {"check_hostname": False, "verify_mode": False}),
        ({"ssl": True}, {"check_hostname": False, "verify_mode": "none"}),
        ({"ssl_mode": "verify_ca"}, {"check_hostname": False, "verify_mode": True}),
        ({"ssl_verify_cert": "true"}, {"verify_mode": True}),
        ({"ssl_verify_cert": False}, {"check_hostname": False, "verify_mode": False}),
    ],
)
def test_tls_to_mysql_is_never_dropped_silently(extra: object, arrives: object) -> None:
    assert connect_args("mysql", extra) == {"ssl": arrives}


@pytest.mark.parametrize(
    "extra",
    [
        {"ssl_mode": "DISABLED"},
        {"ssl": False},
        {"ssl": True, "ssl_disabled": True},
        {"ssl": {}},
        {"ssl": None},
        {"ssl": "false"},
        {"ssl_ca": None, "ssl_mode": None, "connect_timeout": None},
    ],
)
def test_tls_to_mysql_is_off_if_an_extra_disables_it(extra: object) -> None:
    assert connect_args("mysql", extra) == {}


def test_a_ca_is_used_if_the_mode_alone_verifies_nothing(ca: str) -> None:
    found = connect_args("mysql", {"ssl_mode": "REQUIRED", "ssl_ca": ca})
    assert found == {"ssl": {"check_hostname": False, "verify_mode": True, "ca": ca}}


@pytest.mark.parametrize("extra", [{"ssl_mode": "VERIFY_IDENTITY"}, {"ssl_verify_identity": True}])
def test_verifying_the_servers_name_without_a_ca_is_refused(extra: object) -> None:
    with pytest.raises(ConfigurationError, match="only be verified with a CA"):
        connect_args("mysql", extra)


def test_numbers_and_flags_of_mysql_are_converted_from_a_uri_too() -> None:
    connection = Connection.from_uri("mysql://u:p@db/films?read_timeout=30&local_infile=false", conn_id="db")
    assert address_of(connection).connect_args == {"read_timeout": 30, "local_infile": False}


def test_extras_cannot_change_the_encoding_of_texts() -> None:
    assert connect_args("mysql", {"charset": "latin1"}) == {}
    assert connect_args("postgres", {"client_encoding": "LATIN1"}) == {}


def test_an_extra_that_does_not_change_the_transactions_is_accepted() -> None:
    assert connect_args("mysql", {"autocommit": False}) == connect_args("postgres", {"autocommit": None}) == {}
    assert connect_args("postgres", "null") == {}


def test_a_key_of_ssl_that_pymysql_would_ignore_is_refused(ca: str) -> None:
    with pytest.raises(ConfigurationError, match="the extra 'ssl' has the key 'ssl_ca', which PyMySQL does not know"):
        connect_args("mysql", {"ssl": {"ssl_ca": ca}})


def test_an_unknown_ssl_mode_of_libpq_is_refused_and_not_treated_as_an_unavailable_server() -> None:
    with pytest.raises(ConfigurationError, match="the extra 'sslmode' must be one of disable, allow, prefer, require"):
        connect_args("postgres", {"sslmode": "required"})
