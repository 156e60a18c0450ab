"""What statements cost at a warehouse that charges for them: how many there are, and the bytes that they read."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Engine, Select, event

from review_scoring.warehouse.dialects import dialect_of
from review_scoring.warehouse.errors import describe

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Statement:
    """A statement that was run. Two are equal if they differ in their parameters alone, such as ids.

    :param kind: its SQL, before a list of ids is written out
    :param columns: names of what it selects; none for a statement of a driver, such as one that lists columns
    :param sql: as the driver takes it, like `parameters`
    """

    kind: str
    columns: frozenset[str] = frozenset()
    sql: str = field(default="", compare=False, repr=False)
    parameters: Any = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Cost:
    """What statements cost.

    :param bytes_read: at most, as the warehouse estimates it; None if it does not
    """

    statements: int = 0
    bytes_read: int | None = 0

    def __add__(self, other: Cost) -> Cost:
        is_unknown = self.bytes_read is None or other.bytes_read is None
        total = None if is_unknown else (self.bytes_read or 0) + (other.bytes_read or 0)
        return Cost(self.statements + other.statements, total)


@contextmanager
def statements_of(engine: Engine) -> Iterator[list[Statement]]:
    """Collect the statements that an engine runs in the block, those of other threads included.

    Of equal ones, SQL and parameters of the first are kept: there may be millions of ids among them.
    """
    found: list[Statement] = []
    first: dict[Statement, Statement] = {}

    def collect(_connection: Any, _cursor: Any, sql: str, parameters: Any, context: Any, _many: bool) -> None:
        compiled = getattr(context, "compiled", None)
        selected = getattr(context, "invoked_statement", None)
        columns = selected.selected_columns.keys() if isinstance(selected, Select) else ()
        ran = Statement(sql if compiled is None else str(compiled.string), frozenset(columns), sql, parameters)
        found.append(first.setdefault(ran, ran))

    event.listen(engine, "before_cursor_execute", collect)
    try:
        yield found
    finally:
        event.remove(engine, "before_cursor_execute", collect)


def cost_of(engine: Engine, statements: Sequence[Statement]) -> Cost:
    """Return what statements cost. The warehouse is asked about the first of each kind, without running it.

    If it does not answer, or refuses, the bytes are unknown; no error is raised.
    """
    total = 0
    try:
        with engine.connect() as connection:
            for each, count in Counter(statements).items():
                if not each.columns:  # the catalogue of a warehouse is free
                    continue
                found = dialect_of(engine).bytes_read(connection, each.sql, each.parameters)
                if found is None:
                    return Cost(len(statements), None)
                total += count * found
    except Exception as error:  # noqa: BLE001  a dry run goes on, whatever a client raises for a question
        log.info("the warehouse does not tell how many bytes a run reads (%s)", describe(error))
        return Cost(len(statements), None)
    return Cost(len(statements), total)
