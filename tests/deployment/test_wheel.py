"""The wheel, installed into an environment of its own: DAGs, forms and pages are there with a DAG file of two lines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from zipfile import ZipFile

import pytest
from sqlalchemy import create_engine, text

from tests.airflow.runner import ROOT, AirflowHome

DAG_FILE = """\
from review_scoring.airflow.dags import create_dags
create_dags(__file__)
"""
LOOK = """
import json, sys
import review_scoring
from importlib.metadata import entry_points
try:
    from airflow.dag_processing.dagbag import DagBag
except ModuleNotFoundError:  # Airflow 3.1
    from airflow.models.dagbag import DagBag
from fastapi.testclient import TestClient
bag = DagBag(sys.argv[1], bundle_path=sys.argv[1])
(plugin,) = {entry.value: entry for entry in entry_points(group="airflow.plugins", name="review_scoring")}.values()
app = plugin.load()().fastapi_apps[0]["app"]
client = TestClient(app, headers={"Accept": "text/html"})
print(json.dumps({
    "package": review_scoring.__file__,
    "errors": bag.import_errors,
    "forms": {dag.dag_id: list(dag.params) for dag in bag.dags.values()},
    "answers": {path: client.get(path).status_code for path in sys.argv[2:]},
}))
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The interpreter of an environment in which the wheel is installed, and of the requirements' packages the rest."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = folder.glob("*.whl")
    print(f"the wheel has {wheel.stat().st_size / 1e6:.1f} MB")
    with ZipFile(wheel) as content:
        assert not [name for name in content.namelist() if name.startswith(("tests", "dags"))]
    environment = folder / "venv"
    venv.create(environment)
    found = str(environment / "bin" / "python")
    install = [sys.executable, "-m", "pip", "--python", found, "install", "--no-deps", "--quiet", str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    return found


def test_the_installed_wheel_has_all_dags_with_their_forms_and_the_pages(
    python: str, airflow_home: AirflowHome, tmp_path: Path
) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'films.db'}")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE films (id INTEGER PRIMARY KEY, text TEXT)"))
        connection.execute(text("INSERT INTO films VALUES (1, 'Une merveille, courez-y.'), (2, 'Quel ennui.')"))
    dags = tmp_path / "dags"
    (dags / "review_scoring_jobs").mkdir(parents=True)
    (dags / "ours.py").write_text(DAG_FILE)
    (dags / "review_scoring_jobs" / "films.toml").write_text('source_conn_id = "films"\nsource_table = "films"\n')
    # PYTHONPATH, unlike an environment, ignores the file by which this checkout is installed for development.
    environment = airflow_home.environment(
        PYTHONPATH=os.pathsep.join(
            [
                sysconfig.get_path("purelib", vars={"base": str(Path(python).parent.parent)}),
                sysconfig.get_path("purelib"),
            ]
        ),
        AIRFLOW__CORE__DAGS_FOLDER=str(dags),
        AIRFLOW__CORE__PLUGINS_FOLDER=str(tmp_path / "plugins"),
        AIRFLOW_CONN_FILMS=json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "films.db")}),
    )

    looked = subprocess.run(
        [python, "-c", LOOK, str(dags), "/", "/reviews", "/static/pages.css", "/static/pages.js"],
        env=environment,
        cwd=tmp_path,
        text=True,
        capture_output=True,
        check=False,
    )
    assert looked.returncode == 0, looked.stderr
    found = json.loads(looked.stdout.splitlines()[-1])
    assert Path(found["package"]).is_relative_to(Path(python).parent.parent)
    assert found["errors"] == {}
    assert sorted(found["forms"]) == [
        "benchmark_models",
        "forget_reviews",
        "import_model",
        "promote_model",
        "publish_scores",
        "reconcile_reviews",
        "rescore_reviews",
        "score_films",
    ]
    assert found["forms"]["score_films"][:2] == ["dry_run", "model"]
    assert found["answers"] == {"/": 401, "/reviews": 401, "/static/pages.css": 200, "/static/pages.js": 200}

    command = [python, "-m", "airflow", "dags", "test", "score_films"]
    run = subprocess.run(command, env=environment, cwd=tmp_path, text=True, capture_output=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    with engine.connect() as connection:
        labels = connection.execute(text("SELECT review_id, label FROM review_labels ORDER BY review_id")).all()
    assert [tuple(row) for row in labels] == [("1", "pos"), ("2", "neg")]
