"""Reads the settings (declared in `settings.py`) from the section `[review_scoring]` of Airflow's configuration.

They may differ between the processes of a deployment: the scheduler reads schedule, pool and queue from the DAG, as the
DAG processor has parsed it. What a run does is set in :mod:`review_scoring.airflow.run_variables`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from difflib import get_close_matches

from review_scoring.airflow.compat import conf
from review_scoring.airflow.run_variables import RUN_VARIABLES
from review_scoring.errors import ConfigurationError
from review_scoring.settings import SECTION, Settings

CONFIGURATION = "AIRFLOW__REVIEW_SCORING__"
"""Prefix of the environment variables that set an option."""

MISSPELT = re.compile(r"AIRFLOW__?REVIEW_SCORING__?((?:(?!__).)+)")
"""The same with an underscore missing, and not an option of a longer section, such as `[review_scoring_reports]`."""

PLAIN = "REVIEW_SCORING_"
"""Prefix of environment variables that look like an option but are not read, apart from those of the tests."""


def settings() -> Settings:
    """Return the settings of this deployment."""
    found = Settings.read(_option)
    queue = found.queue or conf.get("operators", "default_queue")
    return found.model_copy(update={"queue": queue, "import_queue": found.import_queue or queue})


def page_settings() -> Settings:
    """Return the settings of the pages, with the defaults of all other options."""
    return Settings.read_for_pages(_option)


def _option(name: str) -> str | None:
    return conf.get(SECTION, name, fallback=None)


def refuse_unknown_environment(environment: Mapping[str, str] = os.environ) -> None:
    """Refuse environment variables that look like a setting but are not read.

    :raises ConfigurationError: with each of them, and what to set instead
    """
    names = list(Settings.model_fields)
    problems = []
    for variable in sorted(environment):
        name = variable.removeprefix(CONFIGURATION).removeprefix(PLAIN).lower()
        if variable.startswith(CONFIGURATION):
            if name not in names:
                problems.append(f"{variable} is not an option of [{SECTION}]{_instead(name, names)}")
        elif misspelt := MISSPELT.fullmatch(variable):
            problems.append(f"{variable} is not read{_instead(misspelt[1].lower(), names)}")
        elif variable.startswith(PLAIN) and (name in names or f"{SECTION}_{name}" in RUN_VARIABLES):
            problems.append(f"{variable} is not read{_instead(name, names)}")
    if problems:
        raise ConfigurationError("; ".join(problems))


def _instead(name: str, names: list[str]) -> str:
    if f"{SECTION}_{name}" in RUN_VARIABLES:
        return (
            f": set the Airflow Variable instead, which all processes share: `airflow variables set {SECTION}_{name} …`"
        )
    close = get_close_matches(name, names, n=1, cutoff=0.6)
    return f": set {CONFIGURATION}{close[0].upper()}" if close else f"; the options are {', '.join(names)}"
