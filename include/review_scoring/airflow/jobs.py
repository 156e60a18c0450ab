"""The jobs of a deployment: files `review_scoring_jobs/*.toml` beside the DAG files, and an Airflow Variable (JSON)."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from review_scoring.airflow.compat import conf
from review_scoring.airflow.config import settings
from review_scoring.airflow.variables import variable
from review_scoring.errors import ConfigurationError, NoSuchJobError, in_short
from review_scoring.job import NAME, ScoringJob
from review_scoring.job_definition import JobDefinition
from review_scoring.settings import SECTION

FOLDER = "review_scoring_jobs"
"""Name of the folder of job files. The name of a file is the name of its job."""

JOBS_VARIABLE = "review_scoring_jobs"
"""A JSON object: job name -> the keys of `JobDefinition`."""

TAG = "review_scoring"
"""Tag of the DAGs of this project, in which the pages look for jobs."""

EXAMPLE = '{"film_reviews": {"source_conn_id": "warehouse", "source_table": "reviews"}}'


@dataclass(frozen=True)
class FoundJob:
    """Where a job is defined, and its keys, which are not checked yet.

    :param problem: why the keys cannot be read; empty if they can
    """

    origin: str
    keys: object = None
    problem: str = ""


@dataclass(frozen=True)
class DefinedJobs:
    """The jobs that are defined. Each is checked when it is asked for, so that a wrong one does not affect the others.

    :param found: by name, sorted
    :param variable_problem: why the Variable cannot be read; empty if it can
    """

    folder: Path
    found: Mapping[str, FoundJob] = field(default_factory=dict)
    variable_problem: str = ""

    def __iter__(self) -> Iterator[str]:
        return iter(self.found)

    def __len__(self) -> int:
        return len(self.found)

    def __contains__(self, name: object) -> bool:
        return name in self.found

    def definition(self, name: str) -> JobDefinition:
        """Return the definition of a job.

        :raises NoSuchJobError: if there is no job of this name
        :raises ConfigurationError: naming every key of it that is unknown, missing or wrong
        """
        if name not in self.found:
            raise NoSuchJobError(self._missing(name))
        found = self.found[name]
        if found.problem:
            raise ConfigurationError(f"{found.origin}: {found.problem}")
        try:
            return JobDefinition.from_mapping(name, found.keys)
        except ConfigurationError as error:
            raise ConfigurationError(f"{found.origin}: {error}") from None

    def _missing(self, name: str) -> str:
        if self.variable_problem:
            return f"there is no scoring job {name!r} in {self.folder}, and {self.variable_problem}"
        if not self.found:
            return f"there is no scoring job {name!r}: {no_jobs(self.folder)}"
        return f"there is no scoring job {name!r}; there are {', '.join(self.found)}"


def defined_jobs(folder: Path | None = None) -> DefinedJobs:
    """Find the jobs that are defined, without checking them.

    :param folder: the folder of job files; None for that of the deployment
    """
    folder = folder or jobs_folder()
    # Editors and file systems leave hidden files.
    files = [file for file in sorted(folder.glob("*.toml")) if not file.name.startswith(".")]
    found = {file.stem: _read(file) for file in files}
    problem = ""
    try:
        in_variable = jobs_of_variable()
    except ConfigurationError as error:
        in_variable, problem = {}, str(error)
    origin = f"Variable {JOBS_VARIABLE!r}"
    for name, keys in in_variable.items():
        twice = f"job {name!r} is defined here and in the {origin}; remove one of them" if name in found else ""
        found[name] = FoundJob(found[name].origin if twice else origin, keys, twice)
    return DefinedJobs(folder, dict(sorted(found.items())), problem)


def jobs_of_variable() -> Mapping[str, object]:
    """Return the jobs in the Variable, unchecked; an empty mapping if it is not set.

    The JSON is parsed here, because Airflow treats a Variable with invalid JSON as not set.

    :raises ConfigurationError: if the Variable is not a JSON object
    """
    text = variable(JOBS_VARIABLE)
    if text is None:
        return {}
    try:
        jobs = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(
            f"the Airflow Variable {JOBS_VARIABLE!r} is not valid JSON: {error}; correct it under Admin > Variables"
        ) from None
    if not isinstance(jobs, dict):
        raise ConfigurationError(
            f"the Airflow Variable {JOBS_VARIABLE!r} is a JSON {_kind(jobs)}; it must be an object of scoring jobs, "
            f"for example {EXAMPLE}"
        )
    return jobs


def score_dag_id(job: str) -> str:
    """Return the id of the DAG of a job; that of an invalid name is one that no job can have."""
    if NAME.fullmatch(job):
        return f"score_{job}"
    plain = re.sub(r"[^A-Za-z0-9_.-]", "_", job)[:100]
    return f"invalid_{plain}_{sha256(job.encode(errors='surrogatepass')).hexdigest()[:8]}"


def jobs_folder(dag_file: str | Path | None = None) -> Path:
    """Return the folder of job files: that of the settings, otherwise the one beside a DAG file.

    :param dag_file: None for the DAG folder of Airflow's configuration
    :raises ConfigurationError: if the folder of the settings does not exist
    """
    if (configured := settings().jobs_folder) is not None:
        if not configured.is_dir():
            raise ConfigurationError(f"option 'jobs_folder' of [{SECTION}]: there is no folder {configured}")
        return configured
    beside = Path(conf.get("core", "dags_folder")) if dag_file is None else Path(dag_file).parent
    return beside / FOLDER


def as_job(job: ScoringJob | Mapping[str, Any] | str) -> ScoringJob:
    """Return a scoring job.

    :param job: the job, its settings as returned by :meth:`ScoringJob.as_settings`, or its name
    :raises ConfigurationError: if there is no such job, or its settings are wrong
    """
    if isinstance(job, ScoringJob):
        return job
    if isinstance(job, Mapping):
        keys = dict(job)
        return ScoringJob.from_mapping(keys.pop("name"), keys)
    return job_named(job)


def job_named(name: str) -> ScoringJob:
    """Return a job that is defined in the job files or the Variable.

    :raises ConfigurationError: if there is no such job, or its settings are wrong
    """
    return defined_jobs().definition(name).job


def no_jobs(folder: Path | None = None) -> str:
    """Return the error message for a deployment without a job, with an example.

    :param folder: that of the job files; None where it is not known
    """
    file = f"{FOLDER}/film_reviews.toml beside the DAG files" if folder is None else str(folder / "film_reviews.toml")
    return (
        f"no scoring job is defined: write the file {file} with at least source_conn_id and source_table, or set the "
        f"Airflow Variable {JOBS_VARIABLE!r} to a JSON object of jobs, for example {EXAMPLE}"
    )


def _read(file: Path) -> FoundJob:
    origin = f"file {file.name} in {file.parent}"
    try:
        return FoundJob(origin, tomllib.loads(file.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        return FoundJob(origin, problem=f"it cannot be read as TOML ({in_short(error)})")


def _kind(value: object) -> str:
    kinds: dict[type, str] = {list: "array", str: "string", bool: "boolean", type(None): "null"}
    return kinds.get(type(value), "number")
