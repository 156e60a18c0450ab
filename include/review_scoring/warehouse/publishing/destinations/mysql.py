"""MySQL and MariaDB as a destination: multi-row INSERT, DELETE and INSERT in one transaction."""

from __future__ import annotations

from review_scoring.warehouse.publishing.destinations.base import Destination


class MySQLDestination(Destination):
    """A table in MySQL or MariaDB, which have no MERGE. PyMySQL packs the rows of `executemany` into few statements."""

    merges = False
    stages_key = True  # MariaDB has no hash join by default
