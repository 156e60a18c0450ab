"""The documents are rendered as they were meant."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_row_of_a_table_is_below_its_heading(page: Path) -> None:
    """An empty line ends a table: what follows it is shown as text."""
    lines = ["", *page.read_text(encoding="utf-8").splitlines(), ""]
    starts = [
        n for n, (above, line) in enumerate(pairwise(lines)) if line.startswith("|") and not above.startswith("|")
    ]
    assert [lines[n + 1] for n in starts if not re.fullmatch(r"\|(?:\s*:?-+:?\s*\|)+", lines[n + 2])] == []
