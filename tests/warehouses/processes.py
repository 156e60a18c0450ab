"""Other processes of these tests: they have an emulated warehouse of their own, and can be killed."""

from __future__ import annotations

import json
import multiprocessing
import os
import urllib.request
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from review_scoring.airflow.connections.engines import engine_of
from tests.exactly_once import worker
from tests.run import publications
from tests.warehouses.conftest import CONN_ID, as_the_emulator_takes_it, for_the_emulator, without_tls

# The clients take ten seconds to import. All modules that start processes share one server of them, and the last list
# counts, so it is set after these modules have set their own.
multiprocessing.get_context("forkserver").set_forkserver_preload(
    [
        worker.__name__,
        publications.__name__,
        "airflow.providers.google.cloud.hooks.bigquery",
        "airflow.providers.snowflake.hooks.snowflake",
        "snowflake.sqlalchemy",
        "sqlalchemy_bigquery",
    ]
)


def reopened(warehouse: str, environment: dict[str, str], sessions: Path | None = None) -> Engine:
    """Return an engine of the Connection of a test, in another process.

    :param sessions: where the process writes the tokens of its sessions, for :func:`roll_back`
    """
    os.environ.update(environment)
    engine = engine_of(CONN_ID)
    if warehouse == "bigquery":
        as_the_emulator_takes_it(pytest.MonkeyPatch())
        for_the_emulator(engine)
    else:
        without_tls(engine)
        if sessions is not None:
            event.listen(engine, "connect", partial(_note, sessions))
    return engine


def _note(sessions: Path, opened: Any, _record: object) -> None:
    with sessions.open("a") as file:
        file.write(f"{opened.rest.token}\n")


def roll_back(address: str, sessions: Path) -> None:
    """Roll back the transactions of processes that were killed.

    Snowflake does so once another transaction waits for one that has been idle for five minutes (its documentation,
    "Transactions"). Its emulator never does, and has others fail.
    """
    for token in sessions.read_text().split():
        headers = {"Authorization": f'Snowflake Token="{token}"', "Content-Type": "application/json"}
        content = json.dumps({"sqlText": "ROLLBACK"}).encode()
        request = urllib.request.Request(f"{address}/queries/v1/query-request", content, headers)  # noqa: S310 http
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 http
            assert json.load(answer)["success"]
    sessions.write_text("")
