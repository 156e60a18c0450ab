"""What GitHub reads: the workflow runs all that CI runs, with no more rights than it needs."""

from __future__ import annotations

import re
import shlex
from typing import Any

import yaml

from tests.deployment.compose_file import ROOT

GITHUB = ROOT / ".github"
WORKFLOW: dict[str, Any] = yaml.safe_load((GITHUB / "workflows" / "ci.yml").read_text())
STEPS = [step for job in WORKFLOW["jobs"].values() for step in job["steps"]]
CI = (ROOT / ".ci" / "run").read_text()


def test_the_workflow_runs_what_ci_runs_and_may_only_read() -> None:
    assert STEPS[-1]["run"] == ".ci/run"
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert not any("permissions" in job for job in WORKFLOW["jobs"].values())


def test_actions_are_pinned_to_a_commit_whose_version_is_named() -> None:
    text = (GITHUB / "workflows" / "ci.yml").read_text()
    used = re.findall(r"uses: (.*)", text)
    assert [line for line in used if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v[\d.]+", line)] == []
    assert len(used) == sum("uses" in step for step in STEPS)


def test_each_of_githubs_files_is_checked_against_its_schema() -> None:
    checked = {
        path.relative_to(ROOT)
        for line in re.findall(r"^against .*$", CI, re.MULTILINE)
        for pattern in shlex.split(line)[2:]
        for path in ROOT.glob(pattern)
    }
    assert {path.relative_to(ROOT) for path in GITHUB.rglob("*.yml")} <= checked


def test_updates_are_looked_for_where_versions_are_pinned() -> None:
    updates = yaml.safe_load((GITHUB / "dependabot.yml").read_text())["updates"]
    assert {each["package-ecosystem"] for each in updates} == {"pip", "github-actions", "docker"}


def test_vulnerabilities_are_reported_where_security_md_says() -> None:
    links = yaml.safe_load((GITHUB / "ISSUE_TEMPLATE" / "config.yml").read_text())["contact_links"]
    assert any(link["url"].endswith("/security/advisories/new") for link in links)
    assert "private" in (ROOT / "SECURITY.md").read_text()
