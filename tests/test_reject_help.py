"""The pages and `docs/operations.md` say the same of every reject."""

from __future__ import annotations

import re

from review_scoring.reviews import REJECT_HELP, RejectReason, help_for
from tests.conftest import ROOT


def test_the_documented_table_says_what_the_pages_say() -> None:
    section = (ROOT / "docs" / "operations.md").read_text().split("## Rejects")[1].split("\n## ")[0]
    documented = {}
    for row in re.findall(r"^\| (`.*)$", section, re.MULTILINE):
        reasons, review, action = (cell.strip() for cell in row.strip("|").split("|"))
        documented.update(dict.fromkeys(re.findall(r"`(\w+)`", reasons), (review, action)))
    assert documented == {reason.value: (remedy.review, remedy.action) for reason, remedy in REJECT_HELP.items()}


def test_every_reason_has_a_remedy_and_a_newer_versions_reason_does_not_break_a_page() -> None:
    assert set(REJECT_HELP) == set(RejectReason)
    assert help_for("from_the_future").action == "see docs/operations.md"
