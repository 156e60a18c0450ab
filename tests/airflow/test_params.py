"""The forms of the DAGs (params): titles, descriptions, defaults, sections and choices."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any

import pytest

from review_scoring.airflow.params import NARROW, RARELY
from review_scoring.evaluation.benchmark_sets import benchmark_sets
from review_scoring.job import CHAMPION
from review_scoring.models.catalogue import catalogue
from review_scoring.models.catalogue_entry import ModelKind
from tests.airflow.runner import ONE_JOB, ROOT, AirflowHome

PARAMS = """
import json, sys
from tests.airflow.dag_folder import dag_bag
from review_scoring.airflow.compat import ParamValidationError

def refused(param):
    try:
        param.resolve()
    except ParamValidationError as error:
        return str(error)

bag = dag_bag(sys.argv[1])
print(json.dumps({
    dag_id: {
        name: {
            "schema": param.schema,
            "description": param.description,
            "refused": refused(param),
        }
        for name, param in dag.params.items()
    }
    for dag_id, dag in bag.dags.items()
}))
"""

FORMS: dict[str, dict[str | None, list[str]]] = {
    "score_film_reviews": {
        None: ["dry_run", "model", "max_reviews", "max_minutes", "long_texts"],
        NARROW: ["order", "start_after"],
        RARELY: ["shards", "chunk_rows"],
    },
    "rescore_reviews": {
        None: ["job", "dry_run", "rescore", "model", "max_reviews", "max_minutes", "long_texts"],
        NARROW: ["reject_reason", "above", "upto", "scored_since", "scored_until"],
        RARELY: ["shards"],
    },
    "reconcile_reviews": {None: ["job", "dry_run", "on_delete", "max_deleted_share"], RARELY: ["shards"]},
    "forget_reviews": {None: ["job", "ids", "dry_run", "even_if_in_source"]},
    "publish_scores": {None: ["job", "dry_run", "resync"]},
    "import_model": {None: ["model"]},
    "promote_model": {None: ["job", "model", "reason", "evaluation", "without_passing"]},
    "benchmark_models": {None: ["job", "models", "benchmark_set", "limit", "long_texts"]},
}
"""DAG -> section -> fields, in their order. Those without a section are in view, the others are collapsed."""

TO_BE_CHOSEN = {
    ("import_model", "model"),
    ("promote_model", "model"),
    ("promote_model", "reason"),
    ("forget_reviews", "ids"),
}
"""Fields without a default, in forms that no schedule fills."""


@pytest.fixture(scope="module")
def forms(airflow_home: AirflowHome) -> dict[str, dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-c", PARAMS, str(ROOT / "dags")],
        env=airflow_home.environment(**ONE_JOB),
        text=True,
        capture_output=True,
        check=True,
    )
    found: dict[str, dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_every_field_of_every_form_has_a_title_and_a_description(forms: dict[str, dict[str, Any]]) -> None:
    for dag_id, params in forms.items():
        for name, param in params.items():
            assert param["schema"].get("title"), f"{dag_id}.{name} has no title"
            assert param["description"], f"{dag_id}.{name} is not explained"


def test_the_main_fields_are_not_collapsed_and_job_and_dry_run_are_the_first(forms: dict[str, dict[str, Any]]) -> None:
    shown: dict[str, dict[str | None, list[str]]] = {dag_id: {} for dag_id in forms}
    for dag_id, params in forms.items():
        for name, param in params.items():
            shown[dag_id].setdefault(param["schema"].get("section"), []).append(name)
    assert shown == FORMS
    assert [list(each) for each in shown.values()] == [list(FORMS[dag_id]) for dag_id in shown]


def test_defaults_are_valid_and_only_required_fields_have_none(forms: dict[str, dict[str, Any]]) -> None:
    fields = {(dag_id, name): param for dag_id, params in forms.items() for name, param in params.items()}
    refused = {field: param["refused"] for field, param in fields.items() if param["refused"]}
    assert refused.keys() == TO_BE_CHOSEN, refused


def test_the_choices_are_the_entries_of_the_catalogues(forms: dict[str, dict[str, Any]]) -> None:
    models, sets = catalogue(), benchmark_sets()
    wanted: dict[tuple[str, str], list[str | None]] = {
        ("score_film_reviews", "model"): [CHAMPION, *models],
        ("rescore_reviews", "model"): [None, CHAMPION, *models],
        ("promote_model", "model"): [*models],
        ("import_model", "model"): [name for name, entry in models.items() if entry.kind is not ModelKind.BUNDLED],
        ("benchmark_models", "benchmark_set"): [None, *sets],
    }
    for (dag_id, name), names in wanted.items():
        schema = forms[dag_id][name]["schema"]
        assert schema["enum"] == names, f"{dag_id}.{name}"
        assert list(schema["values_display"]) == [each for each in names if each], f"{dag_id}.{name}"
    several = forms["benchmark_models"]["models"]["schema"]
    (named, _) = several["items"]["anyOf"]
    assert named["enum"] == several["examples"] == list(several["values_display"]) == [CHAMPION, *models]


def test_the_documented_keys_of_a_conf_are_those_of_the_forms(forms: dict[str, dict[str, Any]]) -> None:
    page = (ROOT / "docs" / "operations.md").read_text().replace("`score_<job>`", "`score_film_reviews`")
    rows = re.findall(r"^\| `(\w+)` \| ((?:`\w+`(?:, )?)+) \|$", page, re.MULTILINE)
    documented = {dag_id: re.findall(r"`(\w+)`", keys) for dag_id, keys in rows if dag_id in forms}
    assert documented == {dag_id: list(params) for dag_id, params in forms.items()}
