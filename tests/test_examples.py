"""The DAGs of examples/, run by Airflow itself, and quoted by the documents as they are."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from sqlalchemy import Engine, text

from review_scoring.demo import sample_reviews
from review_scoring.warehouse.engine import writing
from tests.airflow.runner import ROOT, AirflowHome, connection

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
QUOTED = {
    "README.md": "score_table.py",
    "docs/notifications.md": "score_and_notify.py",
    "docs/jobs.md": "follow_scores.py",
}
IMPORT = "from airflow.providers.smtp.notifications.smtp import send_smtp_notification\n"
NOTIFIER = """
from pathlib import Path

from airflow.sdk import BaseNotifier


class send_smtp_notification(BaseNotifier):
    template_fields = ("subject", "html_content")

    def __init__(self, *, subject, html_content, from_email, to, smtp_conn_id, **kwargs):
        super().__init__(**kwargs)
        self.subject, self.html_content = subject, html_content

    def notify(self, context):
        with Path({sent!r}).open("a") as stream:
            stream.write(f"{{self.subject}}: {{self.html_content}}\\n")
"""

Run = Callable[..., CompletedProcess[str]]


def quoted(example: str) -> str:
    """Return an example without its docstring and its first import, which every file of the project has."""
    code = (ROOT / "examples" / example).read_text(encoding="utf-8")
    return re.sub(r'^""".*?"""\n\n', "", code, count=1, flags=re.DOTALL).removeprefix(
        "from __future__ import annotations\n\n"
    )


@pytest.mark.parametrize(("document", "example"), QUOTED.items())
def test_a_document_quotes_its_example_as_it_is(document: str, example: str) -> None:
    content = (ROOT / document).read_text(encoding="utf-8")
    assert f"```python\n{quoted(example)}```" in content, f"examples/{example} is not what {document} quotes"
    assert f"examples/{example}" in content or "[examples/](examples)" in content


def test_the_readme_leads_to_every_example() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [each.name for each in EXAMPLES if each.name != QUOTED["README.md"] and each.name not in readme] == []


@pytest.fixture
def sent(tmp_path: Path) -> Path:
    """The file that the notifier writes to."""
    return tmp_path / "sent"


@pytest.fixture
def run(
    airflow_home: AirflowHome, sqlite_engine: Engine, tmp_path: Path, sent: Path, monkeypatch: pytest.MonkeyPatch
) -> Run:
    """Return a function that runs a DAG of the examples on a table with a good review, a bad one and an empty one."""
    dags = tmp_path / "dags"
    dags.mkdir()
    for example in EXAMPLES:
        code = example.read_text(encoding="utf-8")
        (dags / example.name).write_text(code.replace(IMPORT, NOTIFIER.format(sent=str(sent))))
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", connection(sqlite_engine))
    with writing(sqlite_engine).begin() as database:
        database.execute(text("CREATE TABLE reviews (id INTEGER PRIMARY KEY, body TEXT, updated_at TEXT)"))
        bodies = [row["text"] for row in sample_reviews()[:2]]
        rows = [{"id": id_, "body": body} for id_, body in enumerate([*bodies, None])]
        database.execute(text("INSERT INTO reviews VALUES (:id, :body, 'today')"), rows)

    def run_dag(dag_id: str, table: str = "reviews") -> CompletedProcess[str]:
        job = {"source_table": table, "text_column": "body", "updated_at_column": "updated_at"}
        return airflow_home.dags_test(dag_id, sqlite_engine, job, dags=dags)

    return run_dag


def scored(engine: Engine) -> list[str]:
    """Return the revision of each score."""
    with engine.connect() as database:
        return list(database.scalars(text("SELECT revision FROM review_labels ORDER BY review_id")))


def test_a_table_is_scored_and_what_another_revision_scored_is_scored_again(run: Run, sqlite_engine: Engine) -> None:
    first = run("score_films")
    assert first.returncode == 0, first.stdout
    (revision,) = set(scored(sqlite_engine))
    assert len(scored(sqlite_engine)) == 2
    with writing(sqlite_engine).begin() as database:
        older = "INSERT INTO scored_models (id, name, revision, first_used_at) VALUES (9, 'm', 'older', '2026-01-01')"
        database.execute(text(older))
        database.execute(text("UPDATE review_scores SET model_id = 9 WHERE review_id = '0'"))
    again = run("rescore_films")
    assert again.returncode == 0, again.stdout
    assert scored(sqlite_engine) == [revision, revision]
    assert "read=1 scored=1 unchanged=0 rejected=0 relabelled=0" in again.stdout


def test_a_run_and_a_failure_are_sent_without_any_text_of_a_review(run: Run, sent: Path) -> None:
    succeeded = run("score_and_notify")
    assert succeeded.returncode == 0, succeeded.stdout
    message = sent.read_text()
    assert re.search(r"Reviews scored: film_reviews: 3 reviews read, 2 scored \(.*\), 1 rejected\. It took", message)
    assert not any(row["text"][:30] in message for row in sample_reviews())
    failed = run("score_and_notify", table="nowhere")
    assert failed.returncode == 1, failed.stdout
    assert "Scoring failed: score of score_and_notify failed. What was committed stays" in sent.read_text()


def test_a_model_is_evaluated_and_then_promoted(run: Run, sqlite_engine: Engine) -> None:
    done = run("evaluate_and_promote")
    assert done.returncode == 0, done.stdout
    with sqlite_engine.connect() as database:
        promoted = database.execute(text("SELECT model, reason, benchmark_run_id FROM promotions")).one()
    assert tuple(promoted) == ("french-reviews-small", "passed its evaluation on sample", 1)
