"""The documents are rendered as they were meant."""

from __future__ import annotations

import re
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest

from review_scoring.job_definition import JobDefinition

ROOT = Path(__file__).parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
WAREHOUSES = sorted((ROOT / "docs" / "warehouses").glob("[a-z]*.md"))
LINK = re.compile(r"\]\((?!https?://)([^)#\s]*)(?:#([^)\s]+))?\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_row_of_a_table_is_below_its_heading(page: Path) -> None:
    """An empty line ends a table: what follows it is shown as text."""
    lines = ["", *page.read_text(encoding="utf-8").splitlines(), ""]
    starts = [
        n for n, (above, line) in enumerate(pairwise(lines)) if line.startswith("|") and not above.startswith("|")
    ]
    assert [lines[n + 1] for n in starts if not re.fullmatch(r"\|(?:\s*:?-+:?\s*\|)+", lines[n + 2])] == []


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_within_the_project_leads_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    broken = []
    for path, anchor in LINK.findall(text):
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            broken.append(f"{path}#{anchor}" if anchor else path)
    assert broken == []


@pytest.mark.parametrize("record", DECISIONS, ids=lambda record: record.stem[:4])
def test_a_decision_has_three_sections_and_a_line_in_the_index(record: Path) -> None:
    text = record.read_text(encoding="utf-8")
    number, title = re.match(r"# (\d{4}) (.+)\n", text).groups()  # type: ignore[union-attr]  # no heading fails
    assert record.name.startswith(f"{number}-")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == ["Context", "Decision", "Consequences"]
    assert f"| [{number}]({record.name}) | {title} |" in (record.parent / "README.md").read_text(encoding="utf-8")


def test_decisions_are_numbered_without_a_gap() -> None:
    assert [int(record.name[:4]) for record in DECISIONS] == list(range(1, len(DECISIONS) + 1))


@pytest.mark.parametrize("page", WAREHOUSES, ids=lambda page: page.stem)
def test_the_job_of_a_warehouse_is_valid_and_reads_and_publishes_there(page: Path) -> None:
    (job,) = re.findall(r"^```toml\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    found = JobDefinition.from_mapping("films", tomllib.loads(job))
    assert [found.source_conn_id, *(to.conn_id for to in found.publish)] == [page.stem, page.stem]
