"""What Airflow does with the DAG folder all day long: parse it."""

from __future__ import annotations

import subprocess
import sys

from tests.airflow.runner import ROOT, AirflowHome

PARSE = """
import json, sys, time
import airflow.sdk, airflow.sdk.exceptions
from airflow.sdk import DAG, BaseOperator, Connection, Param, Variable, task
from airflow.dag_processing.dagbag import DagBag
started = time.process_time()
bag = DagBag(sys.argv[1], bundle_path=sys.argv[1])
seconds = time.process_time() - started
heavy = [name for name in ("torch", "transformers", "numpy", "pandas", "sklearn", "scipy") if name in sys.modules]
print(json.dumps({"errors": bag.import_errors, "dags": sorted(bag.dags), "heavy": heavy, "seconds": seconds}))
"""


def test_the_dag_folder_parses_without_errors_and_without_heavy_imports(airflow_home: AirflowHome) -> None:
    import json

    printed = subprocess.run(
        [sys.executable, "-c", PARSE, str(ROOT / "dags")],
        env=airflow_home.environment(),
        text=True,
        capture_output=True,
        check=True,
    ).stdout
    parsed = json.loads(printed.splitlines()[-1])
    print(f"parsing the DAG folder took {parsed['seconds']:.2f} s of CPU time")
    assert parsed["errors"] == {}
    assert parsed["dags"] == ["benchmark_models", "import_model", "promote_model", "rescore_reviews", "score_reviews"]
    assert parsed["heavy"] == []
