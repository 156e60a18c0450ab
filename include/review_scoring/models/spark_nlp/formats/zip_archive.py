"""Read an untrusted zip file safely: no path traversal, no zip bomb, no special file.

Checked before anything is unpacked: the size of the table of contents, and the name, type, compression and declared
sizes of every member. While unpacking, the bytes are counted. The format: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT.
"""

from __future__ import annotations

import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Self

from review_scoring.errors import ArchiveError
from review_scoring.models.spark_nlp.refusals import damaged

MAX_CONTENTS = 8 * 1024**2
"""Most bytes of the table of contents: some 80,000 members."""

MAX_UNPACKED = 8 * 1024**3
"""Most bytes of all members together. The largest supported model has 2.3 GB."""

MAX_RATIO, RATIO_COUNTS_FROM = 200, 1024**2
"""Highest ratio of unpacked to packed bytes, for members above this size. Weights reach 1.1, a graph some 30."""

_CHUNK = 1024**2
_BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    OverflowError,
    struct.error,
)
"""The errors of `zipfile` for damaged bytes."""


class SafeZip:
    """An open zip file whose members have all been checked. Use it as a context manager.

    :param path: the file
    :param what: its name in error messages
    :raises ArchiveError: for a file that is not a zip file, and for a member that is not allowed
    """

    def __init__(self, path: Path, what: str) -> None:
        self.name = what
        try:
            with path.open("rb") as file:
                _check_contents_size(file, path.stat().st_size, what)
            self._zip = zipfile.ZipFile(path)
        except _BROKEN as error:
            raise damaged(what, f"it is not a readable zip file ({error})") from None
        try:
            self.members = _checked_members(self._zip, what)
        except ArchiveError:
            self._zip.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def read(self, name: str, limit: int) -> bytes:
        """Return the bytes of a member.

        :param limit: the most bytes that it may have
        :raises ArchiveError: for a member that is missing, larger than the limit, or damaged
        """
        member = self._member(name)
        if member.file_size > limit:
            raise damaged(
                f"{self.name}, {name}",
                f"it unpacks to {member.file_size} bytes, and at most {limit} are expected",
            )
        return b"".join(self._chunks(member))

    def extract(self, name: str, to: Path) -> None:
        """Write a member to a new file, chunk by chunk."""
        with to.open("xb") as file:
            for chunk in self._chunks(self._member(name)):
                file.write(chunk)

    def _member(self, name: str) -> zipfile.ZipInfo:
        if name not in self.members:
            raise damaged(self.name, f"it has no {name}")
        return self.members[name]

    def _chunks(self, member: zipfile.ZipInfo) -> Iterator[bytes]:
        total = 0
        with self._reading(member), self._zip.open(member) as stream:
            while chunk := stream.read(_CHUNK):
                total += len(chunk)
                if total > member.file_size:
                    break
                yield chunk
        if total != member.file_size:
            raise damaged(
                f"{self.name}, {member.filename}",
                f"it declares {member.file_size} bytes and unpacks to another number",
            )

    @contextmanager
    def _reading(self, member: zipfile.ZipInfo) -> Iterator[None]:
        try:
            yield
        except _BROKEN as error:
            raise damaged(f"{self.name}, {member.filename}", f"it does not unpack ({error})") from None


_END, _END64_LOCATOR, _END64 = struct.Struct("<4s4H2LH"), struct.Struct("<4sLQL"), struct.Struct("<4sQ2H2L4Q")
_LONGEST_COMMENT = 2**16


def _check_contents_size(file: BinaryIO, size: int, what: str) -> None:
    """Refuse an oversized table of contents, which `zipfile` would read into memory.

    The end record is looked up where `zipfile` looks it up.
    """
    start = max(0, size - _LONGEST_COMMENT - _END.size - _END64_LOCATOR.size - _END64.size)
    file.seek(start)
    tail = file.read()
    at = len(tail) - _END.size
    if tail[at : at + 4] != b"PK\5\6" or tail[-2:] != b"\0\0":
        at = tail.rfind(b"PK\5\6")
    if at < 0 or len(tail) - at < _END.size:
        raise damaged(what, "it is not a zip file, or its end is missing")
    declared = _END.unpack_from(tail, at)[5]
    at64 = at - _END64_LOCATOR.size - _END64.size
    if at64 >= 0 and tail[at - _END64_LOCATOR.size :][:4] == b"PK\6\7":
        signature, *_, declared64, _ = _END64.unpack_from(tail, at64)
        if signature != b"PK\6\6" or _END64_LOCATOR.unpack_from(tail, at - _END64_LOCATOR.size)[2] != start + at64:
            raise damaged(what, "its end record contradicts its zip64 end record")
        declared = max(declared64, declared if declared < 2**32 - 1 else 0)
    if declared > MAX_CONTENTS:
        raise damaged(what, f"its table of contents has {declared} bytes, and at most {MAX_CONTENTS} are expected")


def _checked_members(archive: zipfile.ZipFile, what: str) -> Mapping[str, zipfile.ZipInfo]:
    """Return the files by name, after checking every member."""
    files: dict[str, zipfile.ZipInfo] = {}
    total = 0
    for member in archive.infolist():
        where = f"{what}, member {member.orig_filename[:200]!r}"
        _check_name(member, where)
        _check_kind(member, where)
        total += member.file_size
        if total > MAX_UNPACKED:
            raise damaged(what, f"its members unpack to more than {MAX_UNPACKED} bytes")
        if member.file_size > max(RATIO_COUNTS_FROM, MAX_RATIO * member.compress_size):
            raise damaged(
                where,
                f"its {member.compress_size} bytes unpack to {member.file_size}, more than {MAX_RATIO} times as many",
            )
        if member.filename in files:
            raise damaged(where, "there are two members of this name")
        if not member.is_dir():
            files[member.filename] = member
    return files


def _check_name(member: zipfile.ZipInfo, where: str) -> None:
    name = member.orig_filename
    path = PurePosixPath(name)
    if not path.parts or path.is_absolute() or ".." in path.parts or any(c in name for c in "\\:\0"):
        raise damaged(where, "its path leads out of the folder of the archive")


def _check_kind(member: zipfile.ZipInfo, where: str) -> None:
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise damaged(where, "it is a link or another special file")
    if member.flag_bits & 1:
        raise damaged(where, "it is encrypted")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise damaged(where, f"it has the compression method {member.compress_type}, neither stored nor deflated")
