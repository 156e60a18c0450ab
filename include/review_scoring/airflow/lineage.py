"""Lineage of a run for OpenLineage: the tables that it read and wrote, with rows, columns, quality and model.

Airflow asks an operator for it in a task that has ended, where apache-airflow-providers-openlineage is installed.
Datasets are plain values here, as in OpenLineage's JSON; :mod:`.lineage_facets` makes the provider's classes of them.
Nothing here connects to a database, and no error fails a task.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from review_scoring import __version__
from review_scoring.airflow.connections.engines import FILES, connection_named, url_of
from review_scoring.airflow.jobs import as_job
from review_scoring.job import ScoringJob, target_conn_id
from review_scoring.reviews import RejectReason
from review_scoring.run.report import DryRunReport, RunReport
from review_scoring.warehouse.ledger.verdicts import PASSED, SKIPPED, Verdict
from review_scoring.warehouse.schema import LABELS_VIEW, tables

if TYPE_CHECKING:
    from sqlalchemy import URL, Engine, Table

log = logging.getLogger(__name__)

Values = dict[str, Any]

SERVERS: Mapping[str, tuple[str, int]] = {
    "postgresql": ("postgres", 5432),
    "mysql": ("mysql", 3306),
    "mariadb": ("mysql", 3306),
    "redshift": ("redshift", 5439),
}
"""SQLAlchemy dialect -> scheme and port that OpenLineage's naming gives it."""

MODEL_FACET = "reviewScoring_model"
"""Key of the run facet with the model. Its schema is `docs/reference/ReviewScoringModelRunFacet.json`."""

CHECKED_COLUMNS = {"labels": "label", "mean_score": "score", "uncertain": "score", "truncated": "truncated"}
"""Check -> the column of `review_scores` that it looks at, for those that look at one."""

SEVERITIES = {"fail": "error", "warn": "warn"}
"""Level of a check -> severity of its assertion."""


def run_lineage(job: Any, report: RunReport | DryRunReport | None, engine: Engine | None) -> Any:
    """Return what the provider asks for after a run; None if it cannot be found out.

    :param job: as the operator's parameter, rendered
    :param report: None for a task that has failed: its tables are named without figures
    :param engine: of the scores, as the task has used it; None for a task that has failed before
    """
    return _without_failing(lambda: run_datasets(as_job(job), *_addresses(as_job(job)), report, engine))


def check_lineage(job: Any, verdicts: Sequence[Verdict], engine: Engine | None) -> Any:
    """Return what the provider asks for after the checks of a run; None if it cannot be found out."""
    return _without_failing(lambda: checked_datasets(as_job(job), _addresses(as_job(job))[1], verdicts, engine))


def run_datasets(
    job: ScoringJob, source: URL, target: URL, report: RunReport | DryRunReport | None, engine: Engine | None
) -> Values:
    """Return the datasets of a run, and its model: `inputs`, `outputs`, `run_facets`.

    A dry run has inputs alone.
    """
    # The schema that a connection has by default is known only of a database that the task has connected to.
    default = engine.dialect.default_schema_name if engine is not None and source == target else None
    read = dataset(source, job.source_schema, job.source_table, default_schema=default)
    if isinstance(report, DryRunReport):
        return {"inputs": [read], "outputs": [], "run_facets": {}}
    outputs = list(_outputs(job, target, read, engine))
    if report is None:
        return {"inputs": [read], "outputs": outputs, "run_facets": {}}
    counts, scores, rejects = report.counts, outputs[0], outputs[1]
    read["inputFacets"] = {
        "inputStatistics": {"rowCount": counts.read},
        "dataQualityMetrics": {
            "rowCount": counts.read,
            "columnMetrics": {job.id_column: {"nullCount": counts.unkeyed.get(RejectReason.NULL_ID, 0)}},
        },
    }
    _wrote(scores, counts.scored)
    scores["facets"]["dataQualityMetrics"] = {
        "rowCount": counts.scored,
        "columnMetrics": {
            "review_id": {"nullCount": 0, "distinctCount": counts.scored},
            "label": {"nullCount": 0, "distinctCount": len(counts.labels)},
            "score": {"nullCount": 0, "sum": sum(total for _, total in counts.labels.values())},
        },
    }
    _wrote(rejects, counts.rejected - sum(counts.unkeyed.values()))
    return {"inputs": [read], "outputs": outputs, "run_facets": {MODEL_FACET: model_facet(report)}}


