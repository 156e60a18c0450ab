"""Generate docs/reference/ from the code: tables of keys and JSON Schemas. `.venv/bin/python bin/reference.py`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo

from review_scoring.airflow.metrics import METRICS, Metric
from review_scoring.check_settings import Checks
from review_scoring.evaluation.benchmark_sets import BenchmarkSet
from review_scoring.job import Publication
from review_scoring.job_definition import DagSettings, JobDefinition, Notification
from review_scoring.models.catalogue_entry import CatalogueEntry, PublishedFigure
from review_scoring.settings import Settings, default_text
from review_scoring.validation import keys_of, must_be

FOLDER = Path(__file__).parent.parent / "docs" / "reference"

CATALOGUE = """\
# Keys of the model catalogue

Generated from the code by `bin/reference.py`. How to use a catalogue file: [models.md](../models.md#your-own-model).

A catalogue is a TOML file. The heading of each table is the name of a model: letters, digits, `_`, `.` and `-`, 100 at
most. An editor with support for TOML schemas (such as taplo, or Even Better TOML) completes and checks the keys if the
first line of the file is `#:schema` and the path or address of [catalogue.schema.json](catalogue.schema.json).
"""

BENCHMARK_SETS = """\
# Keys of benchmark sets

Generated from the code by `bin/reference.py`. How to use benchmark sets: [benchmarks.md](../benchmarks.md#sets).

Sets are defined in a TOML file. The heading of each table is the name of a set: letters, digits, `_`, `.` and `-`, 100
at most. An editor with support for TOML schemas (such as taplo, or Even Better TOML) completes and checks the keys if
the first line of the file is `#:schema` and the path or address of
[benchmark_sets.schema.json](benchmark_sets.schema.json).
"""

JOBS = """\
# Keys of a scoring job

Generated from the code by `bin/reference.py`. How to define a job: [jobs.md](../jobs.md).

A job is a TOML file whose name is the name of the job, with the keys below. An editor with support for TOML schemas
(such as taplo, or Even Better TOML) completes and checks the keys if the first line of the file is `#:schema` and the
path or address of [job.schema.json](job.schema.json). In the Airflow Variable `review_scoring_jobs`, a JSON object, the
key is the name of the job and the value an object with these keys; [jobs.schema.json](jobs.schema.json) checks it. In
DAG code, `ScoringJob(…)` has them without `dag`, and `name` is one key more.
"""

METRICS_PAGE = """\
# Metrics

Generated from the code by `bin/reference.py`. How to switch them on, dashboard and alerts: [metrics.md](../metrics.md).

All metrics are gauges. The names are those of Airflow: StatsD and OpenTelemetry put the prefix `airflow.` before them,
and Prometheus replaces dots, as in `airflow_review_scoring_run_scored`.

| metric | unit | meaning | tags |
|---|---|---|---|
"""

SETTINGS = """\
# Settings of a deployment

Generated from the code by `bin/reference.py`.

These are the options of the section `[review_scoring]` of Airflow's configuration: set them in `airflow.cfg` or by
environment variables of the form `AIRFLOW__REVIEW_SCORING__POOL`. Set them for every process of Airflow: the DAG
processor reads schedules, pool and queues, workers and the API server read the others. This command prints them:

```console
$ airflow config list --section review_scoring --show-values
```

What a single run does is set in the form of its DAG, and for all runs by [Airflow
Variables](../operations.md#airflow-variables), which all processes share.

| option | default | meaning | example |
|---|---|---|---|
"""


def documents() -> Mapping[str, str]:
    """Return the content of each file of `docs/reference/` by its name."""
    checks = ["", "The object `checks` has these keys ([checks.md](../checks.md) explains them):", "", *table(Checks)]
    dag = ["", "The table `dag` has these keys ([jobs.md](../jobs.md) explains them):", "", *table(DagSettings)]
    sent = ["", "A table of `dag.notifications` has these keys ([notifications.md](../notifications.md)):", ""]
    sent += table(Notification)
    published = ["", "A table of `publish` has these keys ([publishing.md](../publishing.md) explains them):", ""]
    published += table(Publication)
    figures = ["", "A table of `figures` has these keys:", "", *table(PublishedFigure)]
    return {
        "catalogue.md": "\n".join([CATALOGUE, *table(CatalogueEntry), *figures, ""]),
        "catalogue.schema.json": schema(CatalogueEntry, "Model catalogue of review_scoring"),
        "benchmark_sets.md": "\n".join([BENCHMARK_SETS, *table(BenchmarkSet), ""]),
        "benchmark_sets.schema.json": schema(BenchmarkSet, "Benchmark sets of review_scoring"),
        "jobs.md": "\n".join([JOBS, *table(JobDefinition), *dag, *sent, *checks, *published, ""]),
        "jobs.schema.json": schema(JobDefinition, "Scoring jobs of review_scoring", without="name"),
        "job.schema.json": schema_of_one(JobDefinition, "A scoring job of review_scoring", without="name"),
        "metrics.md": METRICS_PAGE + "".join(_metric(each) for each in METRICS),
        "settings.md": SETTINGS + "".join(_option(name) for name in Settings.model_fields),
    }


def table(model: type[BaseModel]) -> Sequence[str]:
    """Return the lines of a table of a model's keys."""
    return ["| key | value, which must be | default | meaning |", "|---|---|---|---|", *_rows(model)]


def _rows(model: type[BaseModel]) -> Iterator[str]:
    for key, field in keys_of(model).items():
        yield f"| `{key}` | {must_be(field)} | {_default(field)} | {field.description} |".replace("  ", " ")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    return (
        ""
        if field.default in (None, (), {}) or isinstance(field.default, BaseModel)
        else f"`{json.dumps(field.default)}`"
    )


def _metric(metric: Metric) -> str:
    tags = ", ".join(f"`{tag}`" for tag in metric.tags)
    return f"| `{metric.name}` | {metric.unit} | {metric.meaning} | {tags} |\n"


def _option(name: str) -> str:
    option = Settings.model_fields[name]
    default = f"`{default_text(name)}`" if default_text(name) else ""
    example = f"`{option.examples[0]}`" if option.examples else ""
    return f"| `{name}` | {default} | {option.description} | {example} |\n".replace("|  |", "| |")


def schema(model: type[BaseModel], title: str, *, without: str = "") -> str:
    """Return the JSON Schema of a file whose tables or objects are models, as text.

    :param without: a field that is not a key of the file
    """
    tables: Any = dict  # a type that is made of a variable
    content: dict[str, Any] = TypeAdapter(tables[str, model]).json_schema()
    return _schema(content, content["$defs"][model.__name__], title, without)


def schema_of_one(model: type[BaseModel], title: str, *, without: str) -> str:
    """Return the JSON Schema of a file that is one model, as text.

    :param without: a field that is not a key of the file
    """
    content = model.model_json_schema()
    return _schema(content, content, title, without)


def _schema(content: dict[str, Any], definition: dict[str, Any], title: str, without: str) -> str:
    definition["properties"].pop(without, None)
    definition["required"] = [key for key in definition["required"] if key != without]
    content = {"$schema": "https://json-schema.org/draft/2020-12/schema", **content, "title": title}
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    """Write the files."""
    FOLDER.mkdir(exist_ok=True)
    for name, content in documents().items():
        (FOLDER / name).write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
