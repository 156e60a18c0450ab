"""The DAG of `docs/notifications.md`, run by Airflow with a notifier that writes its messages to a file."""

from __future__ import annotations

import re
from pathlib import Path

from sqlalchemy import Engine, text

from review_scoring.warehouse.engine import writing
from tests.airflow.runner import ROOT, AirflowHome

IMPORT = "from airflow.providers.smtp.notifications.smtp import send_smtp_notification\n"
STUB = """
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


def test_the_documented_dag_sends_notifications_of_a_run_and_of_a_failure(
    airflow_home: AirflowHome, sqlite_engine: Engine, tmp_path: Path
) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "notifications.md").read_text(), re.DOTALL)
    assert IMPORT in code
    sent = tmp_path / "sent"
    dags = tmp_path / "dags"
    dags.mkdir()
    (dags / "told.py").write_text(code.replace(IMPORT, STUB.format(sent=str(sent))))
    with writing(sqlite_engine).begin() as connection:
        connection.execute(text("CREATE TABLE reviews (id INTEGER PRIMARY KEY, text TEXT)"))
        connection.execute(text("INSERT INTO reviews VALUES (1, 'Une merveille, courez-y.'), (2, NULL)"))

    def night(table: str) -> str:
        run = airflow_home.dags_test("score_and_tell", sqlite_engine, {"source_table": table}, dags=dags)
        assert sent.exists(), run.stdout
        return sent.read_text()

    told = night("reviews")
    assert re.search(r"Reviews scored: film_reviews: 2 reviews read, 1 scored \(100% pos\), 1 rejected\. It took", told)
    assert "merveille" not in told
    assert "Scoring failed: score of score_and_tell failed. What was committed stays" in night("nowhere")
