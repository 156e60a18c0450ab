"""A zip file from outside, opened so that nothing of it can do harm.

What is checked before a byte is unpacked: the size of the table of contents, and for every member, wanted or
not, its name, kind, compression and declared sizes. While unpacking, the bytes that really come out are
counted. The format: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT.
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
"""Bytes of the table of contents: some 80,000 members."""

MAX_UNPACKED = 8 * 1024**3
"""Bytes of all members together. XLM-RoBERTa large, the largest of its kind, has 2.3 GB."""

MAX_RATIO, RATIO_COUNTS_FROM = 200, 1024**2
"""Unpacked bytes for one packed byte, for members above that many bytes. Weights reach 1.1, a graph some 30.
"""

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
"""What `zipfile` raises for bytes that are not as they should be."""


class SafeZip:
    """An open zip file whose members were all checked. Use it as a context manager.

    :param path: the file
    :param what: its name in error messages
    :raises ArchiveError: for a file that is no zip, and for whatever a checked archive may not hold
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
        """Return a member's bytes.

        :param limit: how many bytes it may have
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
        """Write a member to a new file, without holding it in memory."""
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
    """Refuse an oversized table of contents: `zipfile` would read it whole, whatever it takes.

    The end record is looked for where `zipfile` looks for it; one that is not found there is left to
    `zipfile` to refuse.
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
            raise damaged(what, "its end does not agree with its zip64 end")
        declared = max(declared64, declared if declared < 2**32 - 1 else 0)
    if declared > MAX_CONTENTS:
        raise damaged(what, f"its table of contents has {declared} bytes, and at most {MAX_CONTENTS} are expected")


def _checked_members(archive: zipfile.ZipFile, what: str) -> Mapping[str, zipfile.ZipInfo]:
    """Return the files by name, after a look at every member."""
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
                f"its {member.compress_size} bytes unpack to {member.file_size}, over {MAX_RATIO} times that",
            )
        if member.filename in files:
            raise damaged(where, "there are two members of that name")
        if not member.is_dir():
            files[member.filename] = member
    return files


def _check_name(member: zipfile.ZipInfo, where: str) -> None:
    name = member.orig_filename
    path = PurePosixPath(name)
    if not path.parts or path.is_absolute() or ".." in path.parts or any(c in name for c in "\\:\0"):
        raise damaged(where, "its path leads out of the archive's folder")


def _check_kind(member: zipfile.ZipInfo, where: str) -> None:
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise damaged(where, "it is a link or another special file")
    if member.flag_bits & 1:
        raise damaged(where, "it is encrypted")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise damaged(where, f"it has the compression method {member.compress_type}, neither stored nor deflated")
