"""OpenLineage's classes for the plain values of :mod:`.lineage`, and the facet of the model.

This imports the OpenLineage provider, so only a method that the provider calls may import it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from airflow.providers.openlineage.extractors import OperatorLineage
from attrs import define
from openlineage.client.event_v2 import InputDataset, OutputDataset
from openlineage.client.facet_v2 import (
    RunFacet,
    column_lineage_dataset,
    data_quality_assertions_dataset,
    data_quality_metrics_dataset,
    data_quality_metrics_input_dataset,
    input_statistics_input_dataset,
    output_statistics_output_dataset,
    schema_dataset,
)

from review_scoring import __version__

REPOSITORY = "https://github.com/review-scoring/review-scoring"
PRODUCER = f"{REPOSITORY}/tree/v{__version__}"
MODEL_SCHEMA = (
    f"https://raw.githubusercontent.com/review-scoring/review-scoring/v{__version__}/docs/reference/"
    "ReviewScoringModelRunFacet.json#/$defs/ReviewScoringModelRunFacet"
)
"""OpenLineage asks for an address whose content never changes, so it names the release."""


@define
class ReviewScoringModelRunFacet(RunFacet):  # type: ignore[misc, unused-ignore]  # untyped where it is not installed
    """The model that classified, on what, and by which version of this package."""

    name: str
    revision: str
    packageVersion: str  # noqa: N815  the case of OpenLineage's JSON
    device: str | None = None

    @staticmethod
    def _get_schema() -> str:
        return MODEL_SCHEMA


def as_operator_lineage(values: Mapping[str, Any]) -> Any:
    """Return the values of `run_datasets` or `checked_datasets` as the provider takes them."""
    return OperatorLineage(
        inputs=[_dataset(InputDataset, each, "inputFacets", INPUT_FACETS) for each in values["inputs"]],
        outputs=[_dataset(OutputDataset, each, "outputFacets", OUTPUT_FACETS) for each in values["outputs"]],
        run_facets={
            name: ReviewScoringModelRunFacet(**{**facet, "producer": PRODUCER})
            for name, facet in values["run_facets"].items()
        },
    )


def _dataset(kind: Any, values: Mapping[str, Any], own: str, makers: Mapping[str, Callable[[Any], Any]]) -> Any:
    """Return an input or an output.

    :param own: the key of the facets that only one of the two has
    """
    return kind(
        values["namespace"],
        values["name"],
        facets={name: DATASET_FACETS[name](facet) for name, facet in values["facets"].items()},
        **{own: {name: makers[name](facet) for name, facet in values.get(own, {}).items()}},
    )


def _column_lineage(facet: Any) -> Any:
    module = column_lineage_dataset

    def input_field(field: Mapping[str, Any]) -> Any:
        how = [module.Transformation(**each) for each in field["transformations"]]
        return module.InputField(**{**field, "transformations": how})

    fields = {name: [input_field(each) for each in found["inputFields"]] for name, found in facet["fields"].items()}
    return module.ColumnLineageDatasetFacet(fields={name: module.Fields(found) for name, found in fields.items()})


def _schema(facet: Any) -> Any:
    fields = [schema_dataset.SchemaDatasetFacetFields(**each) for each in facet["fields"]]
    return schema_dataset.SchemaDatasetFacet(fields=fields)


def _assertions(facet: Any) -> Any:
    module = data_quality_assertions_dataset
    found = [module.Assertion(**each) for each in facet["assertions"]]
    return module.DataQualityAssertionsDatasetFacet(assertions=found)


def _output_metrics(facet: Any) -> Any:
    module = data_quality_metrics_dataset
    return module.DataQualityMetricsDatasetFacet(**_with_column_metrics(facet, module.ColumnMetrics))


def _input_metrics(facet: Any) -> Any:
    module = data_quality_metrics_input_dataset
    return module.DataQualityMetricsInputDatasetFacet(**_with_column_metrics(facet, module.ColumnMetrics))


def _with_column_metrics(facet: Mapping[str, Any], kind: Callable[..., Any]) -> dict[str, Any]:
    return {**facet, "columnMetrics": {name: kind(**each) for name, each in facet["columnMetrics"].items()}}


def _input_statistics(facet: Any) -> Any:
    return input_statistics_input_dataset.InputStatisticsInputDatasetFacet(**facet)


def _output_statistics(facet: Any) -> Any:
    return output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(**facet)


DATASET_FACETS = {"columnLineage": _column_lineage, "schema": _schema, "dataQualityMetrics": _output_metrics}
INPUT_FACETS = {
    "inputStatistics": _input_statistics,
    "dataQualityMetrics": _input_metrics,
    "dataQualityAssertions": _assertions,
}
OUTPUT_FACETS = {"outputStatistics": _output_statistics}
