"""Evaluation results: what the task of one model sends by XCom to the comparison and the gate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeAlias

from review_scoring.warehouse.evaluations.records import EvaluationSummary

_XCOM_KEYS = {"id": "evaluation", "set_name": "set"}
"""Field -> key in XCom, where they differ."""


@dataclass(frozen=True, kw_only=True)
class EvaluationResult(EvaluationSummary):
    """The result of one evaluation.

    :param id: of the evaluation in the warehouse
    :param set_name: the benchmark set
    :param in_between: reviews that the model calls neither `neg` nor `pos`
    :param interval: the 95 % confidence interval of the accuracy
    """

    id: int
    set_name: str
    in_between: int
    interval: tuple[float, float]

    def as_xcom(self) -> dict[str, Any]:
        """Return the result as plain values."""
        return {_XCOM_KEYS.get(name, name): value for name, value in vars(self).items()}

    @classmethod
    def from_xcom(cls, value: Mapping[str, Any]) -> Self:
        """Return the result that :meth:`as_xcom` made plain values of."""
        fields = {"id": value["evaluation"], "set_name": value["set"], "interval": tuple(value["interval"])}
        return cls(**{name: each for name, each in value.items() if name not in {"evaluation", "set"}} | fields)


@dataclass(frozen=True)
class SkippedModel:
    """A model that was not evaluated, and the reason."""

    model: str
    reason: str

    def as_xcom(self) -> dict[str, Any]:
        """Return the model and the reason as plain values."""
        return {"model": self.model, "skipped": self.reason}


Result: TypeAlias = EvaluationResult | SkippedModel


def results_from_xcom(values: Iterable[Mapping[str, Any]]) -> list[Result]:
    """Return the results of a run's evaluation tasks."""
    return [
        SkippedModel(value["model"], value["skipped"]) if value.get("skipped") else EvaluationResult.from_xcom(value)
        for value in values
    ]
