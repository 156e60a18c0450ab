"""Nightly scoring of reviews in a SQL database with a transformers model, exactly once."""

from __future__ import annotations

__version__ = "0.1.0"
