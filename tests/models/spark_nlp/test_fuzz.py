"""Mutated archives: each is converted or refused with an error of ours, in bounded time, and leaves nothing
else.

REVIEW_SCORING_FUZZ says how many, and REVIEW_SCORING_FUZZ_SEED where to begin; every one can be made again by
its number.
"""

from __future__ import annotations

import io
import os
import random
import shutil
import time
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from review_scoring.errors import ArchiveError
from review_scoring.models.folder import REQUIRED_FILES
from review_scoring.models.spark_nlp.convert import convert_archive
from tests.conftest import PROVE
from tests.models.spark_nlp.generator import SCOPES, Spec, generate
from tests.models.spark_nlp.test_fixtures import FIXTURES

COUNT = int(os.environ.get("REVIEW_SCORING_FUZZ", "10000" if PROVE else "150"))
FIRST = int(os.environ.get("REVIEW_SCORING_FUZZ_SEED", "0"))
SECONDS_EACH = 10.0
LONGEST_MESSAGE = 2_000
SENTENCE = "Un film drôle, touchant 😀 et ﬁn… «très» bon <s> [MASK]"

Files = dict[str, bytes]


@pytest.mark.prove
@pytest.mark.timeout(max(600, COUNT))
def test_mutated_archives_are_converted_or_refused_and_leave_nothing_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sources = _sources(tmp_path)
    home = tmp_path / "home"
    converted = slowest = 0.0
    for number in range(FIRST, FIRST + COUNT):
        chance = random.Random(number)  # noqa: S311 - mutations, not secrets
        home.mkdir()
        archive, into = home / "archive.zip", home / "model"
        _write_mutated(chance, sources, archive)
        started = time.monotonic()
        refused = ""
        try:
            convert_archive(archive, into)
        except ArchiveError as error:
            refused = str(error)
        except BaseException as error:
            raise AssertionError(f"mutation {number} gave {type(error).__name__}: {error}") from error
        assert len(refused) < LONGEST_MESSAGE, f"mutation {number}"
        assert into.exists() is not bool(refused), f"mutation {number}"
        if not refused:
            converted += 1
            assert sorted(path.name for path in into.iterdir()) == sorted(REQUIRED_FILES), f"mutation {number}"
            _use(into)
            shutil.rmtree(into)
        took = time.monotonic() - started
        slowest = max(slowest, took)
        assert took < SECONDS_EACH, f"mutation {number} took {took:.1f} s"
        assert list(home.iterdir()) == [archive], f"mutation {number}"
        shutil.rmtree(home)
        assert not list(tmp_path.glob("*")), f"mutation {number}"
    with capsys.disabled():
        print(f"\n{COUNT} mutated archives: {converted:.0f} converted, the slowest took {slowest:.2f} s")


def _use(folder: Path) -> None:
    """Tokenise with the converted tokenizer: a table that would abort the process must be refused before."""
    from tokenizers import Tokenizer

    Tokenizer.from_file(str(folder / "tokenizer.json")).encode(SENTENCE)


def _sources(folder: Path) -> list[bytes]:
    """Return unmutated archives: the miniatures, and smaller ones, of which a mutation affects a larger part."""
    found = [(FIXTURES / f"{name}.zip").read_bytes() for name in SCOPES]
    for name in SCOPES:
        path = folder / f"{name}.zip"
        generate(path, Spec(architecture=name, hidden=4, positions=4, rows=14, graph_epsilon=1e-12))
        found += [path.read_bytes()] * 3
        path.unlink()
    return found


def _write_mutated(chance: random.Random, sources: list[bytes], archive: Path) -> None:
    """Write a mutated archive; some mutations are made before the checksums are computed."""
    if chance.random() < 0.7:
        archive.write_bytes(_mutated(chance, chance.choice(sources)))
        return

    def change_entries(entries: dict[bytes, bytes]) -> None:
        for key in chance.sample(sorted(entries), chance.choice([1, 2, 5])):
            value = entries.pop(key)
            entries[_changed(chance, key) if chance.random() < 0.2 else key] = _changed(chance, value)

    def change_graph(content: bytes) -> bytes:
        return _changed(chance, content) if chance.random() < 0.5 else content

    spec = Spec(architecture=chance.choice(sorted(SCOPES)), hidden=4, positions=4, rows=14, graph_epsilon=1e-12)
    if chance.random() < 0.5:
        generate(archive, spec, edit_index=change_entries)
    else:
        generate(archive, spec, edit_object_graph=change_graph)


def _mutated(chance: random.Random, source: bytes) -> bytes:
    """Return an archive with something wrong in it: in its own bytes, in a file's, or in a file of the inner
    zip.
    """
    if chance.random() < 0.2:
        return _changed(chance, source)
    files = dict(_unpacked(source))
    inner_name = next(name for name in files if name.endswith("classification_tensorflow"))
    if chance.random() < 0.5:
        inner = dict(_unpacked(files[inner_name]))
        _change_one(chance, inner)
        files[inner_name] = _packed(inner)
    else:
        _change_one(chance, files)
    return _packed(files)


def _change_one(chance: random.Random, files: Files) -> None:
    name = chance.choice([name for name in sorted(files) if files[name]])
    action = chance.random()
    if action < 0.05:
        del files[name]
    elif action < 0.1:
        files[chance.choice(["../" * chance.randint(1, 9), "/tmp/", "x/", "./"]) + name] = files.pop(name)  # noqa: S108
    elif action < 0.15:
        files[name] = files[chance.choice(sorted(files))]
    else:
        files[name] = _changed(chance, files[name])


def _changed(chance: random.Random, data: bytes) -> bytes:
    """Change some bytes: at random places, but for a third of the time among the first few hundred."""
    changed = bytearray(data)
    for _ in range(chance.choice([1, 1, 1, 2, 5, 30])):
        end = min(len(changed), 400) if chance.random() < 1 / 3 else len(changed)
        at = chance.randrange(end) if end else 0
        chance.choice(_CHANGES)(chance, changed, at)
    return bytes(changed)


def _flip(chance: random.Random, data: bytearray, at: int) -> None:
    data[at : at + 1] = bytes([(data[at] if data else 0) ^ 1 << chance.randrange(8)])


def _extreme(chance: random.Random, data: bytearray, at: int) -> None:
    data[at : at + 4] = chance.choice([b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f"])


def _cut(chance: random.Random, data: bytearray, at: int) -> None:
    del data[at : at + chance.choice([1, 4, 100, len(data)])]


def _repeat(chance: random.Random, data: bytearray, at: int) -> None:
    data[at:at] = data[at : at + chance.choice([1, 8, 200])] * chance.choice([1, 2, 50])


def _noise(chance: random.Random, data: bytearray, at: int) -> None:
    data[at : at + 8] = chance.randbytes(8)


_CHANGES: tuple[Callable[[random.Random, bytearray, int], None], ...] = (
    _flip,
    _flip,
    _extreme,
    _cut,
    _repeat,
    _noise,
)


@cache
def _unpacked(data: bytes) -> Files:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _packed(files: Files) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()
