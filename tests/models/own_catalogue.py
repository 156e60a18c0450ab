"""A catalogue of a deployment with the miniature models of the fixtures."""

from __future__ import annotations

from pathlib import Path

from review_scoring.models.settings import ModelSettings
from tests.models.spark_nlp.test_fixtures import FIXTURES

MINIATURES = {"mini-bert": "bert", "mini-distilbert": "distilbert", "mini-xlm-roberta": "xlm_roberta"}

ENTRY = """
[{name}]
title = "A miniature, for tests"
kind = "{kind}"
labels = {{ neg = "neg", pos = "pos" }}
max_tokens = 512
language = "fr"
licence = "Apache-2.0"
{more}
"""


def entry(name: str, kind: str, *more: str) -> str:
    """Return an entry of a catalogue, in TOML."""
    return ENTRY.format(name=name, kind=kind, more="\n".join(more))


def archive_entry(name: str, *more: str) -> str:
    """Return the entry of a miniature."""
    return entry(
        name, "spark-nlp", f'archive = "{FIXTURES / MINIATURES[name]}.zip"', f'aliases = ["{name}-alias"]', *more
    )


def settings(folder: Path, *entries: str) -> ModelSettings:
    """Return settings with a store and a catalogue in a folder; by default with the three miniatures."""
    catalogue = folder / "own.toml"
    catalogue.write_text("".join(entries or map(archive_entry, MINIATURES)), encoding="utf-8")
    return ModelSettings(store=folder / "store", catalogue=catalogue)
