"""What the extras of a Connection tell the driver: each arrives, is Airflow's own, or is refused by its name."""

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
    """A file that stands for a certificate."""
    (tmp_path / "ca.pem").touch()
    return str(tmp_path / "ca.pem")


AIRFLOWS_OWN = {
    "cursor": "dictcursor", "iam": False, "enable_log_db_messages": True, "client": "mysqlclient", "aws_conn_id": "aws",
    "redshift": False, "cluster-identifier": "x", "sqlalchemy_scheme": "", "extra__postgres__x": "1",
}  # fmt: skip


@pytest.mark.parametrize("conn_type", ["postgres", "mysql"])
def test_extras_that_are_airflows_own_are_left_out(conn_type: str) -> None:
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
def test_an_extra_that_would_take_a_chunk_its_transaction_is_refused(
    conn_type: str, extra: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match=f"extra '{extra}'; each chunk of scores is one transaction"):
        connect_args(conn_type, {extra: True, "sqlalchemy_scheme": "mssql+pyodbc"})


@pytest.mark.parametrize("extra", ["sslmode=require", "[1]", '"text"', "{", "7"])
def test_an_extra_that_is_no_json_object_is_told(extra: str) -> None:
    with pytest.raises(ConfigurationError, match="'db' has an extra that is not a JSON object"):
        connect_args("postgres", extra)


def test_extras_that_a_uri_carries_as_json_count() -> None:
    assert connect_args("postgres", {"__extra__": '{"sslmode": "require"}'}) == {"sslmode": "require"}


def test_what_the_user_says_of_a_postgresql_session_arrives_as_text() -> None:
    extra = {"application_name": "ours", "keepalives": True, "connect_timeout": 3, "options": "-c x=1"}
    found = {"application_name": "ours", "keepalives": "1", "connect_timeout": "3", "options": "-c x=1"}
    assert connect_args("postgres", extra) == found


@pytest.mark.parametrize(("given", "arrives"), [(None, None), (5, 5), ("0", 0), ("null", None), ("None", None)])
def test_prepare_threshold_is_a_number_or_null(given: object, arrives: int | None) -> None:
    assert connect_args("postgres", {"prepare_threshold": given}) == {"prepare_threshold": arrives}


def test_a_value_of_another_type_is_refused_without_being_quoted() -> None:
    with pytest.raises(ConfigurationError, match="the extra 'options' is of type dict") as error:
        connect_args("postgres", {"options": {"secret": "hunter2"}})
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize(
    ("conn_type", "extra"),
    [("postgres", {"sslrootcert": "/nowhere/ca.pem"}), ("mysql", {"ssl": {"ca": "/nowhere/ca.pem"}}),
     ("mysql", {"ssl_ca": "/nowhere/ca.pem"})],
)  # fmt: skip
def test_a_certificate_that_is_not_on_this_machine_is_told(conn_type: str, extra: object) -> None:
    with pytest.raises(ConfigurationError, match=r"is '/nowhere/ca.pem', which does not exist on this machine"):
        connect_args(conn_type, extra)


@pytest.mark.parametrize("conn_type", ["postgres", "mysql"])
def test_an_extra_that_has_a_field_of_its_own_is_refused(conn_type: str) -> None:
    with pytest.raises(ConfigurationError, match="'password', which is a field of the Connection"):
        connect_args(conn_type, {"password": "hunter2"})


def test_the_form_of_tls_that_airflow_documents_for_mysql_arrives(ca: str) -> None:
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
def test_tls_to_mysql_is_never_dropped_in_silence(extra: object, arrives: object) -> None:
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
def test_tls_to_mysql_is_left_out_where_somebody_says_so(extra: object) -> None:
    assert connect_args("mysql", extra) == {}


def test_a_ca_is_used_where_a_mode_alone_would_verify_nothing(ca: str) -> None:
    found = connect_args("mysql", {"ssl_mode": "REQUIRED", "ssl_ca": ca})
    assert found == {"ssl": {"check_hostname": False, "verify_mode": True, "ca": ca}}


@pytest.mark.parametrize("extra", [{"ssl_mode": "VERIFY_IDENTITY"}, {"ssl_verify_identity": True}])
def test_a_name_that_pymysql_would_not_verify_without_a_ca_is_refused(extra: object) -> None:
    with pytest.raises(ConfigurationError, match="only be verified with a CA"):
        connect_args("mysql", extra)


def test_the_numbers_and_flags_of_mysql_arrive_as_such_from_a_uri_too() -> None:
    connection = Connection.from_uri("mysql://u:p@db/films?read_timeout=30&local_infile=false", conn_id="db")
    assert address_of(connection).connect_args == {"read_timeout": 30, "local_infile": False}


def test_what_the_texts_need_is_not_the_extras_to_say() -> None:
    assert connect_args("mysql", {"charset": "latin1"}) == {}
    assert connect_args("postgres", {"client_encoding": "LATIN1"}) == {}


def test_a_setting_that_leaves_a_chunk_its_transaction_is_no_reason_to_refuse() -> None:
    assert connect_args("mysql", {"autocommit": False}) == connect_args("postgres", {"autocommit": None}) == {}
    assert connect_args("postgres", "null") == {}


def test_a_part_of_ssl_that_pymysql_would_pass_over_is_refused(ca: str) -> None:
    with pytest.raises(ConfigurationError, match="the extra 'ssl' has the key 'ssl_ca', which PyMySQL does not know"):
        connect_args("mysql", {"ssl": {"ssl_ca": ca}})


def test_a_mode_of_tls_that_libpq_does_not_know_is_refused_and_not_taken_for_a_server_that_is_away() -> None:
    with pytest.raises(ConfigurationError, match="the extra 'sslmode' must be one of disable, allow, prefer, require"):
        connect_args("postgres", {"sslmode": "required"})
