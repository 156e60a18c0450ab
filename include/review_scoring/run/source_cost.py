"""What a run costs at a source that charges for statements, from what a dry run has executed there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from review_scoring.run.preflight import PreparedJob
from review_scoring.warehouse.dialects import dialect_of
from review_scoring.warehouse.selection.shards import OneShard, ShardLimits
from review_scoring.warehouse.source.cost import Cost, Statement, cost_of

NOTHING = Cost()
ONE_SHARD = OneShard()


@dataclass(frozen=True, kw_only=True)
class Planned:
    """What is known of a run's cost before its reviews are read.

    :param planning: what planning costs, but for its pages of ids
    :param openings: tasks that open the source, but for those that score
    :param limits: into how many shards the run is split
    """

    planning: Cost = NOTHING
    openings: int = 0
    limits: ShardLimits = ONE_SHARD

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Planned:
        """Read the values that :meth:`as_json` returned, of a run that is split."""
        limits, planning = ShardLimits(**values["limits"]), Cost(**values["planning"])
        return cls(planning=planning, openings=values["openings"], limits=limits)


@dataclass(frozen=True, kw_only=True)
class Read:
    """What a dry run has executed at the source.

    :param reading: the statements that read what a run would read
    :param counting: those that counted what waits beyond the budget
    :param waiting: reviews that the run would read
    :param is_idle: nothing waits, and no row has an id that no key can hold: then no shard reads ids
    """

    reading: Sequence[Statement]
    counting: Sequence[Statement]
    waiting: int
    is_idle: bool


def charges(prepared: PreparedJob) -> bool:
    """Return whether the source of a job charges for statements."""
    return dialect_of(prepared.source.engine).charges_for_statements


def cost_of_run(prepared: PreparedJob, planned: Planned, read: Read) -> Cost:
    """Return what a run costs at the source: as many statements as it executes, or more.

    Planning reads the same pages of ids as the dry run, and the shards read them again, with the texts. Each cut
    between two shards is within a page of ids, and within a fetch of texts, which then are two.
    """
    texts = [each for each in read.reading if "text" in each.columns]
    pages = [each for each in read.reading if "id" in each.columns and "text" not in each.columns]
    others = [each for each in read.reading if "id" not in each.columns]
    shards = planned.limits.parts(read.waiting)
    ran = [*prepared.opening] * (planned.openings + shards)
    ran += [*pages, *read.counting, *others, *texts]
    ran += [] if read.is_idle else pages
    ran += [*pages[-1:], *texts[-1:]] * (shards - 1)
    return planned.planning + cost_of(prepared.source.engine, ran)
