"""`review-scoring check-connection` prints what holds, and fails for what does not."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from sqlalchemy import Engine

from review_scoring.cli import main
from review_scoring.conformance import source, suite
from review_scoring.conformance.role import Role
from review_scoring.conformance.trial import Scratch, require
from review_scoring.warehouse.dialects.sqlite import SQLite


@pytest.fixture
def conn_id(sqlite_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> str:
    """A Connection to an empty SQLite database."""
    Path(str(sqlite_engine.url.database)).touch()
    monkeypatch.setenv("AIRFLOW_CONN_DWH", f"sqlite:///{sqlite_engine.url.database}")
    return "dwh"


def test_each_role_is_tried(conn_id: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for role in (Role.SOURCE, Role.LEDGER):
        monkeypatch.setitem(suite.PROMISES, role, [source.each_review_is_scored_once])
    main(["check-connection", conn_id])
    lines = [line.partition(" (")[0] for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        "dwh as publish: not possible; scores cannot be published to sqlite; publish to one of bigquery, databricks, "
        "duckdb, mariadb, mysql, postgresql, redshift, snowflake",
        "dwh as source:",
        "ok     each review is scored once",
        "dwh as ledger:",
        "ok     each review is scored once",
    ]


def test_a_connection_that_cannot_be_used_is_reported_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_DWH", "mysql://root@127.0.0.1:1/reviews")  # nobody listens there
    with pytest.raises(SystemExit, match="connection 'dwh' does not answer .*; if that does not pass, check its host"):
        main(["check-connection", "dwh"])
    assert not capsys.readouterr().out


@pytest.mark.parametrize("role", [[], ["--as", "source"], ["--as", "ledger"]])
def test_a_missing_schema_is_reported_once(conn_id: str, role: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="connection 'dwh' has no schema 'marts'; create it, or name another one"):
        main(["check-connection", conn_id, *role, "--schema", "marts"])
    assert "ok " not in capsys.readouterr().out


def test_a_broken_promise_ends_the_command_with_an_error(
    conn_id: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def the_sky_is_green(scratch: Scratch) -> None:
        with scratch.trial():
            require("blue", "green", "colour")

    monkeypatch.setitem(suite.PROMISES, Role.SOURCE, [the_sky_is_green, source.texts_are_read_as_they_are])
    with pytest.raises(SystemExit, match="1 of the lines above are wrong"):
        main(["check-connection", conn_id, "--as", "source"])
    out = capsys.readouterr().out
    assert "wrong  the sky is green (" in out
    assert "colour: expected green, found blue\nok     texts are read as they are (" in out


def test_a_database_that_cannot_have_a_role_is_refused(conn_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit, match="scores cannot be published to sqlite"):
        main(["check-connection", conn_id, "--as", "publish"])
    monkeypatch.setattr(SQLite, "unfit_as_ledger", "a database of sand")
    with pytest.raises(SystemExit, match="connection 'dwh' is a database of sand, so it cannot hold the scores"):
        main(["check-connection", conn_id, "--as", "ledger"])


def test_another_role_is_refused_with_those_that_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["check-connection", "dwh", "--as", "target"])
    assert re.search("invalid choice: 'target' .*source.*, .*ledger.*, .*publish", capsys.readouterr().err)


def test_a_connection_that_does_not_exist_is_named() -> None:
    assert "AIRFLOW_CONN_NOWHERE" not in os.environ
    with pytest.raises(SystemExit, match="there is no Airflow Connection 'nowhere'"):
        main(["check-connection", "nowhere"])
