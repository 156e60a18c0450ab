"""What a person meets who triggers a DAG: every field named and explained, the harmless choice first."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.airflow.runner import ROOT, AirflowHome

PARAMS = """
import json, sys
from airflow.dag_processing.dagbag import DagBag
bag = DagBag(sys.argv[1], bundle_path=sys.argv[1])
print(json.dumps({
    dag_id: {name: {"schema": param.schema, "description": param.description} for name, param in dag.params.items()}
    for dag_id, dag in bag.dags.items()
}))
"""


def test_every_field_of_every_form_is_named_and_explained(airflow_home: AirflowHome) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PARAMS, str(ROOT / "dags")],
        env=airflow_home.environment(),
        text=True,
        capture_output=True,
        check=True,
    )
    dags = json.loads(done.stdout.splitlines()[-1])
    for dag_id, params in dags.items():
        for name, param in params.items():
            assert param["schema"].get("title"), f"{dag_id}.{name} has no title"
            assert param["description"], f"{dag_id}.{name} is not explained"
    form = dags["score_reviews"]
    assert next(iter(form)) == next(iter(dags["rescore_reviews"])) == "dry_run"
    in_view = [name for name, param in form.items() if "section" not in param["schema"]]
    assert in_view[:4] == ["dry_run", "model", "limit", "long_texts"]
    assert "chunk_rows" not in in_view
