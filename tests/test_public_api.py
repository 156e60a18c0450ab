"""What is public: the names in `__all__`, and nothing else in the documents' examples."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from airflow.sdk import BaseOperator

import review_scoring
from review_scoring import errors
from review_scoring.airflow import dags, operators
from tests.conftest import ROOT

PUBLIC = [review_scoring, operators, dags]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "examples").glob("*.py"))]
CODE = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def imports(document: Path) -> Iterator[tuple[str, str]]:
    """Yield module and name of each import from this package in the Python code of a document."""
    text = document.read_text(encoding="utf-8")
    for code in [text] if document.suffix == ".py" else CODE.findall(text):
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("review_scoring"):
                yield from ((str(node.module), alias.name) for alias in node.names)
            elif isinstance(node, ast.Import):
                yield from ((alias.name, "") for alias in node.names if alias.name.startswith("review_scoring"))


@pytest.mark.parametrize("module", PUBLIC, ids=lambda module: module.__name__)
def test_every_public_name_can_be_imported(module: ModuleType) -> None:
    assert [name for name in module.__all__ if not hasattr(module, name)] == []
    assert set(module.__all__) <= set(dir(module))
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = module.nothing


def test_every_exception_is_public() -> None:
    classes = {
        name for name, each in vars(errors).items() if inspect.isclass(each) and each.__module__ == errors.__name__
    }
    others = {
        "Checks",
        "DagSettings",
        "JobDefinition",
        "Notification",
        "Publication",
        "ScoringJob",
        "Rescore",
        "__version__",
    }
    assert classes == set(review_scoring.__all__) - others


def test_every_operator_is_public() -> None:
    folder = Path(operators.__file__ or "").parent
    found = set()
    for file in folder.glob("*.py"):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and node.name.endswith("Operator") and file.stem != "base":
                found.add(node.name)
    found.remove("ResolveEvaluationOperator")  # of the DAG benchmark_models alone
    assert found == set(operators.__all__)
    assert all(issubclass(getattr(operators, name), BaseOperator) for name in found)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_examples_use_public_names_only(document: Path) -> None:
    public = {(module.__name__, name) for module in PUBLIC for name in module.__all__}
    assert [each for each in imports(document) if each not in public] == []


def test_the_readme_has_an_example() -> None:
    assert ("review_scoring.airflow.operators", "ScoreReviewsOperator") in set(imports(ROOT / "README.md"))


def test_the_package_and_its_errors_load_nothing_else() -> None:
    code = "import review_scoring.errors, sys; print(sorted({'pydantic', 'sqlalchemy', 'airflow'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=True)
    assert done.stdout.strip() == "[]"
