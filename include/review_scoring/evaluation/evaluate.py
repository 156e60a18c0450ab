"""Evaluate one model on one loaded set: judge, measure, compare, keep."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from review_scoring.concurrency.cancellation import StopFlag
from review_scoring.evaluation.gate import passes
from review_scoring.evaluation.metrics import Figures, figures_of
from review_scoring.evaluation.predictions import Judgements, LabellingClassifier, first_rows, judge
from review_scoring.evaluation.published import Reference, references_of
from review_scoring.evaluation.tables import breakdown_text, class_table_text
from review_scoring.evaluation.verdicts import (
    AgainstChance,
    AgainstLastRun,
    LastRunVerdict,
    against_chance,
    against_last_run,
    against_reference,
)
from review_scoring.models.entry import CatalogueEntry
from review_scoring.models.folder import ModelFolder
from review_scoring.request import RunKey
from review_scoring.warehouse.evaluations.store import BenchmarkStore, Evaluation
from review_scoring.warehouse.retry import patiently

log = logging.getLogger(__name__)

LINE = (
    "model",
    "revision",
    "reviews",
    "rejected",
    "accuracy",
    "macro_f1",
    "loss",
    "samples_per_second",
    "tokens_per_second",
    "device",
    "precision",
    "reference_verdict",
    "last_run_verdict",
    "passed",
)
"""The columns of `benchmark_runs` that a comparison of models shows, and the gate looks at."""


def evaluate_model(
    store: BenchmarkStore,
    set_id: int,
    model: ModelFolder,
    *,
    entry: CatalogueEntry | None,
    key: RunKey,
    limit: int | None,
    load_classifier: Callable[[], LabellingClassifier],
    peak_memory: Callable[[Any], int | None] = lambda device: None,
    settings: Mapping[str, Any] = MappingProxyType({}),
    stop: StopFlag,
) -> dict[str, Any]:
    """Evaluate a model, keep everything in the warehouse, and return the evaluation's line of the comparison.

    :param entry: the model's catalogue entry, whose published figures it is compared with
    :param limit: evaluate on this many reviews of the set at most: the same ones each time
    :param load_classifier: called once
    :param peak_memory: gives the bytes that were used on a classifier's device
    :param settings: what the classifier was loaded with, to be kept with the figures
    :raises BenchmarkError: for a model or a set that cannot be compared
    :raises ScoringInterruptedError: if told to stop; nothing is kept then
    """
    chosen = store.find_set(set_id)
    last = store.last_run(set_id=set_id, row_limit=limit, model=model.name, revision=model.revision, key=key)
    reviews = first_rows(store.reviews(set_id), limit)
    before = None if last is None else store.judged(last.id)
    started = store.now()
    classifier = load_classifier()
    judgements = judge(reviews, classifier, stop)
    figures = figures_of(judgements, peak_memory(classifier.device))
    references = references_of(entry, chosen.sample_of or chosen.name) if entry else ()
    reference = against_reference(figures, references)
    name = "" if last is None else f"evaluation {last.id} of {last.ended_at:%Y-%m-%d}"
    if last is not None and before is not None and last.set_id != set_id:
        texts = {review.id: review.text for review in store.reviews(last.set_id)}
        before = {r.id: before[r.id] for r in reviews if r.id in before and texts[r.id] == r.text}
        name += " (the set has changed since: compared on the reviews that both have, with the same text and label)"
    last_run = against_last_run(before, (each.row for each in judgements.each), name=name)
    chance = against_chance(figures)
    explanations = [reference.explanation, last_run.explanation, *([chance.explanation] if chance.below else [])]
    columns = {
        "set_id": set_id,
        "model": model.name,
        "revision": model.revision,
        "row_limit": limit,
        "reviews": figures.reviews,
        "rejected": len(judgements.left_out),
        "accuracy": figures.accuracy,
        "macro_f1": figures.macro_f1,
        "loss": figures.block["eval_loss"],
        "samples_per_second": figures.block["eval_samples_per_second"],
        "tokens_per_second": round(figures.tokens_per_second, 1),
        "device": judgements.device,
        "precision": judgements.precision,
        "reference_verdict": reference.verdict.value,
        "last_run_verdict": last_run.verdict.value,
        "compared_with": None if last is None or last_run.verdict is LastRunVerdict.FIRST_RUN else last.id,
        "passed": passes(reference.verdict, last_run.verdict, below_chance=chance.below),
        "explanation": "; ".join(explanations),
        "started_at": started,
        "ended_at": patiently(store.now, what="reading the database's time", stop=stop),
    }
    evaluation = _evaluation(columns, figures, judgements, references, last_run, chance, settings)
    # An hour of the device's work must not be lost with a connection.
    kept = patiently(lambda: store.keep(key, evaluation), what="recording the evaluation", stop=stop)
    log.info("%s on %s:\n%s", model.name, chosen.name, class_table_text(figures.classes, figures.accuracy))
    log.info("%s", breakdown_text(figures.more))
    log.info("%s", columns["explanation"])
    return {
        "evaluation": kept,
        "set": chosen.name,
        "in_between": judgements.in_between,
        "interval": figures.more["intervals"]["accuracy"],
        "explanation": columns["explanation"],
        **{name: columns[name] for name in LINE},
    }


def _evaluation(
    columns: Mapping[str, Any],
    figures: Figures,
    judgements: Judgements,
    references: tuple[Reference, ...],
    last_run: AgainstLastRun,
    chance: AgainstChance,
    settings: Mapping[str, Any],
) -> Evaluation:
    """Put together what is kept."""
    compared = {
        "reference": [vars(each) for each in references],
        "last_run": {
            "became_wrong": len(last_run.became_wrong),
            "became_right": len(last_run.became_right),
            "p": last_run.p,
        },
        "chance": {"below": chance.below, "p": chance.p},
    }
    return Evaluation(
        columns=columns,
        figures={**figures.more, **compared, "settings": dict(settings)},
        classes=figures.classes,
        judged=[*(each.row for each in judgements.each), *judgements.left_out],
    )
