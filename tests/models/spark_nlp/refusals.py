"""Helpers of the tests: refuse an archive, return the message, and check that nothing was left behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from review_scoring.errors import ArchiveError
from review_scoring.models.spark_nlp.convert import convert_archive
from tests.models.spark_nlp.generator import Edit, Spec, generate, keep


def refusal(archive: Path) -> str:
    """Convert an archive that must be refused, and return the message."""
    before = sorted(archive.parent.rglob("*"))
    with pytest.raises(ArchiveError) as caught:
        convert_archive(archive, archive.parent / "model")
    assert sorted(archive.parent.rglob("*")) == before, "something was left behind"
    return str(caught.value)


def generated_refusal(
    folder: Path,
    spec: Spec | None = None,
    *,
    edit: Edit = keep,
    edit_index: Callable[[dict[bytes, bytes]], object] = id,
    edit_object_graph: Callable[[bytes], bytes] = bytes,
) -> str:
    """Generate an archive with edits, and return the message of its refusal."""
    generate(
        folder / "archive.zip",
        spec or Spec(),
        edit=edit,
        edit_index=edit_index,
        edit_object_graph=edit_object_graph,
    )
    return refusal(folder / "archive.zip")


def replacing(name: str, change: Callable[[bytes], bytes | None]) -> Edit:
    """Return the edit of one file, given by its path or the end of its path."""
    return lambda path, content: change(content) if path.endswith(name) else content
