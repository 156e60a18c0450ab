"""Redshift: nothing of its own. Not tested: there is no server that could be run here."""

from __future__ import annotations

from review_scoring.warehouse.dialects.base import Session
from review_scoring.warehouse.dialects.warehouse import Warehouse


class RedshiftSession(Session):
    """Redshift, as the hook of its provider connects to it."""


class Redshift(Warehouse):
    """Statements for Redshift."""

    unfit_as_ledger = "Redshift, which has no row locks and does not enforce primary keys"
