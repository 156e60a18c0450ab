"""The Grafana dashboard and the alerts in docs/metrics.md name metrics and tags that the code emits."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from review_scoring.airflow.metrics import METRICS, Metric
from tests.conftest import ROOT

DASHBOARD = ROOT / "docs" / "dashboards" / "review_scoring.json"
PAGE = ROOT / "docs" / "metrics.md"
BY_NAME: dict[str, Metric] = {f"airflow_{each.name.replace('.', '_')}": each for each in METRICS}
"""The metrics by the names that they have in Prometheus."""

USE = re.compile(r"(airflow_[a-z_]+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)\s*=~?\s*"')


@pytest.fixture(scope="module")
def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return found


def queries(dashboard: dict[str, Any]) -> Iterator[str]:
    for panel in dashboard["panels"]:
        yield from (target["expr"] for target in panel["targets"])


def alerts() -> Iterator[str]:
    blocks = re.findall(r"^```yaml\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    (groups,) = [found["groups"] for found in map(yaml.safe_load, blocks) if "groups" in found]
    for group in groups:
        yield from (rule["expr"] for rule in group["rules"])


def mistakes(expr: str) -> list[str]:
    """Return the metrics and tags of a PromQL expression that do not exist."""
    found = []
    for name, matchers in USE.findall(expr):
        if name not in BY_NAME:
            found.append(name)
            continue
        found += [f"{name}{{{tag}}}" for tag in MATCHER.findall(matchers) if tag not in BY_NAME[name].tags]
    return found


def test_every_query_names_metrics_and_tags_that_exist(dashboard: dict[str, Any]) -> None:
    expressions = [*queries(dashboard), *alerts()]
    assert len(expressions) > 20
    assert {expr: wrong for expr in expressions if (wrong := mistakes(expr))} == {}


def test_the_dashboard_shows_every_metric(dashboard: dict[str, Any]) -> None:
    shown = {name for expr in queries(dashboard) for name, _ in USE.findall(expr)}
    assert set(BY_NAME) - shown == set()


def test_the_dashboard_belongs_to_no_data_source_and_filters_every_query_by_job(dashboard: dict[str, Any]) -> None:
    source, job = dashboard["templating"]["list"]
    assert (source["name"], source["type"], source["query"]) == ("datasource", "datasource", "prometheus")
    assert job["name"] == "job"
    assert mistakes(job["definition"]) == []
    sources = [each["datasource"] for panel in dashboard["panels"] for each in (panel, *panel["targets"])]
    assert {each["uid"] for each in sources} == {"${datasource}"}
    for expr in queries(dashboard):
        for name, matchers in USE.findall(expr):
            assert 'scoring_job=~"$job"' in matchers, f"{name} of all jobs in {expr}"


def test_panels_have_numbers_of_their_own_and_do_not_overlap(dashboard: dict[str, Any]) -> None:
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24


def test_the_mappings_for_plain_statsd_name_the_tags_in_their_order() -> None:
    blocks = re.findall(r"^```yaml\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    (mappings,) = [found["mappings"] for found in map(yaml.safe_load, blocks) if "mappings" in found]
    for metric in METRICS:
        sent = ".".join(["airflow", metric.name, *(f"<{tag}>" for tag in metric.tags)])
        patterns = [(re.escape(each["match"]).replace(r"\*", r"([^.]*)"), each) for each in mappings]
        match, mapping = next((m, each) for pattern, each in patterns if (m := re.fullmatch(pattern, sent)))
        name = mapping["name"].replace("$1", match[1])
        labels = {tag: match[int(group.removeprefix("$"))] for tag, group in mapping["labels"].items()}
        assert name == f"airflow_{metric.name.replace('.', '_')}"
        assert labels == {tag: f"<{tag}>" for tag in metric.tags}
