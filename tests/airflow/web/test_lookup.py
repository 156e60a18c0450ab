"""Looking up a review: ids are found in all spellings that users enter."""

from __future__ import annotations

import re
from collections.abc import Callable
from uuid import UUID

import pytest
from fastapi.testclient import TestClient

from tests.stubs import Warehouse

Pages = Callable[..., TestClient]

UUID_TEXT = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
ONE_ID = re.compile(r'<bdi class="id">([^<]*)</bdi>')


@pytest.mark.parametrize("entered", ["7", "007", " 7", "7\t", "+7"])
def test_an_integer_id_is_found_however_it_is_written(pages: Pages, warehouse: Warehouse, entered: str) -> None:
    warehouse.create()
    warehouse.fill(7)
    warehouse.insert((8, None))
    warehouse.score()
    client = pages()
    shown = client.get("/review", params={"id": entered}).text
    assert 'class="label label-' in shown
    assert "review number 7" in shown
    assert ONE_ID.findall(shown) == ["7"]
    assert "null_text" in client.get("/review", params={"id": entered.replace("7", "8")}).text


@pytest.mark.parametrize("entered", [UUID_TEXT, UUID_TEXT.upper(), f" {UUID_TEXT} ", UUID_TEXT.replace("-", "")])
def test_a_uuid_is_found_however_it_is_written(pages: Pages, warehouse: Warehouse, entered: str) -> None:
    if warehouse.engine.dialect.name == "sqlite":
        pytest.skip("SQLite has no UUIDs")
    warehouse.create("UUID PRIMARY KEY")
    warehouse.insert((UUID(UUID_TEXT), "Un bon film"))
    warehouse.score()
    shown = pages().get("/review", params={"id": entered}).text
    assert 'class="label label-' in shown
    assert "Un bon film" in shown
    assert ONE_ID.findall(shown) == [UUID_TEXT]


def test_blanks_around_a_string_may_belong_to_it_or_not(pages: Pages, warehouse: Warehouse) -> None:
    warehouse.create("VARCHAR(20) PRIMARY KEY")
    warehouse.insert(("a", "sans"), ("a ", "avec"), ("b", "seul"), ("007", "agent"))
    warehouse.score()
    client = pages()

    def text(entered: str) -> str:
        (found,) = re.findall(r"<blockquote[^>]*>([^<]*)<", client.get("/review", params={"id": entered}).text)
        return str(found)

    assert [text(each) for each in ("a", "a ", " a", " b ", "007")] == ["sans", "avec", "sans", "seul", "agent"]
    assert "The source does not contain it either" in client.get("/review", params={"id": "7"}).text


@pytest.mark.parametrize("entered", ["seven", "7.0", "7 8", "--7", " "])
def test_an_invalid_number_finds_no_review(pages: Pages, warehouse: Warehouse, entered: str) -> None:
    warehouse.create()
    warehouse.fill(7)
    warehouse.score()
    answer = pages().get("/review", params={"id": entered})
    assert answer.status_code == 200
    assert "The source does not contain it either" in answer.text
