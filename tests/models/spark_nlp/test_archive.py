"""Malicious and truncated zip files are refused."""

from __future__ import annotations

import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from review_scoring.models.spark_nlp.convert import convert_archive
from review_scoring.models.spark_nlp.formats import zip_archive as archive_module
from tests.models.spark_nlp.generator import Spec, generate
from tests.models.spark_nlp.refusals import generated_refusal, refusal


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    generate(tmp_path / "archive.zip", Spec())
    return tmp_path / "archive.zip"


def add(archive: Path, name: str, content: bytes = b"x", *, mode: int = stat.S_IFREG | 0o644) -> None:
    with zipfile.ZipFile(archive, "a", zipfile.ZIP_DEFLATED) as zip_file:
        member = zipfile.ZipInfo(name)
        member.external_attr = mode << 16
        member.compress_type = zipfile.ZIP_DEFLATED
        zip_file.writestr(member, content)


def patch(archive: Path, name: str, change: Callable[[bytearray, int], None]) -> None:
    """Change the entry of a member in the table of contents; `change` gets its offset."""
    data = bytearray(archive.read_bytes())
    at = data.rfind(name.encode()) - 46
    assert data[at : at + 4] == b"PK\1\2"
    change(data, at)
    archive.write_bytes(data)


@pytest.mark.parametrize(
    "name", ["../outside", "/etc/outside", "a/../../outside", "a\\..\\outside", "C:outside", "a\0b"]
)
def test_a_path_that_leaves_the_folder_is_refused_before_anything_is_unpacked(archive: Path, name: str) -> None:
    add(archive, "placeholder" if "\0" in name else name)
    if "\0" in name:
        patch(archive, "placeholder", lambda data, at: data.__setitem__(slice(at + 47, at + 48), b"\0"))
    assert "its path leads out of the folder of the archive" in refusal(archive)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK])
def test_a_link_or_special_file_is_refused(archive: Path, kind: int) -> None:
    add(archive, "fields/elsewhere", b"/etc/passwd", mode=kind | 0o777)
    assert "'fields/elsewhere': it is a link or another special file" in refusal(archive)


def test_a_member_that_unpacks_to_many_times_its_size_is_refused(archive: Path) -> None:
    add(archive, "bomb", bytes(3_000_000))
    assert "'bomb': its 2" in (said := refusal(archive))
    assert "unpack to 3000000, more than 200 times as many" in said


def test_members_that_declare_too_much_together_are_refused(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_module, "MAX_UNPACKED", 5_000)
    assert "its members unpack to more than 5000 bytes" in refusal(archive)


def test_a_member_that_unpacks_to_more_than_it_declares_is_refused(archive: Path) -> None:
    patch(archive, "metadata/part-00000", lambda data, at: struct.pack_into("<I", data, at + 24, 10))
    assert "metadata/part-00000: it does not unpack" in refusal(archive)


def test_a_member_that_unpacks_to_less_than_it_declares_is_refused(archive: Path) -> None:
    patch(archive, "metadata/part-00000", lambda data, at: struct.pack_into("<I", data, at + 24, 5_000))
    assert "metadata/part-00000: it declares 5000 bytes and unpacks to another number" in refusal(archive)


def test_two_members_of_one_name_are_refused(archive: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        add(archive, "metadata/part-00000")
    assert "there are two members of this name" in refusal(archive)


def test_an_encrypted_member_is_refused(archive: Path) -> None:
    patch(archive, "metadata/_SUCCESS", lambda data, at: data.__setitem__(at + 8, 1))
    assert "it is encrypted" in refusal(archive)


def test_another_compression_than_deflate_is_refused_by_its_number(archive: Path) -> None:
    patch(archive, "metadata/_SUCCESS", lambda data, at: data.__setitem__(at + 10, 93))
    assert "it has the compression method 93" in refusal(archive)


def test_an_oversized_table_of_contents_is_refused_without_reading_it(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_module, "MAX_CONTENTS", 100)
    monkeypatch.setattr(zipfile, "ZipFile", lambda *_: pytest.fail("the table was read"))
    assert "its table of contents has" in refusal(archive)


def test_an_oversized_zip64_table_of_contents_is_refused_too(archive: Path) -> None:
    data = archive.read_bytes()
    record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 9, 9, 2**40, 0)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, len(data) - 22, 1)
    archive.write_bytes(data[:-22] + record + locator + data[-22:])
    assert f"its table of contents has {2**40} bytes" in refusal(archive)


@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_an_archive_that_was_cut_off_is_refused(archive: Path, part: float) -> None:
    data = archive.read_bytes()
    archive.write_bytes(data[: int(part * len(data))])
    assert "it is not a zip file, or its end is missing" in refusal(archive)


def test_a_file_that_is_not_a_zip_is_refused(tmp_path: Path) -> None:
    (tmp_path / "archive.zip").write_text("<html>not found</html>" * 100)
    assert "archive.zip: it is not a zip file" in refusal(tmp_path / "archive.zip")


def test_a_changed_byte_in_a_member_is_noticed(archive: Path) -> None:
    data = bytearray(archive.read_bytes())
    data[data.find(b"bert_classification_tensorflow") + 500] ^= 0xFF
    archive.write_bytes(data)
    assert "it does not unpack" in refusal(archive)


def test_the_inner_zip_is_checked_like_the_outer_one(tmp_path: Path) -> None:
    inner = tmp_path / "inner.zip"
    with zipfile.ZipFile(inner, "w") as zip_file:
        zip_file.writestr("../../outside", b"x")
    packed = inner.read_bytes()
    inner.unlink()
    generate(tmp_path / "old.zip", Spec())
    with zipfile.ZipFile(tmp_path / "old.zip") as old, zipfile.ZipFile(tmp_path / "archive.zip", "w") as new:
        for name in old.namelist():
            new.writestr(name, packed if name.endswith("_tensorflow") else old.read(name))
    assert "'../../outside': its path leads out of the folder of the archive" in refusal(tmp_path / "archive.zip")


def test_one_enclosing_folder_is_tolerated(tmp_path: Path) -> None:
    generate(tmp_path / "archive.zip", Spec(enclosing="bert_fr/"))
    assert convert_archive(tmp_path / "archive.zip", tmp_path / "model").labels == ("neg", "pos")


def test_two_enclosing_folders_are_refused_with_what_is_there(tmp_path: Path) -> None:
    assert "at its top level, where it has ['a']" in generated_refusal(tmp_path, Spec(enclosing="a/b/"))


@pytest.mark.parametrize("name", ["saved_model.pb", "variables.index"])
def test_a_missing_file_of_the_inner_zip_is_named(tmp_path: Path, name: str) -> None:
    said = generated_refusal(tmp_path, edit=lambda path, content: None if path == name else content)
    assert f"bert_classification_tensorflow: it has no {name}" in said
