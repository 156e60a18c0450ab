"""The Airflow plugin: loaded once, from the folder or the package; task processes do not create the web app."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.airflow.runner import ROOT, AirflowHome

LOADED = """
import json, sys
from airflow import plugins_manager
older = not hasattr(plugins_manager, "_get_plugins")  # Airflow 3.1
if older:
    plugins_manager.ensure_plugins_loaded()
    found, errors = plugins_manager.plugins, plugins_manager.import_errors
else:
    found, errors = plugins_manager._get_plugins()
ours = [plugin for plugin in found if plugin.name == "review_scoring"]
heavy = [name for name in ("fastapi", "torch", "review_scoring.airflow.web.app") if name in sys.modules]
if older:
    plugins_manager.initialize_ui_plugins()
    plugins_manager.initialize_fastapi_plugins()
    views, apps = plugins_manager.external_views, plugins_manager.fastapi_apps
else:
    views = plugins_manager._get_ui_plugins()[0]
    apps, _ = plugins_manager.get_fastapi_plugins()
print(json.dumps({
    "ours": [str(plugin.source) for plugin in ours], "errors": errors, "heavy": heavy,
    "views": [view["href"] for view in views if view["url_route"] == "review-scoring"],
    "apps": [app["url_prefix"] for app in apps if app["name"] == "review_scoring"],
}))
"""
STATIC = ROOT / "include" / "review_scoring" / "airflow" / "web" / "static"
ENTRY_POINT = "[airflow.plugins]\nreview_scoring = review_scoring.airflow.plugin:ReviewScoringPlugin\n"


@pytest.mark.parametrize("installed", [False, True])
@pytest.mark.parametrize("folder", [False, True])
def test_the_plugin_is_loaded_once_from_the_folder_or_the_package(
    airflow_home: AirflowHome, tmp_path: Path, installed: bool, folder: bool
) -> None:
    here = is_installed()
    if here and not installed:
        pytest.skip("the package of this environment brings the plugin by its entry point")
    path = [str(ROOT / "include")]
    if installed and not here:
        info = tmp_path / "site" / "review_scoring_plugin_of_a_test-1.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: review-scoring-plugin-of-a-test\nVersion: 1\n")
        (info / "entry_points.txt").write_text(ENTRY_POINT)
        path.append(str(tmp_path / "site"))
    empty = tmp_path / "plugins"
    empty.mkdir()
    environment = airflow_home.environment(
        AIRFLOW__CORE__PLUGINS_FOLDER=str(ROOT / "plugins" if folder else empty),
        AIRFLOW__API__BASE_URL="https://example.org/airflow",
        PYTHONPATH=os.pathsep.join(path),
    )
    done = subprocess.run(
        [sys.executable, "-c", LOADED], env=environment, text=True, capture_output=True, check=True, cwd=tmp_path
    )
    found = json.loads(done.stdout.splitlines()[-1])
    expected = int(installed or folder)
    assert len(found["ours"]) == expected, found
    assert found["errors"] == {}
    assert found["views"] == ["/airflow/review-scoring/"] * expected
    assert found["apps"] == ["/review-scoring"] * expected
    assert "torch" not in found["heavy"]
    assert "review_scoring.airflow.web.app" not in found["heavy"]


def is_installed() -> bool:
    from importlib.metadata import entry_points

    return "review_scoring" in {entry.name for entry in entry_points(group="airflow.plugins")}


@pytest.mark.parametrize(
    ("icon", "behind"),
    [
        ("icon.svg", "#dbe7f5"),
        ("icon.svg", "#3b5b8c"),
        ("icon-dark.svg", "#1f3158"),
        ("icon-dark.svg", "#3b5b8c"),
    ],
)
def test_the_icon_has_enough_contrast_on_airflows_backgrounds(icon: str, behind: str) -> None:
    """WCAG 2.2 requires a contrast of 3:1 for graphics; the backgrounds are the navigation and its selected entry."""
    colours = re.findall(r"(?:stroke|fill)=\"#([0-9a-f]+)\"", (STATIC / icon).read_text())
    lights = [luminance(colour) for colour in colours]
    ground = luminance(behind.removeprefix("#"))
    assert max(contrast(light, ground) for light in lights) >= 3
    if len(lights) > 1:
        assert contrast(*lights) >= 3, "its lines are seen on its own area"


def luminance(colour: str) -> float:
    """Return the relative luminance of a colour, as WCAG defines it."""
    digits = colour if len(colour) == 6 else "".join(2 * each for each in colour)
    parts = (int(digits[n : n + 2], 16) / 255 for n in (0, 2, 4))
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: float, other: float) -> float:
    """Return the contrast of two luminances."""
    return (max(one, other) + 0.05) / (min(one, other) + 0.05)