def checked_datasets(job: ScoringJob, target: URL, verdicts: Sequence[Verdict], engine: Engine | None) -> Values:
    """Return the scores with the verdicts as assertions. A check that was skipped asserts nothing."""
    default = None if engine is None else engine.dialect.default_schema_name
    scores = dataset(target, job.target_schema, tables(job.target_schema).scores.name, default_schema=default)
    assertions = [
        {
            "assertion": each.name,
            "success": each.state == PASSED,
            "column": CHECKED_COLUMNS.get(each.name),
            "severity": SEVERITIES.get(getattr(job.checks, each.name, "")),
            "description": each.text,
            "expected": str(each.limit),
            "actual": str(each.figure),
        }
        for each in verdicts
        if each.state != SKIPPED
    ]
    scores["inputFacets"] = {"dataQualityAssertions": {"assertions": assertions}} if assertions else {}
    return {"inputs": [scores], "outputs": [], "run_facets": {}}


def dataset(url: URL, schema: str | None, table: str, *, default_schema: str | None = None) -> Values:
    """Return a table's namespace and name by OpenLineage's naming, without login, password and options of the URL.

    The naming has no SQLite and DuckDB. They are named as OpenLineage's integration of dbt names DuckDB: the file is
    the namespace.

    :param schema: None for the connection's default schema
    :param default_schema: that schema, if it is known; otherwise the one that the database's manual names
    """
    backend = url.get_backend_name()
    if backend in FILES:
        path = Path(url.database or "").absolute()
        parts = [path.stem] if backend == "duckdb" else []
        return _dataset(f"{backend}://{path.as_posix()}", [*parts, schema or "main", table])
    if backend == "bigquery":
        return _dataset(backend, [url.host, schema or url.database, table])
    scheme, port = SERVERS.get(backend, (backend, None))
    host = "localhost" if not url.host or url.host.startswith("/") else url.host
    port = url.port or port
    namespace = f"{scheme}://{host}" + (f":{port}" if port else "")
    if scheme == "mysql":  # whose schemas are databases
        return _dataset(namespace, [schema or url.database, table])
    if scheme == "postgres":
        return _dataset(namespace, [url.database or url.username, schema or default_schema or "public", table])
    return _dataset(namespace, [url.database, schema or default_schema or str(url.query.get("schema", "")), table])


def model_facet(report: RunReport) -> Values:
    """Return the values of the model's facet."""
    return {
        "name": report.model,
        "revision": report.revision,
        "device": report.device,
        "packageVersion": __version__,
    }


def _dataset(namespace: str, parts: Sequence[str | None]) -> Values:
    return {"namespace": namespace, "name": ".".join(part for part in parts if part), "facets": {}}


def _outputs(job: ScoringJob, target: URL, read: Values, engine: Engine | None) -> Iterator[Values]:
    """Yield the tables that a run writes, and the view of them that analysts join: scores, rejects, labels."""
    written = tables(job.target_schema)
    default = None if engine is None else engine.dialect.default_schema_name
    from_id, from_text = _from(read, job.id_column), _from(read, job.text_column)
    hashed = _from(read, job.text_column, masking=True)
    changed = {} if job.updated_at_column is None else {"source_updated_at": _from(read, job.updated_at_column)}
    known = {"review_id": from_id, "text_hash": hashed, **changed}
    found = dict.fromkeys(("label", "score", "probabilities", "token_count", "truncated"), from_text)
    lineages: list[tuple[Table | None, str, Values]] = [
        (written.scores, written.scores.name, {**known, **found}),
        (written.rejects, written.rejects.name, {**known, **dict.fromkeys(("reason", "detail"), from_text)}),
        (None, LABELS_VIEW, {"review_id": from_id, "label": from_text, "score": from_text}),
    ]
    for table, name, fields in lineages:
        each = dataset(target, job.target_schema, name, default_schema=default)
        each["facets"]["columnLineage"] = {"fields": fields}
        if table is not None and engine is not None:
            columns = [{"name": c.name, "type": c.type.compile(engine.dialect)} for c in table.columns]
            each["facets"]["schema"] = {"fields": columns}
        yield each


def _from(read: Values, column: str, *, masking: bool = False) -> Values:
    """Return that a column is computed from one of the source."""
    how = {"type": "DIRECT", "subtype": "TRANSFORMATION", "masking": masking}
    field = {"namespace": read["namespace"], "name": read["name"], "field": column, "transformations": [how]}
    return {"inputFields": [field]}


def _wrote(output: Values, rows: int) -> None:
    output["outputFacets"] = {"outputStatistics": {"rowCount": rows}}


def _addresses(job: ScoringJob) -> tuple[URL, URL]:
    """Return the addresses of a job's source and scores, as its Connections have them."""
    source, target = (url_of(connection_named(name)) for name in (job.source_conn_id, target_conn_id(job)))
    return source, target


def _without_failing(found: Callable[[], Values]) -> Any:
    """Return the provider's classes of some values; None after any error, since the task has done its work."""
    try:
        from review_scoring.airflow.lineage_facets import as_operator_lineage

        return as_operator_lineage(found())
    except Exception as error:  # noqa: BLE001  a task never fails for its lineage
        # The type alone: the words of an error from outside may hold an address with its password.
        log.warning("the lineage of this task is not reported: %s", type(error).__name__)
        return None
